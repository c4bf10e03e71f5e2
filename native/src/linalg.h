// Dense linear algebra for fitting predictors, by Eigen, compiled once per instruction set and picked at run time.
// Matrices are row-major without gaps, `float x[rows][cols]`. Functions may throw std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine.h"

namespace hunch {

struct AdamStep {
  float rate, decay;                 // learning rate; share of the rate by which weights shrink (Loshchilov 2019)
  float first = 0.9f, second = 0.999f;
  float correct_first, correct_second;  // 1 - first^step, 1 - second^step
};

struct LinearAlgebra {
  Isa isa;
  // c [m][n] = op(a) op(b) (+ c where `add`); op(a) is [m][k], op(b) [k][n]; a transposed matrix is stored the other way round.
  void (*multiply)(bool transpose_a, bool transpose_b, uint32_t m, uint32_t n, uint32_t k, const float* a, const float* b, bool add, float* c);
  // The lower triangle of c [n][n] += aᵀ a; a [m][n].
  void (*add_gram)(uint32_t m, uint32_t n, const float* a, float* c);
  // a [n][n] symmetric (its lower triangle is read) = l lᵀ; l replaces the lower triangle. False: not positive definite.
  bool (*cholesky)(uint32_t n, double* a);
  // b [rows][n] = b l⁻¹, or b l⁻ᵀ.
  void (*divide_lower)(uint32_t rows, uint32_t n, const float* l, bool transposed, float* b);
  // a [rows][cols], rows >= cols: its columns become an orthonormal basis of what they span.
  void (*orthonormalise)(uint32_t rows, uint32_t cols, float* a);
  // a [n][n] symmetric: its eigenvectors become its columns, eigenvalues ascending in values [n].
  bool (*eigen)(uint32_t n, double* a, double* values);
  // Weighted logistic loss over n scores: target > 0: active with that weight, < 0: inactive with weight -target. Returns the sum of the
  // losses, or, where gradient is not null, only sets that to d loss / d score.
  double (*logistic)(size_t n, const float* score, const float* target, float* gradient);
  // Adam (Kingma 2015) with decoupled weight decay on n weights.
  void (*adam)(size_t n, const AdamStep& step, const float* gradient, float* weight, float* first, float* second);
};

const LinearAlgebra& linear_algebra();  // the best this CPU runs
const LinearAlgebra* linear_algebra_for(Isa isa);  // null: not on this CPU

// One file each. The baseline is what the compiler's plain flags give: SSE2 or NEON.
const LinearAlgebra* baseline_linear_algebra();
const LinearAlgebra* avx2_linear_algebra();
const LinearAlgebra* avx512_linear_algebra();

}  // namespace hunch
