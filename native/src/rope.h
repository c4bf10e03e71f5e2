// Tables of rotary positions.
#pragma once

#include "engine.h"

namespace hunch {

struct RopeTable {
  std::vector<float> cosine, sine;  // [context][width / 2]
};

// factors: [width / 2] divisors of the frequencies, or empty.
RopeTable make_rope_table(const RopeSpec& rope, uint32_t width, uint32_t context, const std::vector<float>& factors);

}  // namespace hunch
