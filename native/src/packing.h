// The in-memory weight layout that the kernels read: 16 rows interleaved, so that a vector lane is a row and one pass over memory is
// one straight line.
//   quantised group: [blocks][16] f16 d (Q4_1: then [16] f16 m), padded to 64 bytes; then [blocks] of quants:
//     Q4_0/Q4_1  4 vectors of 64 bytes; byte 4r+b of vector v: row r, low nibble column 4v+b, high nibble column 16+4v+b
//     Q8_0       8 vectors of 64 bytes; byte 4r+b of vector v: row r, column 4v+b, plus 128
//   float group: [columns][16] of the type.
// Rows past the matrix's last are zeros.
#pragma once

#include "kernels.h"
#include "tensor_file.h"

namespace hunch {

struct PackedMatrix {
  TensorType type = TensorType::F32;
  uint32_t rows = 0, cols = 0, groups = 0;
  size_t group_bytes = 0;
  uint8_t* data = nullptr;
  uint64_t bytes() const { return (uint64_t)groups * group_bytes; }
};

size_t packed_group_bytes(TensorType type, uint32_t cols);
// `rows` (1…16) consecutive rows of the file's layout into one group.
void pack_group(TensorType type, const uint8_t* raw, uint32_t rows, uint32_t cols, uint8_t* out);
// Dequantises one row [cols].
void unpack_row(const PackedMatrix& m, uint32_t row, float* out);

}  // namespace hunch
