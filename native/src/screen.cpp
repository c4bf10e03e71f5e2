#include "screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "half.h"

namespace hunch {

namespace {

size_t scale_bytes(uint32_t blocks) { return ((size_t)blocks * 2 * kLanes + 63) / 64 * 64; }
float centre(uint32_t bits) { return bits == 4 ? 8 : ((float)(1u << bits) - 1) / 2; }
float step(uint32_t bits) { return bits == 4 ? 1 : 2; }

// Scale and levels of one block by Lloyd's iteration: round, then refit the scale by least squares (Lloyd 1982).
float fit(uint32_t bits, const float* w, const float* importance, uint8_t q[kQuantBlock]) {
  const float levels = (float)(1u << bits) - 1;
  float peak = 0, mean = 0;
  for (uint32_t i = 0; i < kQuantBlock; i++) peak = std::max(peak, std::fabs(w[i])), mean += std::fabs(w[i]);
  std::fill_n(q, kQuantBlock, (uint8_t)0);
  if (!(peak > 0)) return 0;
  float d = bits == 4 ? peak / 8 : bits == 2 ? mean / kQuantBlock * 0.6f : mean / kQuantBlock;
  for (int pass = 0; pass < 4; pass++) {
    double dot = 0, square = 0;
    for (uint32_t i = 0; i < kQuantBlock; i++) {
      const float level = std::clamp(std::nearbyint(w[i] / (d * step(bits)) + centre(bits)), 0.0f, levels);
      q[i] = (uint8_t)level;
      const float grid = (level - centre(bits)) * step(bits), weight = importance[i] * importance[i];
      dot += (double)weight * w[i] * grid;
      square += (double)weight * grid * grid;
    }
    if (square > 0 && dot > 0) d = (float)(dot / square);
  }
  return d;
}

}  // namespace

uint64_t Screen::bytes() const {
  return (uint64_t)((rows + kLanes - 1) / kLanes) * (group_bytes + (wide ? packed_group_bytes(TensorType::Q8_0, wide) : 0));
}

Screen screen_shape(uint32_t bits, uint32_t rows, uint32_t cols, uint32_t wide_blocks, const float* importance) {
  Screen s;
  s.bits = bits, s.rows = rows, s.cols = cols, s.wide = wide_blocks * kQuantBlock;
  s.order.resize(cols);
  std::iota(s.order.begin(), s.order.end(), 0u);
  std::stable_sort(s.order.begin(), s.order.end(), [&](uint32_t a, uint32_t b) { return importance[a] > importance[b]; });
  std::sort(s.order.begin(), s.order.begin() + s.wide);  // in the matrix's order within each part
  std::sort(s.order.begin() + s.wide, s.order.end());
  const uint32_t blocks = (cols - s.wide) / kQuantBlock;
  s.group_bytes = scale_bytes(blocks) + (size_t)blocks * 64 * bits;
  return s;
}

void put_screen_row(const Screen& s, const float* row, const float* importance, bool unit, uint32_t r, uint8_t* group, uint8_t* wide_group) {
  const uint32_t blocks = (s.cols - s.wide) / kQuantBlock, bits = s.bits;
  std::vector<float> d(blocks), w(s.cols), weight(s.cols);
  for (uint32_t c = 0; c < s.cols; c++) w[c] = row[s.order[c]], weight[c] = importance[s.order[c]];
  double error = 0;
  for (uint32_t b = 0; b < blocks; b++) {
    uint8_t q[kQuantBlock];
    const uint32_t first = s.wide + b * kQuantBlock;
    d[b] = fit(bits, &w[first], &weight[first], q);
    uint8_t* quants = group + scale_bytes(blocks) + (size_t)b * 64 * bits;
    for (uint32_t c = 0; c < kQuantBlock; c++) {
      const uint32_t v = c / 4, at = 4 * r + c % 4;
      if (bits == 1) quants[at] |= (uint8_t)(q[c] << v);
      else if (bits == 2) quants[64 * (v / 4) + at] |= (uint8_t)(q[c] << (2 * (v % 4)));
      else quants[64 * (v % 4) + at] |= (uint8_t)(q[c] << (v < 4 ? 0 : 4));
      const double off = (w[first + c] - d[b] * ((float)q[c] - centre(bits)) * step(bits)) * weight[first + c];
      error += off * off;
    }
  }
  const float scale = unit && error > 0 ? (float)(1 / std::sqrt(error)) : 1;
  for (uint32_t b = 0; b < blocks; b++) {
    const uint16_t h = f32_to_f16(d[b] * scale);
    std::memcpy(group + ((size_t)b * kLanes + r) * 2, &h, 2);
  }
  if (!s.wide) return;
  for (uint32_t c = 0; c < s.wide; c++) w[c] *= scale;
  std::vector<uint8_t> q8(s.wide / kQuantBlock * 34);
  quantise_q8_0(w.data(), s.wide, q8.data());
  put_packed_row(TensorType::Q8_0, q8.data(), s.wide, r, wide_group);
}

void unpack_screen_row(const Screen& s, uint32_t r, const uint8_t* group, const uint8_t* wide_group, float* out) {
  const uint32_t blocks = (s.cols - s.wide) / kQuantBlock;
  PackedMatrix wide = packed_shape(TensorType::Q8_0, kLanes, s.wide);
  wide.slices = {{0, 1, const_cast<uint8_t*>(wide_group), wide.group_bytes}};
  std::vector<float> w(s.cols);
  if (s.wide) unpack_row(wide, r, w.data());
  for (uint32_t i = s.wide; i < s.cols; i++) {
    const uint32_t c = i - s.wide, b = c / kQuantBlock, v = c % kQuantBlock / 4, at = 4 * r + c % 4;
    const uint8_t* quants = group + scale_bytes(blocks) + (size_t)b * 64 * s.bits;
    uint16_t h;
    std::memcpy(&h, group + ((size_t)b * kLanes + r) * 2, 2);
    const uint32_t q = s.bits == 1 ? quants[at] >> v & 1 : s.bits == 2 ? quants[64 * (v / 4) + at] >> (2 * (v % 4)) & 3 : quants[64 * (v % 4) + at] >> (v < 4 ? 0 : 4) & 15;
    w[i] = f16_to_f32(h) * ((float)q - centre(s.bits)) * step(s.bits);
  }
  for (uint32_t c = 0; c < s.cols; c++) out[s.order[c]] = w[c];
}

}  // namespace hunch
