// Eigen as the plain flags compile it, and which of the compiled ones this CPU runs.
#define HUNCH_EIGEN Eigen_baseline
#include "linalg.inl"

#include "kernels.h"

namespace hunch {

const LinearAlgebra* baseline_linear_algebra() {
#if defined(__aarch64__) || defined(_M_ARM64)
  static const LinearAlgebra table = make_table(Isa::neon);
#else
  static const LinearAlgebra table = make_table(Isa::scalar);
#endif
  return &table;
}

const LinearAlgebra* linear_algebra_for(Isa isa) {
#if defined(__x86_64__) || defined(_M_X64)
  if (isa != Isa::scalar && !kernels_for(isa)) return nullptr;
#ifndef HUNCH_NO_AVX512_ALGEBRA
  if (isa == Isa::avx512) return avx512_linear_algebra();
#endif
  if (isa == Isa::avx2) return avx2_linear_algebra();
#endif
  const LinearAlgebra* plain = baseline_linear_algebra();
  return isa == plain->isa ? plain : nullptr;
}

const LinearAlgebra& linear_algebra() {
  for (Isa isa : supported_isas())
    if (const LinearAlgebra* found = linear_algebra_for(isa)) return *found;
  return *baseline_linear_algebra();
}

}  // namespace hunch
