// The 16 levels of IQ4_NL (ggml's kvalues_iq4nl), with 128 added so that they fit the Q8 dot product.
#pragma once

#include <cstdint>

namespace hunch {
constexpr uint8_t kIq4Values[16] = {1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241};
}
