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
