// Rows: packing, dot products with chosen rows and sums of chosen rows, against double precision on the same quantised inputs.
#include "rows.h"
#include "weights.h"

using namespace hunch;

namespace {

constexpr double kBound = 5e-7;  // relative to sum |w x|; see matmul_test.cpp

std::vector<uint32_t> widths(TensorType type) {
  switch (oracle::block_columns(type)) {
    case 1: return {1, 5, 32, 33, 64, 96, 576};
    case 32: return {32, 64, 96, 160, 512, 576, 640, 896, 992};
    default: return {256, 512, 768};
  }
}

struct Rows {
  RowType type;
  size_t stride;
  std::vector<uint8_t> bytes;
  std::vector<oracle::Row> truth;
  Rows(TensorType from, uint32_t rows, uint32_t cols, Random& random) : type(row_type(from)), stride(row_size(type, cols) + 64) {
    const std::vector<uint8_t> raw = random_weights(from, rows, cols, 1, random);
    bytes.assign(rows * stride + 16384, 0xA5);  // what lies between rows must not matter
    for (uint32_t r = 0; r < rows; r++) {
      const uint8_t* row = raw.data() + r * oracle::row_bytes(from, cols);
      pack_row(from, row, cols, bytes.data() + r * stride);
      truth.push_back(oracle::dequantise(from, row, cols));
    }
  }
  // As packed: packing has a test of its own.
  std::vector<std::vector<float>> unpacked(uint32_t rows, uint32_t cols) const {
    std::vector<std::vector<float>> all(rows, std::vector<float>(cols));
    for (uint32_t r = 0; r < rows; r++) unpack_row(type, bytes.data() + r * stride, cols, all[r].data());
    return all;
  }
};

// Q6_K is requantised, K-quants' scales are rounded to f16; the rest is kept as it is.
double packing_bound(TensorType type) {
  if (type == TensorType::Q6_K) return 1.0 / 127;
  return type == TensorType::Q4_K || type == TensorType::Q5_K ? 0x1p-10 : 0;
}

std::vector<uint32_t> some_of(uint32_t n, double density, Random& random) {
  std::vector<uint32_t> list;
  for (uint32_t i = 0; i < n; i++)
    if (random.uniform() < density) list.push_back(i);
  return list;
}

}  // namespace

TEST_CASE("rows: packing keeps every type's values") {
  Random random(41);
  for (TensorType type : kAllTypes)
    for (uint32_t cols : widths(type)) {
      const Rows rows(type, 3, cols, random);
      std::vector<float> out(cols);
      double worst = 0;
      for (uint32_t r = 0; r < 3; r++) {
        unpack_row(rows.type, rows.bytes.data() + r * rows.stride, cols, out.data());
        double peak = 0;
        for (uint32_t c = 0; c < cols; c++) peak = std::max(peak, rows.truth[r].size[c]);
        for (uint32_t c = 0; c < cols; c++) worst = std::max(worst, std::fabs(out[c] - rows.truth[r].value[c]) / (packing_bound(type) > 0 ? peak : rows.truth[r].size[c] + 1e-30));
      }
      CAPTURE(tensor_type_name(type));
      CAPTURE(cols);
      CHECK(worst <= packing_bound(type) + 1e-7);
    }
}

