#include "oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace oracle {

double from_half(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  double x;
  if (exponent == 31) x = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else x = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
  return h & 0x8000 ? -x : x;
}

uint16_t to_half(double x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  if (std::isnan(x)) return sign | 0x7E00;
  x = std::fabs(x);
  if (x >= 65520) return sign | 0x7C00;  // half way between the largest half and the next step
  const int e = x < 0x1p-14 ? -14 : std::ilogb(x);
  const double steps = std::nearbyint(std::ldexp(x, 10 - e));  // exact, then ties to even
  return (uint16_t)(sign | (uint16_t)((e + 14) * 1024 + (int)steps));
}

double from_bfloat(uint16_t h) {
  const int exponent = h >> 7 & 255, mantissa = h & 127;
  double x;
  if (exponent == 255) x = mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else x = exponent ? std::ldexp(128 + mantissa, exponent - 134) : std::ldexp(mantissa, -133);
  return h & 0x8000 ? -x : x;
}

struct Block {
  uint32_t columns, bytes;
};
static Block block(TensorType type) {
  switch (type) {
    case TensorType::F32: return {1, 4};
    case TensorType::F16: return {1, 2};
    case TensorType::BF16: return {1, 2};
    case TensorType::Q8_0: return {32, 2 + 32};
    case TensorType::Q4_0: return {32, 2 + 16};
    case TensorType::Q4_1: return {32, 4 + 16};
    case TensorType::Q5_0: return {32, 2 + 4 + 16};
    case TensorType::Q5_1: return {32, 4 + 4 + 16};
    case TensorType::Q4_K: return {256, 4 + 12 + 128};
    case TensorType::Q5_K: return {256, 4 + 12 + 32 + 128};
    case TensorType::Q6_K: return {256, 128 + 64 + 16 + 2};
    case TensorType::IQ4_NL: return {32, 2 + 16};
  }
  return {1, 1};
}
uint32_t block_columns(TensorType type) { return block(type).columns; }
size_t row_bytes(TensorType type, uint32_t cols) { return (size_t)cols / block(type).columns * block(type).bytes; }

static uint16_t u16(const uint8_t* p) { return (uint16_t)(p[0] | p[1] << 8); }

// Value i of a block is factor * quant + offset.
struct Term {
  double factor, quant, offset;
};

static Term small_block(TensorType type, const uint8_t* p, int i) {
  const double d = from_half(u16(p));
  const bool has_min = type == TensorType::Q4_1 || type == TensorType::Q5_1;
  const double m = has_min ? from_half(u16(p + 2)) : 0;
  p += has_min ? 4 : 2;
  if (type == TensorType::Q8_0) return {d, (double)(int8_t)p[i], 0};
  int high = 0;
  if (type == TensorType::Q5_0 || type == TensorType::Q5_1) {
    high = p[i / 8] >> (i % 8) & 1;
    p += 4;
  }
  const int q = (i < 16 ? p[i] & 15 : p[i - 16] >> 4) + 16 * high;
  static const int levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  switch (type) {
    case TensorType::Q4_0: return {d, q - 8.0, 0};
    case TensorType::Q5_0: return {d, q - 16.0, 0};
    case TensorType::IQ4_NL: return {d, (double)levels[q], 0};
    default: return {d, (double)q, m};
  }
}

static Term super_block(TensorType type, const uint8_t* p, int i) {
  if (type == TensorType::Q6_K) {
    const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const uint8_t low = p[64 * half + 32 * (quarter % 2) + l], high = p[128 + 32 * half + l];
    const int q = (quarter < 2 ? low & 15 : low >> 4) + 16 * (high >> (2 * quarter) & 3) - 32;
    return {from_half(u16(p + 208)) * (int8_t)p[192 + i / 16], (double)q, 0};
  }
  const int sub = i / 32, l = i % 32;
  const uint8_t* s = p + 4;  // 8 scales and 8 minima of 6 bits in 12 bytes
  const int scale = sub < 4 ? s[sub] & 63 : (s[sub + 4] & 15) + 16 * (s[sub - 4] >> 6);
  const int min = sub < 4 ? s[sub + 4] & 63 : (s[sub + 4] >> 4) + 16 * (s[sub] >> 6);
  const uint8_t* low = p + 16 + (type == TensorType::Q5_K ? 32 : 0) + 32 * (sub / 2);
  int q = sub % 2 ? low[l] >> 4 : low[l] & 15;
  if (type == TensorType::Q5_K) q += 16 * (p[16 + l] >> sub & 1);
  return {from_half(u16(p)) * scale, (double)q, -from_half(u16(p + 2)) * min};
}

