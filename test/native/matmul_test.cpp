// matmul of every kernel set and weight type against double precision on the same quantised inputs.
#include <cstring>

#include "packing.h"
#include "weights.h"

using namespace hunch;

namespace {

constexpr uint32_t kTokens = 17;

// Error allowed relative to sum |w x|. Integer sums are exact, so a quantised row rounds a few times per block; a float row adds cols / 4
// products to each of four sums. Errors of random sign keep far below this; a wrong lane, scale or nibble is far above.
constexpr double kBound = 5e-7;

struct Packed {
  PackedMatrix m;
  std::vector<uint8_t> bytes;
  Packed(TensorType type, const std::vector<uint8_t>& raw, uint32_t rows, uint32_t cols)
      : m(packed_shape(type, rows, cols)), bytes(m.bytes()) {
    m.slices = {{0, m.groups, bytes.data(), m.group_bytes}};
    const size_t stride = oracle::row_bytes(type, cols);
    for (uint32_t g = 0; g < m.groups; g++)
      pack_group(type, raw.data() + g * kLanes * stride, std::min(kLanes, rows - g * kLanes), cols, m.slices[0].group(g));
  }
};

// Multiplies tokens [first, first + n) into NaN-poisoned rows of out_stride > rows and checks that the cells between rows stay as they were.
std::vector<float> multiply(const Kernels& k, const PackedMatrix& m, const QuantisedActivations& x, uint32_t first, uint32_t n, const std::vector<float>* add) {
  const size_t stride = m.rows + 5;
  Guarded out(n * stride);
  if (add)
    for (uint32_t t = 0; t < n; t++)
      for (uint32_t r = 0; r < m.rows; r++) out.data()[t * stride + r] = (*add)[(first + t) * m.rows + r];
  k.matmul[(int)m.type]({m.group(0), m.group_bytes, m.groups, m.rows, m.cols, x.view(first, m.cols), n, out.data(), stride, add != nullptr});
  std::vector<float> result;
  bool clean = out.guards_hold();
  for (uint32_t t = 0; t < n; t++) {
    for (uint32_t r = 0; r < m.rows; r++) result.push_back(out[t * stride + r]);
    for (size_t r = m.rows; r < stride; r++) clean = clean && out.untouched(t * stride + r);
  }
  CHECK(clean);
  return result;
}

std::vector<uint32_t> widths(TensorType type) {
  switch (oracle::block_columns(type)) {
    case 1: return {1, 5, 32, 33, 64, 96, 576};
    case 32: return {32, 64, 96, 576};
    default: return {256, 512, 768};
  }
}

void check_against_oracle(TensorType type, uint32_t rows, uint32_t cols, Random& random) {
  const std::vector<uint8_t> raw = random_weights(type, rows, cols, 1, random);
  const Packed packed(type, raw, rows, cols);
  std::vector<float> x = random.normals(kTokens * cols);
  for (uint32_t c = 0; c < std::min(cols, 32u); c++) x[3 * cols + c] = 0;  // token 3 begins with a block of zeros
  const std::vector<float> residual = random.normals(kTokens * rows);

  std::vector<std::vector<float>> by_isa;
  for (Isa isa : supported_isas()) {
    CAPTURE(std::string(isa_name(isa)));
    const Kernels& k = *kernels_for(isa);
    const QuantisedActivations a(k, x, kTokens, cols);
    const std::vector<float> all = multiply(k, packed.m, a, 0, kTokens, nullptr);

    double worst = 0;
    for (uint32_t r = 0; r < rows; r++) {
      const oracle::Row w = oracle::dequantise(type, raw.data() + r * oracle::row_bytes(type, cols), cols);
      for (uint32_t t = 0; t < kTokens; t++) {
        double sum = 0, size = 0;
        for (uint32_t c = 0; c < cols; c++) {
          const size_t at = (size_t)t * cols + c;
          const double v = oracle::block_columns(type) == 1 ? (double)a.f[at] : (double)a.d[at / kQuantBlock] * a.q[at];
          sum += w.value[c] * v;
          size += w.size[c] * std::fabs(v);
        }
        const double error = std::fabs(all[t * rows + r] - sum);
        worst = std::max(worst, error == 0 ? 0 : error / size);
        if (std::isnan(error)) worst = kInfinity;
      }
    }
    CHECK(worst < kBound);

    // The same bits in a batch of any size, and added to a residual.
    for (uint32_t n : {1u, 2u, 3u, 4u, 5u, 8u, 9u}) {
      const uint32_t first = kTokens - n;
      const std::vector<float> expected(all.begin() + first * rows, all.end());
      CAPTURE(n);
      CHECK(same_bits(multiply(k, packed.m, a, first, n, nullptr), expected));
    }
    std::vector<float> sums = all;
    for (size_t i = 0; i < sums.size(); i++) sums[i] = residual[i] + all[i];
    CHECK(same_bits(multiply(k, packed.m, a, 0, kTokens, &residual), sums));
    by_isa.push_back(all);
  }
  // Sets with a fused multiply-add agree to the bit; plain C++ rounds twice.
  const std::vector<Isa> isas = supported_isas();
  for (size_t i = 1; i < isas.size(); i++)
    if (isas[i] != Isa::scalar) CHECK(same_bits(by_isa[i], by_isa[0]));
}

}  // namespace

