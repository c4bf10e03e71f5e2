// The layout of weights stored by row (by neuron), so that a skipped row is not read. A row:
//   [blocks] f16 d (…_min: then [blocks] f16 m), then the quants in chunks of 16, 8, 4 and 2 blocks, as many of each as fit in turn. An odd
//   last block counts as two. In a chunk of C blocks, block i has the lanes i * L … i * L + L - 1, L = 16 / C, and C / 2 vectors of 64 bytes;
//   byte b of lane i * L + l of vector v is its column 4 (v * L + l) + b. Nibbles: vectors v and v + C / 4 share 64 bytes, low and high;
//   of C = 2 the one vector's second half is the high nibbles of 32 bytes. Bytes without a minimum have 128 added.
//   f16, f32: the columns in order, padded with zeros to 16.
#pragma once

#include "kernels.h"
#include "tensor_file.h"

namespace hunch {

// The row type that keeps a file's type; without loss but for Q6_K (requantised at 8 bits) and K-quants' scales (products rounded to f16).
RowType row_type(TensorType type);
size_t row_size(RowType type, uint32_t cols);
// One row of the file's layout into `out` [row_size(row_type(type), cols)].
void pack_row(TensorType type, const uint8_t* raw, uint32_t cols, uint8_t* out);
void pack_row(RowType type, const float* row, uint32_t cols, uint8_t* out);  // bytes, f16 and f32
// Dequantises one row [cols] of the file's layout; of ours.
void unpack_file_row(TensorType type, const uint8_t* raw, uint32_t cols, float* out);
void unpack_row(RowType type, const uint8_t* row, uint32_t cols, float* out);
// Length of an accumulator of add_rows, and which column each of its places holds; places without a column are `cols`.
uint32_t row_places(RowType type, uint32_t cols);
std::vector<uint32_t> row_columns(RowType type, uint32_t cols);

// A token's activations as dot_rows reads them.
struct RowInputBuffer {
  std::vector<int8_t> q;
  std::vector<float> d, sum;
  std::vector<int32_t> offset_nibbles, offset_bytes;
  void resize(uint32_t tokens, uint32_t cols);
  RowBuffer buffer(uint32_t token, uint32_t cols);
  RowInput view(uint32_t token, uint32_t cols, const float* f) const;
};

}  // namespace hunch
