#include "packing.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "half.h"
#include "iq4_values.h"

namespace hunch {

namespace {

// How a packed block looks, by type. Field order as in packing.h.
struct Format {
  uint32_t scale_bytes;  // of d (and m) per row and block; 0: K-quant or float
  uint32_t vectors;      // of 64 bytes of nibbles or bytes
  uint32_t planes;       // 0, 1 (bit plane) or 2 (bit pairs)
  uint32_t head_bytes;   // K-quants: before a superblock's quants
  uint32_t quant_bytes() const { return (vectors + planes) * 64; }
};
Format format(TensorType type) {
  switch (type) {
    case TensorType::Q8_0: return {2, 8, 0, 0};
    case TensorType::Q4_0:
    case TensorType::IQ4_NL: return {2, 4, 0, 0};
    case TensorType::Q4_1: return {4, 4, 0, 0};
    case TensorType::Q5_0: return {2, 4, 1, 0};
    case TensorType::Q5_1: return {4, 4, 1, 0};
    case TensorType::Q4_K: return {0, 4, 0, 64 + 256};
    case TensorType::Q5_K: return {0, 4, 1, 64 + 256};
    case TensorType::Q6_K: return {0, 4, 2, 32 + 256 + 32};
    default: return {0, 0, 0, 0};
  }
}
uint32_t float_bytes(TensorType type) { return type == TensorType::F32 ? 4 : 2; }
size_t scale_section(const Format& f, uint32_t blocks) { return ((size_t)blocks * f.scale_bytes * kLanes + 63) / 64 * 64; }

uint16_t half_at(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return h;
}

// Writes the quants q[32] (each below 16, 32, 64 or 256) of row r into a packed block.
void put_quants(const Format& f, uint32_t r, const uint8_t q[32], uint8_t* block) {
  for (uint32_t v = 0; v < 8; v++) {
    for (uint32_t b = 0; b < 4; b++) {
      const uint8_t value = q[4 * v + b];
      if (f.vectors == 8) block[64 * v + 4 * r + b] = value;
      else block[64 * (v % 4) + 4 * r + b] |= (uint8_t)((value & 15) << (v < 4 ? 0 : 4));
      if (f.planes == 1) block[256 + 4 * r + b] |= (uint8_t)((value >> 4 & 1) << v);
      if (f.planes == 2) block[256 + 64 * (v / 4) + 4 * r + b] |= (uint8_t)((value >> 4 & 3) << (2 * (v % 4)));
    }
  }
}
uint8_t get_quant(const Format& f, uint32_t r, uint32_t column, const uint8_t* block) {
  const uint32_t v = column / 4, b = column % 4;
  if (f.vectors == 8) return block[64 * v + 4 * r + b];
  uint32_t value = block[64 * (v % 4) + 4 * r + b] >> (v < 4 ? 0 : 4) & 15;
  if (f.planes == 1) value |= (block[256 + 4 * r + b] >> v & 1) << 4;
  if (f.planes == 2) value |= (block[256 + 64 * (v / 4) + 4 * r + b] >> (2 * (v % 4)) & 3) << 4;
  return (uint8_t)value;
}

// Quants of one block of the file, past its scales.
void read_block(TensorType type, const uint8_t* in, uint8_t q[32]) {
  uint32_t high = 0;
  if (type == TensorType::Q5_0 || type == TensorType::Q5_1) {
    std::memcpy(&high, in, 4);
    in += 4;
  }
  for (uint32_t i = 0; i < 16; i++) {
    q[i] = (uint8_t)((in[i] & 15) | (high >> i & 1) << 4);
    q[i + 16] = (uint8_t)(in[i] >> 4 | (high >> (i + 16) & 1) << 4);
  }
}

// Six-bit scale and minimum of sub-block i from the 12 packed bytes that Q4_K and Q5_K share.
void k_scale(const uint8_t* p, uint32_t i, uint8_t& scale, uint8_t& min) {
  if (i < 4) scale = p[i] & 63, min = p[i + 4] & 63;
  else scale = (uint8_t)((p[i + 4] & 15) | (p[i - 4] >> 6) << 4), min = (uint8_t)(p[i + 4] >> 4 | (p[i] >> 6) << 4);
}

// One superblock of row r: ggml's block_q4_K, block_q5_K or block_q6_K.
void pack_super(TensorType type, const Format& f, const uint8_t* in, uint32_t r, uint8_t* out) {
  uint8_t q[32];
  if (type == TensorType::Q6_K) {  // ql[128] qh[64] scales[16] d
    std::memcpy(out + 2 * r, in + 208, 2);
    for (uint32_t i = 0; i < 16; i++) out[32 + 16 * i + r] = in[192 + i];
    for (uint32_t i = 0; i < 8; i++) {  // sub-block i of 32: half i / 4, quarter i % 4
      const uint8_t *low = in + 64 * (i / 4) + 32 * (i % 2), *high = in + 128 + 32 * (i / 4);
      for (uint32_t c = 0; c < 32; c++) q[c] = (uint8_t)((low[c] >> (i % 4 < 2 ? 0 : 4) & 15) | (high[c] >> (2 * (i % 4)) & 3) << 4);
      put_quants(f, r, q, out + f.head_bytes + i * f.quant_bytes());
    }
    return;
  }
  // d dmin scales[12] (qh[32]) qs[128]
  std::memcpy(out + 2 * r, in, 2);
  std::memcpy(out + 32 + 2 * r, in + 2, 2);
  const uint8_t *high = in + 16, *low = in + 16 + (type == TensorType::Q5_K ? 32 : 0);
  for (uint32_t i = 0; i < 8; i++) {
    k_scale(in + 4, i, out[64 + 16 * i + r], out[64 + 128 + 16 * i + r]);
    for (uint32_t c = 0; c < 32; c++) {
      q[c] = low[32 * (i / 2) + c] >> (i % 2 ? 4 : 0) & 15;
      if (type == TensorType::Q5_K) q[c] |= (uint8_t)((high[c] >> i & 1) << 4);
    }
    put_quants(f, r, q, out + f.head_bytes + i * f.quant_bytes());
  }
}

}  // namespace

PackedMatrix packed_shape(TensorType type, uint32_t rows, uint32_t cols) {
  return {type, rows, cols, (rows + kLanes - 1) / kLanes, packed_group_bytes(type, cols), {}};
}

const uint8_t* PackedMatrix::group(uint32_t g) const {
  size_t i = 0;
  while (g >= slices[i].end) i++;
  return slices[i].group(g);
}

size_t packed_group_bytes(TensorType type, uint32_t cols) {
  const Format f = format(type);
  if (!f.vectors) return ((size_t)cols * kLanes * float_bytes(type) + 63) / 64 * 64;
  if (!f.scale_bytes) return (size_t)cols / kSuperBlock * (f.head_bytes + 8 * f.quant_bytes());
  const uint32_t blocks = cols / kQuantBlock;
  return scale_section(f, blocks) + (size_t)blocks * f.quant_bytes();
}

void put_packed_row(TensorType type, const uint8_t* in, uint32_t cols, uint32_t r, uint8_t* out) {
  const Format f = format(type);
  if (!f.vectors) {
    const uint32_t size = float_bytes(type);
    for (uint32_t c = 0; c < cols; c++) std::memcpy(out + ((size_t)c * kLanes + r) * size, in + (size_t)c * size, size);
    return;
  }
  if (!f.scale_bytes) {
    const size_t super = f.head_bytes + 8 * f.quant_bytes(), raw_super = row_bytes(type, kSuperBlock);
    for (uint32_t b = 0; b < cols / kSuperBlock; b++) pack_super(type, f, in + b * raw_super, r, out + b * super);
    return;
  }
  const uint32_t blocks = cols / kQuantBlock;
  const size_t block_bytes = row_bytes(type, kQuantBlock);
  uint8_t* quants = out + scale_section(f, blocks);
  for (uint32_t b = 0; b < blocks; b++, in += block_bytes, quants += f.quant_bytes()) {
    uint8_t* scales = out + (size_t)b * f.scale_bytes * kLanes;
    for (uint32_t s = 0; s < f.scale_bytes; s += 2) std::memcpy(scales + s * kLanes + 2 * r, in + s, 2);
    const uint8_t* from = in + f.scale_bytes;
    if (f.planes) {
      uint8_t q[32];
      read_block(type, from, q);
      put_quants(f, r, q, quants);
      continue;
    }
    // The file's nibble and byte order is ours, four bytes at a time.
    for (uint32_t v = 0; v < f.vectors; v++) {
      uint32_t four;
      std::memcpy(&four, from + 4 * v, 4);
      if (type == TensorType::Q8_0) four ^= 0x80808080u;
      std::memcpy(quants + 64 * v + 4 * r, &four, 4);
    }
  }
}

void pack_group(TensorType type, const uint8_t* raw, uint32_t rows, uint32_t cols, uint8_t* out) {
  std::memset(out, 0, packed_group_bytes(type, cols));
  for (uint32_t r = 0; r < rows; r++) put_packed_row(type, raw + r * row_bytes(type, cols), cols, r, out);
  // Rows that do not exist have scale 0; Q8_0's stored 0 then means -128 * 0.
}

void quantise_q8_0(const float* row, uint32_t cols, uint8_t* out) {
  for (uint32_t b = 0; b < cols / kQuantBlock; b++, row += kQuantBlock, out += 34) {
    float peak = 0;
    for (uint32_t i = 0; i < kQuantBlock; i++) peak = std::max(peak, std::fabs(row[i]));
    const uint16_t d = f32_to_f16(peak / 127);
    std::memcpy(out, &d, 2);
    for (uint32_t i = 0; i < kQuantBlock; i++) out[2 + i] = (uint8_t)(int8_t)(peak > 0 ? std::lrintf(row[i] * (127 / peak)) : 0);
  }
}

void unpack_row(const PackedMatrix& m, uint32_t row, float* out) {
  const uint8_t* group = m.group(row / kLanes);
  const uint32_t r = row % kLanes;
  const Format f = format(m.type);
  if (!f.vectors) {
    const uint32_t size = float_bytes(m.type);
    for (uint32_t c = 0; c < m.cols; c++) {
      const uint8_t* p = group + ((size_t)c * kLanes + r) * size;
      if (m.type == TensorType::F32) std::memcpy(&out[c], p, 4);
      else out[c] = m.type == TensorType::F16 ? f16_to_f32(half_at(p)) : bf16_to_f32(half_at(p));
    }
    return;
  }
  if (!f.scale_bytes) {
    for (uint32_t s = 0; s < m.cols / kSuperBlock; s++, group += f.head_bytes + 8 * f.quant_bytes()) {
      const float d = f16_to_f32(half_at(group + 2 * r));
      for (uint32_t c = 0; c < kSuperBlock; c++) {
        const float q = get_quant(f, r, c % 32, group + f.head_bytes + c / 32 * f.quant_bytes());
        if (m.type == TensorType::Q6_K) *out++ = d * (float)(int8_t)group[32 + 16 * (c / 16) + r] * (q - 32);
        else *out++ = d * (float)group[64 + 16 * (c / 32) + r] * q - f16_to_f32(half_at(group + 32 + 2 * r)) * (float)group[64 + 128 + 16 * (c / 32) + r];
      }
    }
    return;
  }
  const uint32_t blocks = m.cols / kQuantBlock;
  const uint8_t* quants = group + scale_section(f, blocks);
  for (uint32_t b = 0; b < blocks; b++, quants += f.quant_bytes()) {
    const uint8_t* scales = group + (size_t)b * f.scale_bytes * kLanes;
    const float d = f16_to_f32(half_at(scales + 2 * r)), min = f.scale_bytes == 4 ? f16_to_f32(half_at(scales + 2 * kLanes + 2 * r)) : 0;
    for (uint32_t c = 0; c < kQuantBlock; c++) {
      const int q = get_quant(f, r, c, quants);
      switch (m.type) {
        case TensorType::Q8_0: *out++ = d * (float)(q - 128); break;
        case TensorType::IQ4_NL: *out++ = d * (float)(kIq4Values[q] - 128); break;
        case TensorType::Q4_0: *out++ = d * (float)(q - 8); break;
        case TensorType::Q5_0: *out++ = d * (float)(q - 16); break;
        default: *out++ = d * (float)q + min; break;
      }
    }
  }
}

}  // namespace hunch