TEST_CASE("matmul: every type, shape and kernel set agrees with the oracle") {
  Random random(3);
  for (TensorType type : kAllTypes) {
    SUBCASE(tensor_type_name(type)) {
      for (uint32_t rows : {1u, 7u, 16u, 17u, 33u, 48u})
        for (uint32_t cols : widths(type)) {
          CAPTURE(rows);
          CAPTURE(cols);
          check_against_oracle(type, rows, cols, random);
        }
    }
  }
}

TEST_CASE("matmul: the extremes of quants and activations do not overflow") {
  // All quants at one end against activations of +-127: the largest sums that the integer dot products meet.
  for (TensorType type : kAllTypes) {
    const uint32_t cols = oracle::block_columns(type) == 256 ? 256 : 64, rows = 16;
    for (int fill : {0x00, 0x80, 0x7F, 0xFF}) {
      Random random(4);
      std::vector<uint8_t> raw = random_weights(type, rows, cols, 1, random);
      const size_t step = oracle::row_bytes(type, oracle::block_columns(type));
      if (oracle::block_columns(type) > 1)
        for (size_t b = 0; b < raw.size(); b += step) {
          const size_t head = type == TensorType::Q6_K ? 0 : type == TensorType::Q4_K || type == TensorType::Q5_K ? 4 : type == TensorType::Q4_1 || type == TensorType::Q5_1 ? 4 : 2;
          std::memset(raw.data() + b + head, fill, step - head - (type == TensorType::Q6_K ? 2 : 0));
        }
      const Packed packed(type, raw, rows, cols);
      std::vector<float> x(2 * cols);
      for (uint32_t c = 0; c < cols; c++) x[c] = 127, x[cols + c] = c % 2 ? -127 : 127;
      for (Isa isa : supported_isas()) {
        const Kernels& k = *kernels_for(isa);
        const QuantisedActivations a(k, x, 2, cols);
        const std::vector<float> out = multiply(k, packed.m, a, 0, 2, nullptr);
        double worst = 0;
        for (uint32_t t = 0; t < 2; t++)
          for (uint32_t r = 0; r < rows; r++) {
            const oracle::Row w = oracle::dequantise(type, raw.data() + r * oracle::row_bytes(type, cols), cols);
            double sum = 0, size = 1e-300;
            for (uint32_t c = 0; c < cols; c++) sum += w.value[c] * x[t * cols + c], size += w.size[c] * 127;
            worst = std::max(worst, std::fabs(out[t * rows + r] - sum) / size);
          }
        CAPTURE(std::string(tensor_type_name(type)));
        CAPTURE(std::string(isa_name(isa)));
        CAPTURE(fill);
        CHECK(worst < kBound);
      }
    }
  }
}

TEST_CASE("matmul: hostile scales and activations stay in their own row and token") {
  Random random(5);
  for (TensorType type : kAllTypes) {
    const uint32_t cols = oracle::block_columns(type) == 256 ? 256 : 64, rows = 20;
    for (uint16_t hostile : {0x7C00, 0xFC00, 0x7E00}) {
      std::vector<uint8_t> raw = random_weights(type, rows, cols, 1, random);
      uint8_t* row = raw.data() + 3 * oracle::row_bytes(type, cols);
      if (type == TensorType::Q6_K) row += 208;
      if (type == TensorType::F32) {
        const float f = (float)oracle::from_half(hostile);
        std::memcpy(row, &f, 4);
      } else if (type == TensorType::BF16) {
        const uint16_t h = (uint16_t)(hostile == 0x7E00 ? 0x7FC0 : hostile == 0x7C00 ? 0x7F80 : 0xFF80);
        std::memcpy(row, &h, 2);
      } else std::memcpy(row, &hostile, 2);
      const Packed packed(type, raw, rows, cols);
      std::vector<float> x = random.normals(3 * cols);
      for (Isa isa : supported_isas()) {
        const Kernels& k = *kernels_for(isa);
        std::vector<float> sick = x;
        sick[cols + 1] = kNan, sick[cols + 40] = kInfinity;  // token 1 of 3
        const QuantisedActivations healthy(k, x, 3, cols), mixed(k, sick, 3, cols);
        const std::vector<float> all = multiply(k, packed.m, healthy, 0, 3, nullptr), some = multiply(k, packed.m, mixed, 0, 3, nullptr);
        CAPTURE(std::string(tensor_type_name(type)));
        CAPTURE(std::string(isa_name(isa)));
        bool contained = true;
        for (uint32_t r = 0; r < rows; r++)
          for (uint32_t t = 0; t < 3; t++) {
            if (r != 3) contained = contained && std::isfinite(all[t * rows + r]);
            if (r != 3 && t != 1) contained = contained && all[t * rows + r] == some[t * rows + r];
          }
        CHECK(contained);
        CHECK_FALSE(std::isfinite(all[3]));
      }
    }
  }
}
