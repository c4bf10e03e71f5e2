// Low-bit copies of matrices whose rows are only ranked: what they let through is computed from the real weights.
// Groups of 16 rows as in packing.h: [blocks][16] f16 d padded to 64 bytes, then [blocks] quants of 64 * bits bytes. 1 bit: bit v of byte
// 4r+b is row r, column 4v+b. 2 bits: bits 2(v % 4) of byte 4r+b of vector v / 4. 4 bits: as Q4_0. Value: d (2q + 1 - 2^bits); 4 bits: d (q - 8).
#pragma once

#include "packing.h"

namespace hunch {

struct Screen {
  uint32_t bits = 0, rows = 0, cols = 0, wide = 0;
  std::vector<uint32_t> order;  // [cols] which column of the matrix stands where: the most important ones first
  size_t group_bytes = 0;       // of the narrow columns
  std::vector<Slice> slices;       // one per lane, of columns [wide, cols) at `bits` bits
  std::vector<Slice> wide_slices;  // the first `wide` columns, packed as Q8_0
  bool present() const { return !slices.empty(); }
  uint64_t bytes() const;  // of both
};

// A copy without memory. importance [cols]: the root of each column's expected square in the inputs; the 32 * wide_blocks greatest keep 8 bits,
// because a rounding error there would outweigh all others. cols and 32 * wide_blocks are whole blocks, wide_blocks less than all.
Screen screen_shape(uint32_t bits, uint32_t rows, uint32_t cols, uint32_t wide_blocks, const float* importance);
// Fills row r (0 … 15) of a zeroed group. unit: the row's scores come out in units of their own expected error; else in the weights'.
void put_screen_row(const Screen& s, const float* row, const float* importance, bool unit, uint32_t r, uint8_t* group, uint8_t* wide_group);
// Dequantises row r of a group [cols], in the matrix's order of columns.
void unpack_screen_row(const Screen& s, uint32_t r, const uint8_t* group, const uint8_t* wide_group, float* out);

}  // namespace hunch
