#include "weights.h"

#include <cstring>

namespace hunch {

static void put_half(uint8_t* p, double x) {
  const uint16_t h = oracle::to_half(x);
  p[0] = (uint8_t)h, p[1] = (uint8_t)(h >> 8);
}

std::vector<uint8_t> random_weights(TensorType type, uint32_t rows, uint32_t cols, double deviation, Random& random) {
  std::vector<uint8_t> raw((size_t)rows * oracle::row_bytes(type, cols));
  const size_t step = oracle::row_bytes(type, oracle::block_columns(type));
  for (uint8_t& b : raw) b = (uint8_t)random.next();
  for (uint8_t* p = raw.data(); p < raw.data() + raw.size(); p += step) {
    // A scale of either sign; the divisor is the spread of the quants, the minimum centres them.
    const double s = deviation * (0.5 + random.uniform()) * (random.below(2) ? 1 : -1);
    switch (type) {
      case TensorType::F32: {
        const float f = (float)(random.normal() * deviation);
        std::memcpy(p, &f, 4);
        break;
      }
      case TensorType::F16: put_half(p, random.normal() * deviation); break;
      case TensorType::BF16: {
        const float f = (float)(random.normal() * deviation);
        std::memcpy(p, reinterpret_cast<const uint8_t*>(&f) + 2, 2);  // little-endian: the upper half
        break;
      }
      case TensorType::Q8_0: put_half(p, s / 74); break;
      case TensorType::Q4_0: put_half(p, s / 4.6); break;
      case TensorType::Q4_1: put_half(p, s / 4.6), put_half(p + 2, -7.5 * s / 4.6); break;
      case TensorType::Q5_0: put_half(p, s / 9.2); break;
      case TensorType::Q5_1: put_half(p, s / 9.2), put_half(p + 2, -15.5 * s / 9.2); break;
      case TensorType::Q4_K: put_half(p, s / 260), put_half(p + 2, 7.5 * s / 260); break;
      case TensorType::Q5_K: put_half(p, s / 520), put_half(p + 2, 15.5 * s / 520); break;
      case TensorType::Q6_K: put_half(p + 208, s / 1369); break;
      case TensorType::IQ4_NL: put_half(p, s / 70); break;
    }
  }
  return raw;
}

}  // namespace hunch
