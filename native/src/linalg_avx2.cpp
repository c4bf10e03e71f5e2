// Eigen compiled for avx2; the flags stand in CMakeLists.txt.
#define HUNCH_EIGEN Eigen_avx2
#include "linalg.inl"

namespace hunch {

const LinearAlgebra* avx2_linear_algebra() {
  static const LinearAlgebra table = make_table(Isa::avx2);
  return &table;
}

}  // namespace hunch
