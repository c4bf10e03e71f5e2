// Eigen compiled for avx512; the flags stand in CMakeLists.txt.
#define HUNCH_EIGEN Eigen_avx512
#include "linalg.inl"

namespace hunch {

const LinearAlgebra* avx512_linear_algebra() {
  static const LinearAlgebra table = make_table(Isa::avx512);
  return &table;
}

}  // namespace hunch
