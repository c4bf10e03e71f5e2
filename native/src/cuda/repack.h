// Rows of the file's types in the layout that the GPU's threads read (kernels/cuda/program.h).
#pragma once

#include "../../kernels/cuda/program.h"
#include "engine.h"

namespace hunch::cuda {

// Without loss, but for K-quants' scales: their products are rounded to f16.
Format format_of(TensorType type);
// out [row_stride(format_of(type), cols)]
void repack_row(TensorType type, const uint8_t* raw, uint32_t cols, uint8_t* out);
// Plain values as f32, f16 or bytes (d = max|x| / 127).
void repack_values(Format format, const float* row, uint32_t cols, uint8_t* out);
// What the GPU makes of a row; the tests' inverse.
void unpack_row(Format format, const uint8_t* row, uint32_t cols, float* out);

}  // namespace hunch::cuda
