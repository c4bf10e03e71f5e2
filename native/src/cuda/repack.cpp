#include "repack.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "iq4_values.h"
#include "tensor_file.h"

namespace hunch::cuda {

namespace {

// A block of 32 columns: value = d q + m, or (sixes) d q in the first and m q in the last 16 columns.
struct Block {
  float d = 0, m = 0;
  int8_t q[32];
};

float half_at(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return f16_to_f32(h);
}

Block read_block(TensorType type, const uint8_t* raw, uint32_t b) {
  Block o;
  if (type == TensorType::Q4_K || type == TensorType::Q5_K) {
    const uint8_t* in = raw + (size_t)(b / 8) * row_bytes(type, 256);
    const uint32_t i = b % 8;
    const uint8_t* s = in + 4;
    const uint32_t scale = i < 4 ? s[i] & 63 : (s[i + 4] & 15) | (s[i - 4] >> 6) << 4;
    const uint32_t min = i < 4 ? s[i + 4] & 63 : s[i + 4] >> 4 | (s[i] >> 6) << 4;
    o.d = half_at(in) * (float)scale;
    o.m = -half_at(in + 2) * (float)min;
    const uint8_t *high = in + 16, *low = in + 16 + (type == TensorType::Q5_K ? 32 : 0) + 32 * (i / 2);
    for (uint32_t c = 0; c < 32; c++) {
      uint32_t q = low[c] >> (i % 2 ? 4 : 0) & 15;
      if (type == TensorType::Q5_K) q |= (uint32_t)(high[c] >> i & 1) << 4;
      o.q[c] = (int8_t)q;
    }
    return o;
  }
  if (type == TensorType::Q6_K) {
    const uint8_t* in = raw + (size_t)(b / 8) * row_bytes(type, 256);
    const uint32_t i = b % 8;
    const float d = half_at(in + 208);
    o.d = d * (float)(int8_t)in[192 + 2 * i], o.m = d * (float)(int8_t)in[192 + 2 * i + 1];
    const uint8_t *low = in + 64 * (i / 4) + 32 * (i % 2), *high = in + 128 + 32 * (i / 4);
    for (uint32_t c = 0; c < 32; c++) o.q[c] = (int8_t)(((low[c] >> (i % 4 < 2 ? 0 : 4) & 15) | (high[c] >> (2 * (i % 4)) & 3) << 4) - 32);
    return o;
  }
  const uint8_t* in = raw + (size_t)b * row_bytes(type, 32);
  o.d = half_at(in);
  in += 2;
  if (type == TensorType::Q8_0) {
    std::memcpy(o.q, in, 32);
    return o;
  }
  if (type == TensorType::Q4_1 || type == TensorType::Q5_1) o.m = half_at(in), in += 2;
  if (type == TensorType::Q5_0) o.m = -16 * o.d;
  uint32_t high = 0;
  if (type == TensorType::Q5_0 || type == TensorType::Q5_1) std::memcpy(&high, in, 4), in += 4;
  for (uint32_t i = 0; i < 16; i++) {
    o.q[i] = (int8_t)((in[i] & 15) | (high >> i & 1) << 4);
    o.q[i + 16] = (int8_t)(in[i] >> 4 | (high >> (i + 16) & 1) << 4);
  }
  if (type == TensorType::IQ4_NL)
    for (int8_t& q : o.q) q = (int8_t)((int)kIq4Values[q] - 128);
  return o;
}

struct Place {
  size_t plane, second, side;
};
Place place_of(Format f, uint32_t cols, uint32_t p) {
  const uint32_t n = pieces(f, cols), chunk = p / 32, in_chunk = std::min(32u, n - chunk * 32);
  const size_t plane = (size_t)chunk * 512 * planes(f) + p % 32 * 16;
  return {plane, plane + in_chunk * 16, (size_t)n * 16 * planes(f) + (size_t)p * side_bytes(f)};
}

void put_half(uint8_t* p, float x) {
  const uint16_t h = f32_to_f16(x);
  std::memcpy(p, &h, 2);
}

void put_block(Format f, uint32_t cols, uint32_t b, const Block& block, uint8_t* row) {
  const Place at = place_of(f, cols, b);
  uint8_t *plane = row + at.plane, *side = row + at.side;
  put_half(side, block.d);
  if (f == Format::bytes || f == Format::sixes) {
    std::memcpy(plane, block.q, 16);
    std::memcpy(row + at.second, block.q + 16, 16);
    if (f == Format::sixes) put_half(side + 2, block.m);
    return;
  }
  for (uint32_t i = 0; i < 16; i++) plane[i] = (uint8_t)((block.q[i] & 15) | (block.q[i + 16] & 15) << 4);
  if (f != Format::nibbles) put_half(side + 2, block.m);
  if (f != Format::fives) return;
  uint32_t high = 0;
  for (uint32_t c = 0; c < 32; c++) high |= (uint32_t)(block.q[c] >> 4 & 1) << c;
  std::memcpy(side + 4, &high, 4);
}

}  // namespace

Format format_of(TensorType type) {
  switch (type) {
    case TensorType::F32: return Format::f32;
    case TensorType::F16: return Format::f16;
    case TensorType::BF16: return Format::bf16;
    case TensorType::Q4_0: return Format::nibbles;
    case TensorType::Q4_1:
    case TensorType::Q4_K: return Format::nibbles_min;
    case TensorType::Q5_0:
    case TensorType::Q5_1:
    case TensorType::Q5_K: return Format::fives;
    case TensorType::Q6_K: return Format::sixes;
    default: return Format::bytes;
  }
}

void repack_row(TensorType type, const uint8_t* raw, uint32_t cols, uint8_t* out) {
  const Format f = format_of(type);
  std::memset(out, 0, row_stride(f, cols));
  if (f == Format::f16 || f == Format::bf16) {
    std::memcpy(out, raw, (size_t)cols * 2);  // pieces in their order are the file's order
  } else if (f == Format::f32) {
    std::vector<float> values(cols);
    std::memcpy(values.data(), raw, (size_t)cols * 4);
    repack_values(f, values.data(), cols, out);
  } else {
    for (uint32_t b = 0; b < cols / 32; b++) put_block(f, cols, b, read_block(type, raw, b), out);
  }
}

void repack_values(Format f, const float* row, uint32_t cols, uint8_t* out) {
  std::memset(out, 0, row_stride(f, cols));
  if (f == Format::f16) {
    for (uint32_t c = 0; c < cols; c++) put_half(out + 2 * c, row[c]);
  } else if (f == Format::f32) {
    for (uint32_t c = 0; c < cols; c++) {
      const Place at = place_of(f, cols, c / 8);
      std::memcpy(out + (c % 8 < 4 ? at.plane : at.second) + c % 4 * 4, &row[c], 4);
    }
  } else {
    for (uint32_t b = 0; b < cols / 32; b++) {
      Block block;
      float peak = 0;
      for (uint32_t i = 0; i < 32; i++) peak = std::max(peak, std::fabs(row[b * 32 + i]));
      block.d = peak / 127;
      for (uint32_t i = 0; i < 32; i++) block.q[i] = (int8_t)(peak > 0 ? std::lrintf(row[b * 32 + i] * (127 / peak)) : 0);
      put_block(f, cols, b, block, out);
    }
  }
}

void unpack_row(Format f, const uint8_t* row, uint32_t cols, float* out) {
  for (uint32_t c = 0; c < cols; c++) {
    const Place at = place_of(f, cols, c / piece_columns(f));
    const uint32_t i = c % piece_columns(f);
    if (f == Format::f32) {
      std::memcpy(&out[c], row + (i < 4 ? at.plane : at.second) + i % 4 * 4, 4);
    } else if (f == Format::f16 || f == Format::bf16) {
      uint16_t h;
      std::memcpy(&h, row + at.plane + i * 2, 2);
      out[c] = f == Format::f16 ? f16_to_f32(h) : bf16_to_f32(h);
    } else if (f == Format::bytes || f == Format::sixes) {
      const int8_t q = (int8_t)row[(i < 16 ? at.plane : at.second) + i % 16];
      out[c] = half_at(row + at.side + (f == Format::sixes && i >= 16 ? 2 : 0)) * (float)q;
    } else {
      int q = row[at.plane + i % 16] >> (i < 16 ? 0 : 4) & 15;
      const float d = half_at(row + at.side);
      if (f == Format::nibbles) {
        out[c] = d * (float)(q - 8);
        continue;
      }
      if (f == Format::fives) {
        uint32_t high;
        std::memcpy(&high, row + at.side + 4, 4);
        q |= (int)(high >> i & 1) << 4;
      }
      out[c] = d * (float)q + half_at(row + at.side + 2);
    }
  }
}

}  // namespace hunch::cuda
