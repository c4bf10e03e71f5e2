// The low-bit copies a model has so far, made when a plan first asks for one.
#pragma once

#include <memory>

#include "arena.h"
#include "model.h"
#include "screen.h"

namespace hunch {

struct Screens {
  Screen head[5];                      // of the output matrix, by bits
  std::vector<Screen> gates;           // per layer, of the first matrix of its MLP; of `gate_bits`
  uint32_t gate_bits = 0;
  std::vector<std::vector<float>> mlp_importance;  // [layers][width]; with output_importance, what the copies are made for
  std::vector<float> output_importance;            // [width]
  std::vector<std::unique_ptr<Arena>> memory;
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const auto& m : memory) sum += m->size();
    return sum;
  }
};

// At most what make_screens() adds.
uint64_t screens_bytes(const Model& model, const Plan& plan);

// Makes what `plan` needs and is not there. Errors: out-of-memory. No forward pass may run meanwhile.
Status make_screens(const Model& model, Pool& pool, const Plan& plan, Screens& out);

}  // namespace hunch