Row dequantise(TensorType type, const uint8_t* raw, uint32_t cols) {
  Row row;
  const Block b = block(type);
  for (uint32_t c = 0; c < cols; c++) {
    const uint8_t* p = raw + (size_t)(c / b.columns) * b.bytes;
    Term t{1, 0, 0};
    if (type == TensorType::F32) {
      const uint32_t bits = (uint32_t)u16(p) | (uint32_t)u16(p + 2) << 16;
      float f;
      static_assert(sizeof f == sizeof bits);
      std::copy_n(reinterpret_cast<const char*>(&bits), 4, reinterpret_cast<char*>(&f));
      t.quant = f;
    } else if (type == TensorType::F16) t.quant = from_half(u16(p));
    else if (type == TensorType::BF16) t.quant = from_bfloat(u16(p));
    else t = b.columns == 256 ? super_block(type, p, (int)(c % 256)) : small_block(type, p, (int)(c % 32));
    row.value.push_back(t.factor * t.quant + t.offset);
    row.size.push_back(std::fabs(t.factor * t.quant) + std::fabs(t.offset));
  }
  return row;
}

std::vector<double> quantised_activations(const std::vector<double>& x) {
  std::vector<double> out(x.size());
  for (size_t b = 0; b + 32 <= x.size(); b += 32) {
    float peak = 0;
    for (size_t i = b; i < b + 32; i++) peak = std::max(peak, (float)std::fabs(x[i]));
    const float d = peak / 127.0f, inverse = peak > 0 ? 127.0f / peak : 0.0f;
    for (size_t i = b; i < b + 32; i++) out[i] = (double)d * std::nearbyint((float)x[i] * inverse);
  }
  return out;
}

std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<double>& w, double epsilon) {
  double sum = 0;
  for (double v : x) sum += v * v;
  const double scale = 1 / std::sqrt(sum / (double)x.size() + epsilon);
  std::vector<double> out(x.size());
  for (size_t i = 0; i < x.size(); i++) out[i] = x[i] * scale * w[i];
  return out;
}

std::vector<double> layer_norm(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& b, double epsilon) {
  double mean = 0, squares = 0;
  for (double v : x) mean += v / (double)x.size();
  for (double v : x) squares += (v - mean) * (v - mean) / (double)x.size();
  std::vector<double> out(x.size());
  for (size_t i = 0; i < x.size(); i++) out[i] = (x[i] - mean) / std::sqrt(squares + epsilon) * w[i] + b[i];
  return out;
}

void rope(hunch::RopeStyle style, double* x, uint32_t rope_width, double position, double base) {
  if (style == hunch::RopeStyle::none) return;
  const bool neighbours = style == hunch::RopeStyle::interleaved;
  for (uint32_t i = 0; i < rope_width / 2; i++) {
    const double angle = position * std::pow(base, -2.0 * i / rope_width);
    double &first = x[neighbours ? 2 * i : i], &second = x[neighbours ? 2 * i + 1 : i + rope_width / 2];
    const double a = first, b = second;
    first = a * std::cos(angle) - b * std::sin(angle);
    second = a * std::sin(angle) + b * std::cos(angle);
  }
}

double activation(Activation a, double x) {
  switch (a) {
    case Activation::silu: return x / (1 + std::exp(-x));
    case Activation::gelu: return 0.5 * x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Activation::relu:
    case Activation::drelu: return x > 0 ? x : 0;
  }
  return 0;
}

double log_sum_exp(const std::vector<double>& x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (double v : x) sum += std::exp(v - max);
  return max + std::log(sum);
}

std::vector<double> attend(const std::vector<double>& query, const std::vector<std::vector<double>>& keys,
                           const std::vector<std::vector<double>>& values, size_t positions, size_t from) {
  std::vector<double> scores(positions - from);
  for (size_t p = from; p < positions; p++)
    for (size_t d = 0; d < query.size(); d++) scores[p - from] += query[d] * keys[p][d];
  const double total = log_sum_exp(scores);
  std::vector<double> out(query.size());
  for (size_t p = from; p < positions; p++)
    for (size_t d = 0; d < out.size(); d++) out[d] += std::exp(scores[p - from] - total) * values[p][d];
  return out;
}

}  // namespace oracle
