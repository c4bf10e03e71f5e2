// Low-bit copies of matrices whose rows are only ranked: what they let through is computed from the real weights.
// Groups of 16 rows as in packing.h: [blocks][16] f16 d padded to 64 bytes, then [blocks] quants of 64 * bits bytes. 1 bit: bit v of byte
// 4r+b is row r, column 4v+b. 2 bits: bits 2(v % 4) of byte 4r+b of vector v / 4. 4 bits: as Q4_0. Value: d (2q + 1 - 2^bits); 4 bits: d (q - 8).
#pragma once

#include "packing.h"

namespace hunch {

struct Screen {
  uint32_t bits = 0, rows = 0, cols = 0;
  size_t group_bytes = 0;
  std::vector<Slice> slices;
  bool present() const { return !slices.empty(); }
  uint64_t bytes() const { return (uint64_t)((rows + kLanes - 1) / kLanes) * group_bytes; }
};

// A copy without memory; cols a multiple of 32.
Screen screen_shape(uint32_t bits, uint32_t rows, uint32_t cols);
// Fills row r (0 … 15) of a zeroed group. importance [cols] weighs the columns' errors (null: alike). unit: the row's scores come out in
// units of their own expected error, for inputs of that importance; else in the weights'.
void put_screen_row(uint32_t bits, const float* row, const float* importance, uint32_t cols, bool unit, uint32_t r, uint8_t* group);
// Dequantises a row [cols].
void unpack_screen_row(const Screen& s, uint32_t r, const uint8_t* group, float* out);

}  // namespace hunch
