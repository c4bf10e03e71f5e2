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
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& m : memory) sum += m->size();
    return sum;
  }
};

// What a first factor gave, in 16 bits, as two vectors of 8 bits each: what int8 holds of it and what that leaves out. The second factor reads
// both as if they were two tokens; the sum of what it says of them is the score, as exact as with floats.
struct HiddenInput {
  std::vector<float> floats;  // [2 tokens][rank]
  std::vector<int8_t> q;
  std::vector<float> d;
  std::vector<int32_t> sum;
  // hidden [tokens][rank] before its ReLU, if it has one.
  Activations split(const Kernels& k, const Predictor& p, const float* hidden, uint32_t tokens);
};

// scores [tokens][rows] of inputs x [tokens][width], rows = p.bias.size().
void predictor_scores(const Kernels& k, const Predictor& p, const float* x, uint32_t tokens, float* scores);

// Rounds the factors to what the packed ones hold, so that any other program that runs them gets the same scores.
void round_as_packed(LowRankPredictor& p);
void round_as_packed(Predictors& all);

// Quantises and packs. Errors: bad-request (names the layer and what is wrong), out-of-memory.
Status pack_predictors(const Model& model, const Predictors& from, PredictorSet& out);

}  // namespace hunch
