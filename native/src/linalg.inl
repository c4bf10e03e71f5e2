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

// Element by element, in pieces that begin at an aligned address of our own: where Eigen goes over from single values to vectors would otherwise
// depend on where the caller's memory lies, and with it the last bit of the results.
constexpr size_t kPiece = 256;
using Piece = Eigen::Array<float, Eigen::Dynamic, 1, 0, (int)kPiece, 1>;
Piece piece(const float* from, size_t at, size_t n) { return Eigen::Map<const Eigen::ArrayXf>(from + at, (Eigen::Index)(n - at < kPiece ? n - at : kPiece)); }
void put(const Piece& p, float* to) {
  for (Eigen::Index i = 0; i < p.size(); i++) to[i] = p[i];
}

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
  Eigen::Map<MatrixD> out(pa, n, n);
  const Eigen::LLT<MatrixD, Eigen::Lower> llt(out);
  out.triangularView<Eigen::Lower>() = llt.matrixLLT();
  return llt.info() == Eigen::Success;
}

void divide_lower(uint32_t rows, uint32_t n, const float* pl, bool transposed, float* pb) {
  const Matrix l = In(pl, n, n);
  Matrix b = In(pb, rows, n);
  if (transposed) l.transpose().triangularView<Eigen::Upper>().solveInPlace<Eigen::OnTheRight>(b);
  else l.triangularView<Eigen::Lower>().solveInPlace<Eigen::OnTheRight>(b);
  Out(pb, rows, n) = b;
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
  double loss = 0;
  for (size_t at = 0; at < n; at += kPiece) {
    const Piece w = piece(target, at, n), z = piece(score, at, n).max(-60.0f).min(60.0f), e = (-z).exp();
    if (gradient) {
      put(w.abs() * (1 / (1 + e) - (w > 0).cast<float>()), gradient + at);
    } else {
      // -ln sigmoid(z) = log(1 + e); -ln(1 - sigmoid(z)) = log(1 + e) + z
      loss += (double)(w.abs() * ((1 + e).log() + (w > 0).select(0 * z, z))).sum();
    }
  }
  return loss;
}

void adam(size_t n, const AdamStep& s, const float* gradient, float* weight, float* first, float* second) {
  for (size_t at = 0; at < n; at += kPiece) {
    const Piece g = piece(gradient, at, n), m = s.first * piece(first, at, n) + (1 - s.first) * g;
    const Piece v = s.second * piece(second, at, n) + (1 - s.second) * g.square();
    put(m, first + at);
    put(v, second + at);
    put((1 - s.rate * s.decay) * piece(weight, at, n) - (s.rate / s.correct_first) * m / ((v / s.correct_second).sqrt() + 1e-8f), weight + at);
  }
}

LinearAlgebra make_table(Isa isa) { return {isa, multiply, add_gram, cholesky, divide_lower, orthonormalise, eigen, logistic, adam}; }

}  // namespace

}  // namespace hunch
