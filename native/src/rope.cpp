#include "rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hunch {

// YaRN (Peng 2023): fast dimensions keep their frequency, slow ones are interpolated, a ramp between.
static double yarn_kept(const RopeSpec& r, uint32_t width, uint32_t i) {
  constexpr double fast = 32, slow = 1;  // rotations over the original context
  const auto dimension = [&](double rotations) {
    return width * std::log(r.original_context / (rotations * 2 * std::numbers::pi)) / (2 * std::log((double)r.base));
  };
  const double low = std::max(0.0, std::floor(dimension(fast))), high = std::min(width - 1.0, std::ceil(dimension(slow)));
  return 1 - std::clamp((i - low) / std::max(0.001, high - low), 0.0, 1.0);
}

RopeTable make_rope_table(const RopeSpec& r, uint32_t width, uint32_t context, const std::vector<float>& factors) {
  const uint32_t half = width / 2;
  const bool yarn = r.scaling == RopeScaling::yarn && r.original_context > 0;
  const double magnitude = yarn ? 1 + 0.1 * std::log((double)r.factor) : 1;
  RopeTable t;
  t.cosine.resize((size_t)context * half);
  t.sine.resize((size_t)context * half);
  for (uint32_t i = 0; i < half; i++) {
    double frequency = std::pow((double)r.base, -2.0 * i / width);
    if (!factors.empty()) frequency /= factors[i];
    if (yarn) {
      const double kept = yarn_kept(r, width, i);
      frequency = frequency / r.factor * (1 - kept) + frequency * kept;
    } else if (r.scaling == RopeScaling::linear) {
      frequency /= r.factor;
    }
    for (uint32_t p = 0; p < context; p++) {
      t.cosine[(size_t)p * half + i] = (float)(std::cos(p * frequency) * magnitude);
      t.sine[(size_t)p * half + i] = (float)(std::sin(p * frequency) * magnitude);
    }
  }
  return t;
}

}  // namespace hunch
