// The kernels compiled for neon; the flags stand in CMakeLists.txt.
#include <arm_neon.h>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "half.h"
#include "iq4_values.h"
#include "kernels.h"

namespace hunch {
namespace neon_isa {

constexpr int kQuantTile = 4, kSuperTile = 2, kFloatTile = 2;  // tokens that share one decoded weight block
#include "simd_neon.h"
#include "kernels.inl"

}  // namespace neon_isa

const Kernels* neon_kernels() {
  static const Kernels table = neon_isa::make_table(Isa::neon);
  return &table;
}

}  // namespace hunch
