#include "screen.h"

#include <algorithm>
#include <cmath>
#include <cstring>

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
      const float grid = (level - centre(bits)) * step(bits), weight = importance ? importance[i] * importance[i] : 1;
      dot += (double)weight * w[i] * grid;
      square += (double)weight * grid * grid;
    }
    if (square > 0 && dot > 0) d = (float)(dot / square);
  }
  return d;
}

}  // namespace

Screen screen_shape(uint32_t bits, uint32_t rows, uint32_t cols) {
  const uint32_t blocks = cols / kQuantBlock;
  return {bits, rows, cols, scale_bytes(blocks) + (size_t)blocks * 64 * bits, {}};
}

void put_screen_row(uint32_t bits, const float* row, const float* importance, uint32_t cols, bool unit, uint32_t r, uint8_t* group) {
  const uint32_t blocks = cols / kQuantBlock;
  std::vector<float> d(blocks);
  double error = 0;
  for (uint32_t b = 0; b < blocks; b++) {
    uint8_t q[kQuantBlock];
    const float* w = row + b * kQuantBlock;
    const float* weight = importance ? importance + b * kQuantBlock : nullptr;
    d[b] = fit(bits, w, weight, q);
    uint8_t* quants = group + scale_bytes(blocks) + (size_t)b * 64 * bits;
    for (uint32_t c = 0; c < kQuantBlock; c++) {
      const uint32_t v = c / 4, at = 4 * r + c % 4;
      if (bits == 1) quants[at] |= (uint8_t)(q[c] << v);
      else if (bits == 2) quants[64 * (v / 4) + at] |= (uint8_t)(q[c] << (2 * (v % 4)));
      else quants[64 * (v % 4) + at] |= (uint8_t)(q[c] << (v < 4 ? 0 : 4));
      const double off = (w[c] - d[b] * ((float)q[c] - centre(bits)) * step(bits)) * (weight ? weight[c] : 1);
      error += off * off;
    }
  }
  const float scale = unit && error > 0 ? (float)(1 / std::sqrt(error)) : 1;
  for (uint32_t b = 0; b < blocks; b++) {
    const uint16_t h = f32_to_f16(d[b] * scale);
    std::memcpy(group + ((size_t)b * kLanes + r) * 2, &h, 2);
  }
}

void unpack_screen_row(const Screen& s, uint32_t r, const uint8_t* group, float* out) {
  const uint32_t blocks = s.cols / kQuantBlock;
  for (uint32_t c = 0; c < s.cols; c++) {
    const uint32_t b = c / kQuantBlock, v = c % kQuantBlock / 4, at = 4 * r + c % 4;
    const uint8_t* quants = group + scale_bytes(blocks) + (size_t)b * 64 * s.bits;
    uint16_t h;
    std::memcpy(&h, group + ((size_t)b * kLanes + r) * 2, 2);
    const uint32_t q = s.bits == 1 ? quants[at] >> v & 1 : s.bits == 2 ? quants[64 * (v / 4) + at] >> (2 * (v % 4)) & 3 : quants[64 * (v % 4) + at] >> (v < 4 ? 0 : 4) & 15;
    out[c] = f16_to_f32(h) * ((float)q - centre(s.bits)) * step(s.bits);
  }
}

}  // namespace hunch
