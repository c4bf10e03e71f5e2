#include "half.h"

#include "oracle.h"
#include "support.h"

using namespace hunch;

static bool is_nan(uint16_t h) { return (h & 0x7C00) == 0x7C00 && (h & 0x3FF); }

TEST_CASE("half: every f16 becomes the float that it names and comes back") {
  uint32_t wrong = 0;
  for (uint32_t h = 0; h < 65536; h++) {
    const float f = f16_to_f32((uint16_t)h);
    const double truth = oracle::from_half((uint16_t)h);
    if (is_nan((uint16_t)h)) wrong += !std::isnan(f) || !is_nan(f32_to_f16(f)) || (f32_to_f16(f) & 0x8000) != (h & 0x8000);
    else wrong += f != truth || std::signbit(f) != std::signbit(truth) || f32_to_f16(f) != h;
  }
  CHECK(wrong == 0);
}

TEST_CASE("half: floats round to the nearest f16, ties to even") {
  uint32_t wrong = 0;
  const auto check = [&](float f) { wrong += f32_to_f16(f) != oracle::to_half(f) || f32_to_f16(-f) != oracle::to_half(-f); };
  // Around each half: itself, the middle to the next, and one float either side of both.
  for (uint32_t h = 0; h < 0x7C00; h++) {
    const double low = oracle::from_half((uint16_t)h), high = h == 0x7BFF ? 65536 : oracle::from_half((uint16_t)(h + 1));
    for (double x : {low, (low + high) / 2})
      for (float f : {(float)x, std::nextafter((float)x, kInfinity), std::nextafter((float)x, 0.0f)}) check(f);
  }
  for (float f : {65504.0f, 65519.996f, 65520.0f, 65536.0f, 1e10f, 3.4e38f, kInfinity, 0x1p-24f, 0x1p-25f, 0x1.000002p-25f, 0x1p-26f, 1e-45f, 0.0f}) check(f);
  Random random(1);
  for (int i = 0; i < 300000; i++) {  // random bits: every exponent
    const float f = std::bit_cast<float>((uint32_t)random.next() & 0x7FFFFFFF);
    if (!std::isnan(f)) check(f);
  }
  CHECK(wrong == 0);
  CHECK(is_nan(f32_to_f16(kNan)));
  CHECK(is_nan(f32_to_f16(std::bit_cast<float>(0x7F800001u))));  // a payload that truncation would lose
}

TEST_CASE("half: every bf16 becomes the float that it names") {
  uint32_t wrong = 0;
  for (uint32_t h = 0; h < 65536; h++) {
    const float f = bf16_to_f32((uint16_t)h);
    const double truth = oracle::from_bfloat((uint16_t)h);
    wrong += std::isnan(truth) ? !std::isnan(f) : f != truth || std::signbit(f) != std::signbit(truth);
  }
  CHECK(wrong == 0);
}
