// Fits low-rank predictors of a layer's neurons or heads in closed form, and says what threshold names how many of them.
#pragma once

#include "linalg.h"

namespace hunch {

// What the closed form needs to know of inputs x [width] and of what is to be predicted y [rows], over some tokens.
struct Moments {
  uint32_t width = 0, rows = 0;
  std::vector<float> xx;          // [width][width] covariance of x, lower triangle
  std::vector<float> yx;          // [rows][width] covariance of y and x
  std::vector<float> x, y;        // [width], [rows] means
  std::vector<float> y_variance;  // [rows]
};

// Sums over tokens for a Moments. Counted from the first batch's mean, so that a large mean does not cost the digits of a small variance.
class GramSum {
 public:
  GramSum() = default;
  explicit GramSum(uint32_t width, bool products = true) : width(width), sum(width), shift(width), gram(products ? (size_t)width * width : 0) {}
  void add(const LinearAlgebra& la, const float* x, uint32_t tokens);
  std::vector<float> mean() const;
  std::vector<float> covariance() const;  // [width][width], lower triangle
  // x - shift, of the batch added last: [tokens][width]
  const std::vector<float>& shifted() const { return shifted_; }

  uint32_t width = 0;
  uint64_t tokens = 0;
  std::vector<double> sum;   // [width] of x - shift
  std::vector<float> shift;  // [width]
  std::vector<float> gram;   // [width][width] of (x - shift)(x - shift)ᵀ, lower triangle; or empty

 private:
  std::vector<float> shifted_;
};

struct ClosedForm {
  uint32_t rank = 64;       // a smaller one comes out where rows or width are smaller
  float ridge = 1e-3f;      // share of its own variance that is added to each input's
  bool scale_rows = true;   // rows count by their spread, so that rare ones count; else by their variance
  // As a logit of "y > threshold": prediction and threshold over the error's deviation. Without: predicts y itself.
  bool as_logit = true;
  float threshold = 0;
};

// Reduced-rank regression (Izenman 1975) of y on x. Errors: bad-request (no rank, shapes, moments that are no numbers).
Status fit_closed_form(const LinearAlgebra& la, const Moments& moments, const ClosedForm& options, LowRankPredictor& out);

// Without training: the truncated SVD of the gate matrix [rows][width] itself, score = the gate of what the rank keeps of x. With moments
// (of x: xx and x), errors are measured over the inputs as they come (that is, of gate · covariance^½), else over the unit sphere.
Status factor_gate(const LinearAlgebra& la, const float* gate, uint32_t rows, uint32_t width, const float* bias, const Moments* moments, uint32_t rank,
                   LowRankPredictor& out);

// scores [tokens][rows] of x [tokens][width]. `hidden` is scratch.
void predict(const LinearAlgebra& la, const LowRankPredictor& p, uint32_t width, uint32_t rows, const float* x, uint32_t tokens,
             std::vector<float>& hidden, float* scores);

// What a threshold names: score > threshold.
struct Operating {
  float threshold = 0;
  float recall = 0;       // share of the active rows that are named
  float mass_recall = 0;  // share of the active rows' mass
  float density = 0;      // share of all rows that are named
};

// The highest threshold whose recall is at least `recall` (0 … 1), by the number of active rows or by their mass. scores [n]; mass [n]: above 0 where active.
Operating threshold_for(const std::vector<float>& scores, const std::vector<float>& mass, float recall, bool by_mass);
Operating operating_at(const std::vector<float>& scores, const std::vector<float>& mass, float threshold);

bool all_finite(const float* x, size_t n);
// Rank ≥ 1, sizes right, all values finite; `what` begins the sentence. Errors: bad-request.
Status check_predictor(const LowRankPredictor& p, uint32_t width, uint32_t rows, const std::string& what);

}  // namespace hunch
