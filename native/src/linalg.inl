// The one source of linalg.h's functions. Whoever includes it defines HUNCH_EIGEN, the name that Eigen's namespace takes: Eigen's templates
// would otherwise have one name under all instruction sets, and the linker would keep any one of them for all.
#define Eigen HUNCH_EIGEN
#define EIGEN_MPL2_ONLY
#define EIGEN_NO_DEBUG
#define EIGEN_DONT_PARALLELIZE
#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/QR>

#include "linalg.h"

namespace hunch {

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using MatrixD = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using In = Eigen::Map<const Matrix>;
using Out = Eigen::Map<Matrix>;
using InArray = Eigen::Map<const Eigen::ArrayXf>;
using OutArray = Eigen::Map<Eigen::ArrayXf>;

void multiply(bool ta, bool tb, uint32_t m, uint32_t n, uint32_t k, const float* pa, const float* pb, bool add, float* pc) {
  const In a(pa, ta ? k : m, ta ? m : k), b(pb, tb ? n : k, tb ? k : n);
  Out c(pc, m, n);
  if (!add) c.setZero();
  if (ta && tb) c.noalias() += a.transpose() * b.transpose();
  else if (ta) c.noalias() += a.transpose() * b;
  else if (tb) c.noalias() += a * b.transpose();
  else c.noalias() += a * b;
}

void add_gram(uint32_t m, uint32_t n, const float* pa, float* pc) {
  const In a(pa, m, n);
  Out(pc, n, n).selfadjointView<Eigen::Lower>().rankUpdate(a.transpose());
}

bool cholesky(uint32_t n, double* pa) {
  Eigen::Map<MatrixD> a(pa, n, n);
  Eigen::LLT<Eigen::Ref<MatrixD>, Eigen::Lower> llt(a);
  return llt.info() == Eigen::Success;
}

void divide_lower(uint32_t rows, uint32_t n, const float* pl, bool transposed, float* pb) {
  const In l(pl, n, n);
  Out b(pb, rows, n);
  if (transposed) l.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(b);
  else l.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(b);
}

void orthonormalise(uint32_t rows, uint32_t cols, float* pa) {
  Out a(pa, rows, cols);
  const Eigen::HouseholderQR<Matrix> qr(a);
  a = qr.householderQ() * Matrix::Identity(rows, cols);
}

bool eigen(uint32_t n, double* pa, double* values) {
  Eigen::Map<MatrixD> a(pa, n, n);
  const Eigen::SelfAdjointEigenSolver<MatrixD> solver(a);
  if (solver.info() != Eigen::Success) return false;
  a = solver.eigenvectors();
  Eigen::Map<Eigen::VectorXd>(values, n) = solver.eigenvalues();
  return true;
}

double logistic(size_t n, const float* score, const float* target, float* gradient) {
  constexpr Eigen::Index kPiece = 256;  // stays in L1
  using Piece = Eigen::Array<float, Eigen::Dynamic, 1, 0, kPiece, 1>;
  double loss = 0;
  for (size_t at = 0; at < n; at += kPiece) {
    const Eigen::Index some = (Eigen::Index)(n - at < (size_t)kPiece ? n - at : kPiece);
    const InArray w(target + at, some);
    const Piece z = InArray(score + at, some).max(-60.0f).min(60.0f), e = (-z).exp();
    if (gradient) {
      OutArray(gradient + at, some) = w.abs() * (1 / (1 + e) - (w > 0).cast<float>());
    } else {
      // -ln sigmoid(z) = log(1 + e); -ln(1 - sigmoid(z)) = log(1 + e) + z
      loss += (double)(w.abs() * ((1 + e).log() + (w > 0).select(Piece::Zero(some), z))).sum();
    }
  }
  return loss;
}

void adam(size_t n, const AdamStep& s, const float* gradient, float* weight, float* first, float* second) {
  const InArray g(gradient, (Eigen::Index)n);
  OutArray w(weight, (Eigen::Index)n), m(first, (Eigen::Index)n), v(second, (Eigen::Index)n);
  m = s.first * m + (1 - s.first) * g;
  v = s.second * v + (1 - s.second) * g.square();
  w = (1 - s.rate * s.decay) * w - (s.rate / s.correct_first) * m / ((v / s.correct_second).sqrt() + 1e-8f);
}

LinearAlgebra make_table(Isa isa) { return {isa, multiply, add_gram, cholesky, divide_lower, orthonormalise, eigen, logistic, adam}; }

}  // namespace

}  // namespace hunch
