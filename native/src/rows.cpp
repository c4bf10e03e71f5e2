#include "rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "half.h"
#include "iq4_values.h"
#include "packing.h"

namespace hunch {

namespace {

bool quantised(RowType type) { return type < RowType::f16; }
bool is_bytes(RowType type) { return type == RowType::bytes || type == RowType::bytes_min; }
bool has_min(RowType type) { return type == RowType::nibbles_min || type == RowType::bytes_min; }
uint32_t padded_blocks(uint32_t cols) { return (cols / kQuantBlock + 1) / 2 * 2; }
uint32_t padded_columns(uint32_t cols) { return (cols + 15) / 16 * 16; }
uint32_t chunk_count(uint32_t blocks) { return blocks / 16 + (uint32_t)std::popcount(blocks % 16); }

// Where block b of a row lies: its chunk's blocks and first block.
struct Place {
  uint32_t size, first;
};
Place place_of(uint32_t block, uint32_t blocks) {
  uint32_t first = block / 16 * 16;
  if (blocks - first >= 16) return {16, first};
  for (uint32_t size = 8;; size /= 2) {
    if (!(blocks & size)) continue;
    if (block < first + size) return {size, first};
    first += size;
  }
}

// Vector and byte of column c (0 … 31) of a block.
struct Spot {
  uint32_t vector, byte;
};
Spot spot_of(const Place& p, uint32_t block, uint32_t c) {
  const uint32_t lanes = 16 / p.size, word = c / 4;
  return {word / lanes, 4 * ((block - p.first) * lanes + word % lanes) + c % 4};
}

struct Block {
  float d = 0, m = 0;
  uint8_t q[kQuantBlock] = {};  // as stored
};

// Where every column of a quantised row is stored: byte, and for nibbles the shift. Rows are packed by the million, so it is worked out once.
struct Map {
  RowType type = RowType::f32;
  uint32_t cols = 0;
  std::vector<uint32_t> byte;
  std::vector<uint8_t> shift;
};
const Map& map_of(RowType type, uint32_t cols) {
  thread_local Map map;
  if (map.type == type && map.cols == cols) return map;
  map = {type, cols, std::vector<uint32_t>(cols), std::vector<uint8_t>(cols)};
  const uint32_t blocks = padded_blocks(cols);
  for (uint32_t c = 0; c < cols; c++) {
    const uint32_t b = c / kQuantBlock;
    const Place place = place_of(b, blocks);
    const Spot s = spot_of(place, b, c % kQuantBlock);
    const uint32_t quants = blocks * (has_min(type) ? 4 : 2) + place.first * (is_bytes(type) ? 32 : 16);
    if (is_bytes(type)) map.byte[c] = quants + 64 * s.vector + s.byte;
    else if (place.size == 2) map.byte[c] = quants + s.byte % 32, map.shift[c] = s.byte < 32 ? 0 : 4;
    else map.byte[c] = quants + 64 * (s.vector % (place.size / 4)) + s.byte, map.shift[c] = s.vector < place.size / 4 ? 0 : 4;
  }
  return map;
}

void put(const Map& map, uint32_t b, const Block& block, uint8_t* row) {
  const uint16_t d = f32_to_f16(block.d), m = f32_to_f16(block.m);
  std::memcpy(row + 2 * b, &d, 2);
  if (has_min(map.type)) std::memcpy(row + 2 * (padded_blocks(map.cols) + b), &m, 2);
  const uint32_t* byte = &map.byte[b * kQuantBlock];
  const uint8_t* shift = &map.shift[b * kQuantBlock];
  for (uint32_t c = 0; c < kQuantBlock; c++) row[byte[c]] |= (uint8_t)(block.q[c] << shift[c]);
}

float half_float(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return f16_to_f32(h);
}

// Block b of a file's row, for types of 32-column blocks.
Block read_block(TensorType type, const uint8_t* in) {
  Block o;
  o.d = half_float(in);
  in += 2;
  if (type == TensorType::Q8_0) {
    for (uint32_t i = 0; i < 32; i++) o.q[i] = (uint8_t)(in[i] + 128);
    return o;
  }
  if (type == TensorType::Q4_1 || type == TensorType::Q5_1) o.m = half_float(in), in += 2;
  uint32_t high = 0;
  const bool five = type == TensorType::Q5_0 || type == TensorType::Q5_1;
  if (five) std::memcpy(&high, in, 4), in += 4;
  for (uint32_t i = 0; i < 16; i++) {
    o.q[i] = (uint8_t)((in[i] & 15) | (high >> i & 1) << 4);
    o.q[i + 16] = (uint8_t)(in[i] >> 4 | (high >> (i + 16) & 1) << 4);
  }
  if (type == TensorType::Q5_0)
    for (uint8_t& q : o.q) q = (uint8_t)(q + 112);  // q - 16, with 128 added
  if (type == TensorType::IQ4_NL)
    for (uint8_t& q : o.q) q = kIq4Values[q];
  return o;
}

// Sub-block i of a superblock of Q4_K or Q5_K as d q + m.
Block read_sub_block(TensorType type, const uint8_t* in, uint32_t i) {
  const uint8_t* s = in + 4;
  const uint32_t scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
  const uint32_t min = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | (s[i] >> 6) << 4;
  Block o;
  o.d = half_float(in) * (float)scale;
  o.m = -half_float(in + 2) * (float)min;
  const uint8_t *high = in + 16, *low = in + 16 + (type == TensorType::Q5_K ? 32 : 0) + 32 * (i / 2);
  for (uint32_t c = 0; c < 32; c++) {
    o.q[c] = low[c] >> (i % 2 ? 4 : 0) & 15;
    if (type == TensorType::Q5_K) o.q[c] |= (uint8_t)((high[c] >> i & 1) << 4);
  }
  return o;
}

}  // namespace

RowType row_type(TensorType type) {
  switch (type) {
    case TensorType::Q4_0: return RowType::nibbles;
    case TensorType::Q4_1:
    case TensorType::Q4_K: return RowType::nibbles_min;
    case TensorType::Q5_1:
    case TensorType::Q5_K: return RowType::bytes_min;
    case TensorType::Q8_0:
    case TensorType::Q5_0:
    case TensorType::IQ4_NL:
    case TensorType::Q6_K: return RowType::bytes;
    case TensorType::F16: return RowType::f16;
    default: return RowType::f32;
  }
}

size_t row_size(RowType type, uint32_t cols) {
  if (!quantised(type)) return (size_t)padded_columns(cols) * (type == RowType::f16 ? 2 : 4);
  return (size_t)padded_blocks(cols) * ((is_bytes(type) ? 32 : 16) + (has_min(type) ? 4 : 2));
}

void pack_row(TensorType type, const uint8_t* raw, uint32_t cols, uint8_t* out) {
  const RowType to = row_type(type);
  if (!quantised(to) || type == TensorType::Q6_K) {
    std::vector<float> row(cols);
    unpack_file_row(type, raw, cols, row.data());
    pack_row(to, row.data(), cols, out);
    return;
  }
  std::memset(out, 0, row_size(to, cols));
  const size_t row = row_bytes(type, cols);
  if (type == TensorType::Q4_K || type == TensorType::Q5_K) {
    const size_t super = row / (cols / kSuperBlock);
    for (uint32_t b = 0; b < cols / kQuantBlock; b++) put(map_of(to, cols), b, read_sub_block(type, raw + b / 8 * super, b % 8), out);
    return;
  }
  const size_t bytes = row / (cols / kQuantBlock);
  for (uint32_t b = 0; b < cols / kQuantBlock; b++) put(map_of(to, cols), b, read_block(type, raw + b * bytes), out);
}

void pack_row(RowType type, const float* row, uint32_t cols, uint8_t* out) {
  std::memset(out, 0, row_size(type, cols));
  if (type == RowType::f32) {
    std::memcpy(out, row, (size_t)cols * 4);
    return;
  }
  if (type == RowType::f16) {
    for (uint32_t c = 0; c < cols; c++) {
      const uint16_t h = f32_to_f16(row[c]);
      std::memcpy(out + 2 * c, &h, 2);
    }
    return;
  }
  std::vector<uint8_t> q8((size_t)cols / kQuantBlock * 34);
  quantise_q8_0(row, cols, q8.data());
  for (uint32_t b = 0; b < cols / kQuantBlock; b++) put(map_of(type, cols), b, read_block(TensorType::Q8_0, q8.data() + (size_t)b * 34), out);
}

void unpack_file_row(TensorType type, const uint8_t* raw, uint32_t cols, float* out) {
  const RowType to = row_type(type);
  if (!quantised(to) || type == TensorType::Q6_K) {
    PackedMatrix one = packed_shape(type, 1, cols);
    std::vector<uint8_t> group(one.bytes());
    pack_group(type, raw, 1, cols, group.data());
    one.slices = {{0, 1, group.data(), one.group_bytes}};
    unpack_row(one, 0, out);
    return;
  }
  const bool super = type == TensorType::Q4_K || type == TensorType::Q5_K;
  const size_t bytes = row_bytes(type, super ? kSuperBlock : kQuantBlock);
  const float zero = to == RowType::nibbles ? 8 : to == RowType::bytes ? 128 : 0;
  for (uint32_t b = 0; b < cols / kQuantBlock; b++) {
    const Block block = super ? read_sub_block(type, raw + b / 8 * bytes, b % 8) : read_block(type, raw + b * bytes);
    for (uint32_t c = 0; c < kQuantBlock; c++) *out++ = block.d * ((float)block.q[c] - zero) + block.m;
  }
}

void unpack_row(RowType type, const uint8_t* row, uint32_t cols, float* out) {
  for (uint32_t c = 0; c < cols; c++) {
    if (type == RowType::f32) std::memcpy(&out[c], row + 4 * c, 4);
    else if (type == RowType::f16) out[c] = half_float(row + 2 * c);
    else {
      const uint32_t b = c / kQuantBlock, zero = type == RowType::nibbles ? 8 : type == RowType::bytes ? 128 : 0;
      const float d = half_float(row + 2 * b), m = has_min(type) ? half_float(row + 2 * (padded_blocks(cols) + b)) : 0;
      const uint32_t q = is_bytes(type) ? row[map_of(type, cols).byte[c]] : row[map_of(type, cols).byte[c]] >> map_of(type, cols).shift[c] & 15;
      out[c] = d * ((float)q - (float)zero) + m;
    }
  }
}

uint32_t row_places(RowType type, uint32_t cols) { return quantised(type) ? padded_blocks(cols) * kQuantBlock : padded_columns(cols); }

std::vector<uint32_t> row_columns(RowType type, uint32_t cols) {
  std::vector<uint32_t> to(row_places(type, cols), cols);
  for (uint32_t c = 0; c < cols; c++) {
    if (!quantised(type)) {
      to[c] = c;
      continue;
    }
    const uint32_t b = c / kQuantBlock;
    const Place place = place_of(b, padded_blocks(cols));
    const Spot s = spot_of(place, b, c % kQuantBlock);
    to[place.first * kQuantBlock + s.vector * 64 + s.byte % 4 * 16 + s.byte / 4] = c;
  }
  return to;
}

void RowInputBuffer::resize(uint32_t tokens, uint32_t cols) {
  const uint32_t blocks = padded_blocks(cols);
  const size_t lanes = (size_t)tokens * chunk_count(blocks) * 16;
  q.resize((size_t)tokens * blocks * kQuantBlock);
  d.resize(lanes);
  sum.resize(lanes);
  offset_nibbles.resize(lanes);
  offset_bytes.resize(lanes);
}

RowBuffer RowInputBuffer::buffer(uint32_t token, uint32_t cols) {
  const uint32_t blocks = padded_blocks(cols);
  const size_t lane = (size_t)token * chunk_count(blocks) * 16;
  return {q.data() + (size_t)token * blocks * kQuantBlock, d.data() + lane, sum.data() + lane, offset_nibbles.data() + lane, offset_bytes.data() + lane};
}

RowInput RowInputBuffer::view(uint32_t token, uint32_t cols, const float* f) const {
  const RowBuffer b = const_cast<RowInputBuffer*>(this)->buffer(token, cols);
  return {f, b.q, b.d, b.sum, b.offset_nibbles, b.offset_bytes};
}

}  // namespace hunch
