// Low-rank predictors in the kernels' layout: the first factor in half precision, the second in 8 bits; the first is shared by all lanes, the second divided as the neurons are.
#pragma once

#include <memory>

#include "arena.h"
#include "model.h"

namespace hunch {

constexpr uint32_t kMaxRank = 4096;

struct Predictor {
  PredictorSource source = PredictorSource::same;
  bool relu = false;
  uint32_t rank = 0;        // padded to whole blocks
  PackedMatrix a;           // [rank][width]; one slice
  PackedMatrix b;           // [rows][rank]; MLP: one slice for each of the layer's lanes, heads: one slice
  std::vector<float> bias;  // [rows]
  bool present() const { return a.present(); }
};

struct PredictorSet {
  std::vector<Predictor> mlp, heads;  // [layers]
  std::vector<std::unique_ptr<Arena>> memory;
};

// Quantises and packs. Errors: bad-request (names the layer and what is wrong), out-of-memory.
Status pack_predictors(const Model& model, const Predictors& from, PredictorSet& out);

}  // namespace hunch
