#include "packing.h"

#include <cstring>

#include "half.h"

namespace hunch {

namespace {

struct Quant {
  uint32_t scale_bytes;  // per row and block in the file, first in the block
  uint32_t vectors;      // of 64 bytes per packed block
};
Quant quant(TensorType type) {
  switch (type) {
    case TensorType::Q8_0: return {2, 8};
    case TensorType::Q4_0: return {2, 4};
    case TensorType::Q4_1: return {4, 4};
    default: return {0, 0};
  }
}
size_t scale_section(const Quant& q, uint32_t blocks) { return ((size_t)blocks * q.scale_bytes * kLanes + 63) / 64 * 64; }

uint32_t float_bytes(TensorType type) { return type == TensorType::F32 ? 4 : 2; }

}  // namespace

size_t packed_group_bytes(TensorType type, uint32_t cols) {
  const Quant q = quant(type);
  if (!q.vectors) return ((size_t)cols * kLanes * float_bytes(type) + 63) / 64 * 64;
  const uint32_t blocks = cols / kQuantBlock;
  return scale_section(q, blocks) + (size_t)blocks * q.vectors * 64;
}

void pack_group(TensorType type, const uint8_t* raw, uint32_t rows, uint32_t cols, uint8_t* out) {
  std::memset(out, 0, packed_group_bytes(type, cols));
  const size_t stride = row_bytes(type, cols);
  const Quant q = quant(type);
  if (!q.vectors) {
    const uint32_t size = float_bytes(type);
    for (uint32_t r = 0; r < rows; r++)
      for (uint32_t c = 0; c < cols; c++) std::memcpy(out + ((size_t)c * kLanes + r) * size, raw + r * stride + (size_t)c * size, size);
    return;
  }
  const uint32_t blocks = cols / kQuantBlock;
  const uint32_t block_bytes = (uint32_t)(stride / blocks);
  uint8_t* quants = out + scale_section(q, blocks);
  for (uint32_t r = 0; r < rows; r++) {
    for (uint32_t b = 0; b < blocks; b++) {
      const uint8_t* in = raw + r * stride + (size_t)b * block_bytes;
      uint8_t* scales = out + (size_t)b * q.scale_bytes * kLanes;
      for (uint32_t s = 0; s < q.scale_bytes; s += 2) std::memcpy(scales + s * kLanes + 2 * r, in + s, 2);
      in += q.scale_bytes;
      uint8_t* to = quants + (size_t)b * q.vectors * 64 + 4 * r;
      for (uint32_t v = 0; v < q.vectors; v++, in += 4, to += 64) {
        std::memcpy(to, in, 4);
        if (type == TensorType::Q8_0)
          for (int i = 0; i < 4; i++) to[i] ^= 0x80;
      }
    }
  }
  // Rows that do not exist have scale 0; Q8_0's stored 0 then means -128 * 0.
}

void unpack_row(const PackedMatrix& m, uint32_t row, float* out) {
  const uint8_t* group = m.data + (size_t)(row / kLanes) * m.group_bytes;
  const uint32_t r = row % kLanes;
  const Quant q = quant(m.type);
  const auto half_at = [](const uint8_t* p) {
    uint16_t h;
    std::memcpy(&h, p, 2);
    return h;
  };
  if (!q.vectors) {
    const uint32_t size = float_bytes(m.type);
    for (uint32_t c = 0; c < m.cols; c++) {
      const uint8_t* p = group + ((size_t)c * kLanes + r) * size;
      if (m.type == TensorType::F32) std::memcpy(&out[c], p, 4);
      else out[c] = m.type == TensorType::F16 ? f16_to_f32(half_at(p)) : bf16_to_f32(half_at(p));
    }
    return;
  }
  const uint32_t blocks = m.cols / kQuantBlock;
  const uint8_t* quants = group + scale_section(q, blocks);
  for (uint32_t b = 0; b < blocks; b++, out += kQuantBlock) {
    const uint8_t* scales = group + (size_t)b * q.scale_bytes * kLanes;
    const float d = f16_to_f32(half_at(scales + 2 * r));
    const float min = m.type == TensorType::Q4_1 ? f16_to_f32(half_at(scales + 2 * kLanes + 2 * r)) : 0;
    for (uint32_t v = 0; v < q.vectors; v++) {
      for (uint32_t i = 0; i < 4; i++) {
        const int byte = quants[((size_t)b * q.vectors + v) * 64 + 4 * r + i];
        const uint32_t c = 4 * v + i;
        switch (m.type) {
          case TensorType::Q8_0: out[c] = d * (float)(byte - 128); break;
          case TensorType::Q4_0: out[c] = d * (float)((byte & 15) - 8), out[c + 16] = d * (float)((byte >> 4) - 8); break;
          default: out[c] = d * (float)(byte & 15) + min, out[c + 16] = d * (float)(byte >> 4) + min; break;
        }
      }
    }
  }
}

}  // namespace hunch