TEST_CASE("rows: dot products with chosen rows") {
  Random random(42);
  for (Isa isa : supported_isas())
    for (TensorType type : kAllTypes)
      for (uint32_t cols : widths(type)) {
        constexpr uint32_t kRows = 37;
        const Kernels& k = *kernels_for(isa);
        const Rows rows(type, kRows, cols, random);
        const QuantisedActivations x(k, random.normals(2 * cols), 2, cols);
        RowInputBuffer arranged;
        arranged.resize(2, cols);
        const std::vector<std::vector<float>> weights = rows.unpacked(kRows, cols);
        for (uint32_t t = 0; t < 2; t++) {
          if (cols % kQuantBlock == 0) k.arrange(x.view(t, cols), cols, arranged.buffer(t, cols));
          for (double density : {0.0, 0.1, 0.5, 1.0, 2.0}) {
            const bool stream = density > 1;
            const std::vector<uint32_t> list = some_of(kRows, density, random);
            Guarded out(kRows);
            k.dot_rows[(int)rows.type]({rows.bytes.data(), rows.stride, stream ? nullptr : list.data(), (uint32_t)list.size(), cols,
                                        arranged.view(t, cols, x.f.data() + t * cols), out.data()});
            double worst = 0;
            for (size_t i = 0; i < list.size(); i++) {
              double sum = 0, size = 1e-30;
              for (uint32_t c = 0; c < cols; c++) {
                const double xv = rows.type < RowType::f16 ? (double)x.q[t * cols + c] * x.d[(t * cols + c) / kQuantBlock] : x.f[t * cols + c];
                sum += weights[list[i]][c] * xv;
                size += (std::fabs(rows.truth[list[i]].size[c]) + std::fabs(weights[list[i]][c])) * std::fabs(xv);
              }
              worst = std::max(worst, std::fabs(out[i] - sum) / size);
            }
            CAPTURE(tensor_type_name(type));
            CAPTURE(isa_name(isa));
            CAPTURE(cols);
            CHECK(worst < kBound);
            CHECK(out.guards_hold());
            for (size_t i = list.size(); i < kRows; i++) CHECK(out.untouched(i));
          }
        }
      }
}

TEST_CASE("rows: sums of chosen rows, whose zeros change nothing") {
  Random random(43);
  for (Isa isa : supported_isas())
    for (TensorType type : kAllTypes)
      for (uint32_t cols : widths(type))
        for (double density : {0.0, 0.1, 0.5, 1.0}) {
          constexpr uint32_t kRows = 41;
          const Kernels& k = *kernels_for(isa);
          const Rows rows(type, kRows, cols, random);
          const std::vector<uint32_t> list = some_of(kRows, density, random), places = row_columns(rows.type, cols);
          const std::vector<std::vector<float>> weights = rows.unpacked(kRows, cols);
          std::vector<float> by = random.normals(kRows), chosen, masked(kRows, 0.0f);
          for (uint32_t i : list) chosen.push_back(by[i]), masked[i] = by[i];
          REQUIRE(places.size() == row_places(rows.type, cols));
          Guarded sparse(std::vector<float>(places.size(), 0.0f)), dense(std::vector<float>(places.size(), 0.0f));
          k.add_rows[(int)rows.type]({rows.bytes.data(), rows.stride, list.data(), chosen.data(), (uint32_t)list.size(), cols, sparse.data()});
          k.add_rows[(int)rows.type]({rows.bytes.data(), rows.stride, nullptr, masked.data(), kRows, cols, dense.data()});
          CAPTURE(tensor_type_name(type));
          CAPTURE(isa_name(isa));
          CAPTURE(cols);
          CHECK(sparse.guards_hold());
          CHECK(same_bits(sparse.values(), dense.values()));
          double worst = 0;
          uint32_t found = 0;
          for (size_t p = 0; p < places.size(); p++) {
            if (places[p] == cols) continue;
            found++;
            double sum = 0, size = 1e-30;
            for (uint32_t i : list) {
              const double w = weights[i][places[p]];
              sum += (double)by[i] * w;
              size += std::fabs((double)by[i]) * (std::fabs(w) + rows.truth[i].size[places[p]]);
            }
            worst = std::max(worst, std::fabs(sparse[p] - sum) / size);
          }
          CHECK(found == cols);
          CHECK(worst < kBound);
        }
}

TEST_CASE("rows: selecting what lies above a threshold") {
  Random random(44);
  for (Isa isa : supported_isas())
    for (uint32_t n : {0u, 1u, 15u, 16u, 17u, 100u})
      for (bool absolute : {false, true}) {
        const std::vector<float> x = random.normals(n);
        std::vector<uint32_t> list(n + 1, 77), expected;
        for (uint32_t i = 0; i < n; i++)
          if ((absolute ? std::fabs(x[i]) : x[i]) > 0.3f) expected.push_back(1000 + i);
        const uint32_t count = kernels_for(isa)->select(x.data(), n, 0.3f, absolute, 1000, list.data());
        CHECK(list[n] == 77);
        list.resize(count);
        CHECK(list == expected);
      }
}
