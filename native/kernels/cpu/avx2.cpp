// The kernels compiled for avx2; the flags stand in CMakeLists.txt.
#include <immintrin.h>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "half.h"
#include "iq4_values.h"
#include "kernels.h"

namespace hunch {
namespace avx2_isa {

constexpr int kQuantTile = 4, kSuperTile = 2, kFloatTile = 2;  // tokens that share one decoded weight block
#include "simd_avx2.h"
#include "kernels.inl"

}  // namespace avx2_isa

const Kernels* avx2_kernels() {
  static const Kernels table = avx2_isa::make_table(Isa::avx2);
  return &table;
}

}  // namespace hunch
