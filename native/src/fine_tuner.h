// Trains one layer's low-rank predictor on "is this row active" by minibatches, from where a closed form left it.
#pragma once

#include "state_file.h"
#include "trainer.h"

namespace hunch {

struct FineTune {
  float rate = 2e-3f;     // Adam's, at the start; falls to a tenth as the caller says how far along it is
  float decay = 1e-2f;    // weight decay, as a share of the rate
  uint32_t patience = 4;  // judgements without a new best before the rate falls to a third; at the fourth time it stops
};

class FineTuner {
 public:
  FineTuner() = default;
  // Inputs are standardised by mean and deviation [width] inside; the predictor that comes out takes them as they are.
  FineTuner(const LowRankPredictor& start, uint32_t width, uint32_t rows, std::vector<float> mean, std::vector<float> deviation, const FineTune& options);

  // One step on x [tokens][width] and target [tokens][rows] (linalg.h: logistic). x is overwritten. along: 0 … 1, how much of the training is over.
  void step(const LinearAlgebra& la, float* x, const float* target, uint32_t tokens, float along);
  // Mean loss per row of held-out tokens; x is overwritten.
  double loss(const LinearAlgebra& la, float* x, const float* target, uint32_t tokens);
  // Takes note of a held-out loss: keeps the weights if they are the best so far, goes back to those and on more slowly, and in the end stops,
  // when they have not been for a while.
  void judge(double held_out_loss);

  LowRankPredictor best() const;
  bool stopped() const { return slower_ < 0.02f; }
  // After new tokens have been captured: train on.
  void resume() { now_ = best_, slower_ = 1, since_best_ = 0, best_loss_ = 1e30; }
  uint64_t steps() const { return steps_; }
  double best_loss() const { return best_loss_; }
  bool relu() const { return relu_; }
  uint32_t rank() const { return rank_; }
  uint64_t random = 1;  // the caller's: which tokens come next

  void save(StateWriter& to) const;
  bool restore(StateReader& from, uint32_t width, uint32_t rows);

 private:
  struct Weights {
    std::vector<float> a, b, bias;  // [rank][width], [rows][rank], [rows], of standardised inputs
  };
  void standardise(float* x, uint32_t tokens) const;
  void forward(const LinearAlgebra& la, const float* x, uint32_t tokens);

  FineTune options_;
  uint32_t width_ = 0, rows_ = 0, rank_ = 0;
  bool relu_ = false;
  std::vector<float> mean_, deviation_;
  Weights now_, first_, second_, best_;  // first_, second_: Adam's moments
  uint64_t steps_ = 0;
  double best_loss_ = 1e30;
  uint32_t since_best_ = 0;
  float slower_ = 1;
  std::vector<float> hidden_, score_, hidden_gradient_, gradient_;  // of the step
};

}  // namespace hunch
