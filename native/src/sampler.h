// Draws the next token. Order, as in llama.cpp: repeat penalty, top-k, top-p, min-p, temperature, draw.
#pragma once

#include <random>
#include <span>

#include "kernels.h"

namespace hunch {

class Sampler {
 public:
  Sampler(const GenerateOptions& options, const Kernels& kernels) : o_(options), k_(kernels), rng_(options.seed) {}
  // logits [vocabulary] is changed (penalties). recent: the timeline so far. -1 when the logits hold no usable number.
  int32_t draw(std::span<float> logits, std::span<const int32_t> recent);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void penalise(std::span<float> logits, std::span<const int32_t> recent);
  void collect_top(std::span<const float> logits, uint32_t count);
  void collect_near(std::span<const float> logits, float max);

  const GenerateOptions o_;
  const Kernels& k_;
  std::mt19937 rng_;
  std::vector<Candidate> candidates_;  // best first
  std::vector<int32_t> seen_;
};

}  // namespace hunch
