// The kernels compiled for avx512; the flags stand in CMakeLists.txt.
#include <immintrin.h>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "half.h"
#include "iq4_values.h"
#include "kernels.h"

namespace hunch {
namespace avx512_isa {

constexpr int kQuantTile = 8, kSuperTile = 4, kFloatTile = 4;  // tokens that share one decoded weight block
#include "simd_avx512.h"
#include "kernels.inl"

}  // namespace avx512_isa

const Kernels* avx512_kernels() {
  static const Kernels table = avx512_isa::make_table(Isa::avx512);
  return &table;
}

}  // namespace hunch
