#include "packing.h"

#include <cstring>

#include "weights.h"

using namespace hunch;

TEST_CASE("packing: unpack_row gives back what the file's row means, for every type") {
  Random random(2);
  for (TensorType type : kAllTypes) {
    CAPTURE(std::string(tensor_type_name(type)));
    const uint32_t unit = oracle::block_columns(type);
    CHECK(block_columns(type) == unit);
    CHECK(tensor_type_from_name(tensor_type_name(type)) == type);
    for (uint32_t units : {1u, 2u, 3u, 5u, 18u}) {
      const uint32_t cols = unit * units;
      REQUIRE(row_bytes(type, cols) == oracle::row_bytes(type, cols));
      for (uint32_t rows = 1; rows <= 33; rows += cols > 256 ? 4 : 1) {
        const size_t stride = oracle::row_bytes(type, cols);
        // Its own allocation to the byte, so that a sanitizer sees a read past the last row.
        const std::vector<uint8_t> raw = random_weights(type, rows, cols, 1, random);
        PackedMatrix m = packed_shape(type, rows, cols);
        CHECK(m.group_bytes % 64 == 0);
        std::vector<uint8_t> packed(m.bytes(), 0xCD);
        // Two lanes' slices, the second before the first in memory.
        const uint32_t cut = m.groups / 2;
        m.slices = {{0, cut, packed.data() + (m.groups - cut) * m.group_bytes, m.group_bytes}, {cut, m.groups, packed.data(), m.group_bytes}};
        for (uint32_t g = 0; g < m.groups; g++)
          pack_group(type, raw.data() + g * kLanes * stride, std::min(kLanes, rows - g * kLanes), cols, m.slices[g >= cut].group(g));
        uint32_t wrong = 0;
        for (uint32_t r = 0; r < rows; r++) {
          Guarded out(cols);
          unpack_row(m, r, out.data());
          const oracle::Row truth = oracle::dequantise(type, raw.data() + r * stride, cols);
          // d, q and m are exact; at most two products and their difference round.
          for (uint32_t c = 0; c < cols; c++) wrong += !(std::fabs(out[c] - truth.value[c]) <= 2e-7 * truth.size[c]);
          wrong += !out.guards_hold();
        }
        for (uint32_t r = rows; r < m.groups * kLanes; r++) {  // padding rows are nothing
          std::vector<float> out(cols, kNan);
          unpack_row(m, r, out.data());
          for (float v : out) wrong += v != 0;
        }
        CAPTURE(rows);
        CAPTURE(cols);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("packing: names of types that the engine does not know are refused") {
  for (const char* name : {"", "F33", "f32", "Q2_K", "Q4_2", "I32"}) CHECK_FALSE(tensor_type_from_name(name).has_value());
}

TEST_CASE("packing: Q8_0 rounds to the nearest of its levels") {
  Random random(77);
  for (float size : {1.0f, 1e-3f, 300.0f, 0.0f}) {
    std::vector<float> row(96);
    for (float& v : row) v = size * (float)random.normal();
    std::vector<uint8_t> raw(row_bytes(TensorType::Q8_0, 96));
    quantise_q8_0(row.data(), 96, raw.data());
    const oracle::Row back = oracle::dequantise(TensorType::Q8_0, raw.data(), 96);
    for (uint32_t b = 0; b < 3; b++) {
      float peak = 0;
      for (uint32_t i = 0; i < 32; i++) peak = std::max(peak, std::fabs(row[32 * b + i]));
      // Half a level, and what the f16 scale rounds (near zero: 2^-25) at up to 127 levels.
      for (uint32_t i = 0; i < 32; i++) CHECK(std::fabs(back.value[32 * b + i] - row[32 * b + i]) <= peak * (0.5 / 127 + 5e-4) + 127 * 0x1p-25);
    }
  }
}
