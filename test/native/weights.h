// Random weights in the file's formats.
#pragma once

#include "oracle.h"
#include "support.h"

namespace hunch {

// rows x cols with a standard deviation of about `deviation`; every bit pattern of the quants occurs.
std::vector<uint8_t> random_weights(TensorType type, uint32_t rows, uint32_t cols, double deviation, Random& random);

}  // namespace hunch
