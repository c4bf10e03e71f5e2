// The in-memory weight layout that the kernels read: 16 rows interleaved, so that a vector lane is a row and one pass over memory is
// one straight line. A block is 32 columns. Quants of a block:
//   nibbles     4 vectors of 64 bytes; byte 4r+b of vector v: row r, low nibble column 4v+b, high nibble column 16+4v+b
//   bytes       8 vectors of 64 bytes; byte 4r+b of vector v: row r, column 4v+b (Q8_0: plus 128)
//   bit plane   64 bytes; bit v of byte 4r+b: bit 4 of row r, column 4v+b
//   bit pairs   2 x 64 bytes; bits 2(v % 4) of byte 4r+b of plane v / 4: bits 4 and 5 of row r, column 4v+b
// Groups:
//   Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL   [blocks][16] f16 d (…_1: then [16] f16 m), padded to 64 bytes; then [blocks] quants
//   Q4_K Q5_K   per superblock: [16] f16 d, [16] f16 dmin, [8][16] u8 scales, [8][16] u8 mins, [8] quants
//   Q6_K        per superblock: [16] f16 d, [8][2][16] i8 scales, 32 bytes unused, [8] quants
//   F32 F16 BF16   [columns][16] of the type
// Rows past the matrix's last are zeros.
#pragma once

#include "kernels.h"
#include "tensor_file.h"

namespace hunch {

// One lane's groups [begin, end) of a matrix, `stride` bytes apart. The model's arena is laid out lane by lane in the order of the forward
// pass, so that what a lane reads for a token is one straight line through memory and a prefetch never runs into another lane's part.
struct Slice {
  uint32_t begin = 0, end = 0;
  uint8_t* data = nullptr;
  size_t stride = 0;
  uint8_t* group(uint32_t g) const { return data + (size_t)(g - begin) * stride; }
};

struct PackedMatrix {
  TensorType type = TensorType::F32;
  uint32_t rows = 0, cols = 0, groups = 0;
  size_t group_bytes = 0;
  std::vector<Slice> slices;  // one per lane, covering [0, groups) in order
  bool present() const { return !slices.empty(); }
  uint64_t bytes() const { return (uint64_t)groups * group_bytes; }
  const uint8_t* group(uint32_t g) const;
};

// A matrix without memory; sizes only.
PackedMatrix packed_shape(TensorType type, uint32_t rows, uint32_t cols);
size_t packed_group_bytes(TensorType type, uint32_t cols);
// `rows` (1…16) consecutive rows of the file's layout into one group.
void pack_group(TensorType type, const uint8_t* raw, uint32_t rows, uint32_t cols, uint8_t* out);
// One row of the file's layout as row r of a zeroed group.
void put_packed_row(TensorType type, const uint8_t* raw, uint32_t cols, uint32_t r, uint8_t* group);
// One row [cols] of floats in the file's Q8_0 layout: blocks of f16 d and 32 int8, d = max|x| / 127.
void quantise_q8_0(const float* row, uint32_t cols, uint8_t* out);
// Dequantises one row [cols].
void unpack_row(const PackedMatrix& m, uint32_t row, float* out);

}  // namespace hunch
