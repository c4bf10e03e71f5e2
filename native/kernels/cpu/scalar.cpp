// The kernels compiled for scalar; the flags stand in CMakeLists.txt.
#include <cmath>
#include <cstring>
#include <type_traits>

#include "half.h"
#include "iq4_values.h"
#include "kernels.h"

namespace hunch {
namespace scalar_isa {

constexpr int kQuantTile = 4, kSuperTile = 4, kFloatTile = 4;  // tokens that share one decoded weight block
#include "simd_scalar.h"
#include "kernels.inl"

}  // namespace scalar_isa

const Kernels* scalar_kernels() {
  static const Kernels table = scalar_isa::make_table(Isa::scalar);
  return &table;
}

}  // namespace hunch
