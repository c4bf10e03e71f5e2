// Half-precision conversions in plain C++, for code that is not worth a vector.
#pragma once

#include <bit>
#include <cstdint>

namespace hunch {

inline float f16_to_f32(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3FF;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24
    const float m = (float)mantissa * 0x1p-24f;
    return sign ? -m : m;
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

// Round to nearest even, as the hardware does.
inline uint16_t f32_to_f16(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7FFFFFFF;
  if (magnitude >= 0x7F800000) return (uint16_t)(sign | (magnitude > 0x7F800000 ? 0x7E00 : 0x7C00));
  if (magnitude >= 0x477FF000) return (uint16_t)(sign | 0x7C00);  // rounds to infinity
  if (magnitude < 0x38800000) {                                   // subnormal: let the adder round
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return (uint16_t)(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return (uint16_t)(sign | ((rounded >> 13) - (112 << 10)));
}

inline float bf16_to_f32(uint16_t h) { return std::bit_cast<float>((uint32_t)h << 16); }

}  // namespace hunch
