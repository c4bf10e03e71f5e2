// attend and attend_fold against softmax attention in double precision, with everything outside the window poisoned.
#include <algorithm>

#include "oracle.h"
#include "support.h"

using namespace hunch;

namespace {

// One head's cache, laid out as attend() reads it: positions in [0, positions) hold numbers, all other cells NaN.
struct Cache {
  std::vector<std::vector<double>> keys, values;  // [positions][width], exact f16 numbers
  std::vector<uint16_t> k, v;
  uint32_t stride;
  Cache(uint32_t positions, uint32_t width, double spread, Random& random) : stride((width + 15) / 16 * 16) {
    const uint32_t rows = (positions + 15) / 16 * 16;
    k.assign((size_t)rows * width, 0x7E01);
    v.assign((size_t)rows * stride, 0x7E01);
    for (uint32_t p = 0; p < positions; p++) {
      std::vector<double> key, value;
      for (uint32_t d = 0; d < width; d++) {
        const uint16_t hk = oracle::to_half(random.normal() * spread), hv = oracle::to_half(random.normal());
        k[((size_t)(p / 16) * width + d) * 16 + p % 16] = hk;
        v[(size_t)p * stride + d] = hv;
        key.push_back(oracle::from_half(hk)), value.push_back(oracle::from_half(hv));
      }
      for (uint32_t d = width; d < stride; d++) v[(size_t)p * stride + d] = 0;
      keys.push_back(key), values.push_back(value);
    }
  }
};

struct Partial {
  float max, sum;
  std::vector<float> acc;
};

// Queries [0, n) over [begin, end) with their limits.
std::vector<Partial> attend(const Kernels& k, const Cache& cache, uint32_t width, const std::vector<std::vector<float>>& queries, const std::vector<uint32_t>& limits,
                            uint32_t begin, uint32_t end, const std::vector<uint32_t>& from = {}) {
  AttendArgs a{};
  Guarded acc(queries.size() * cache.stride);
  a.k = cache.k.data(), a.v = cache.v.data();
  a.head_width = width, a.v_stride = cache.stride;
  a.begin = begin, a.end = end;
  a.queries = (uint32_t)queries.size();
  for (size_t j = 0; j < queries.size(); j++) a.q[j] = queries[j].data(), a.limit[j] = limits[j], a.from[j] = from.empty() ? 0 : from[j], a.max[j] = a.sum[j] = kNan;
  a.acc = acc.data();
  k.attend(a);
  CHECK(acc.guards_hold());
  std::vector<Partial> out;
  for (size_t j = 0; j < queries.size(); j++) {
    const std::vector<float> all = acc.values();
    out.push_back({a.max[j], a.sum[j], {all.begin() + j * cache.stride, all.begin() + (j + 1) * cache.stride}});
  }
  return out;
}

// |error| of acc / sum, relative to the values' size of about 1.
double error_of(const Partial& p, const std::vector<double>& truth) {
  double worst = 0;
  for (size_t d = 0; d < truth.size(); d++) {
    const double e = std::fabs(p.acc[d] / p.sum - truth[d]);
    worst = std::isnan(e) ? 1e9 : std::max(worst, e);
  }
  return worst;
}

std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

}  // namespace

TEST_CASE("attend: one chunk of any length, any number of queries, each with its own window") {
  Random random(20);
  for (uint32_t width : {2u, 5u, 16u, 34u, 64u, 80u, 128u})
    for (uint32_t end : {1u, 2u, 15u, 16u, 17u, 40u, 63u, 64u}) {
      const Cache cache(end, width, 1, random);
      for (uint32_t n = 1; n <= kMaxQueries; n++) {
        std::vector<std::vector<float>> queries;
        std::vector<uint32_t> limits, from;
        for (uint32_t j = 0; j < n; j++) {
          queries.push_back(random.normals(width, 2 / std::sqrt((double)width)));
          limits.push_back(j == 0 ? end : 1 + random.below(end));
          from.push_back(j % 2 ? 0 : random.below(limits[j]));
        }
        for (Isa isa : supported_isas()) {
          CAPTURE(std::string(isa_name(isa)));
          CAPTURE(width);
          CAPTURE(end);
          CAPTURE(n);
          const Kernels& k = *kernels_for(isa);
          const std::vector<Partial> out = attend(k, cache, width, queries, limits, 0, end, from);
          double worst = 0, worst_max = 0;
          bool alone_agrees = true;
          for (uint32_t j = 0; j < n; j++) {
            worst = std::max(worst, error_of(out[j], oracle::attend(doubles(queries[j]), cache.keys, cache.values, limits[j], from[j])));
            double max = -1e300;
            for (uint32_t p = from[j]; p < limits[j]; p++) {
              double s = 0;
              for (uint32_t d = 0; d < width; d++) s += queries[j][d] * cache.keys[p][d];
              max = std::max(max, s);
            }
            worst_max = std::max(worst_max, std::fabs(out[j].max - max));
            const Partial alone = attend(k, cache, width, {queries[j]}, {limits[j]}, 0, end, {from[j]})[0];
            alone_agrees = alone_agrees && alone.max == out[j].max && alone.sum == out[j].sum && same_bits(alone.acc, out[j].acc);
          }
          CHECK(worst < 3e-6);      // scores of size 10 carry an error of 1e-6, which exp passes on
          CHECK(worst_max < 3e-6);
          CHECK(alone_agrees);  // a query's bits do not depend on its neighbours
        }
      }
    }
}

TEST_CASE("attend: a query's result does not depend on how far the chunk goes past its limit") {
  Random random(21);
  const uint32_t width = 16;
  const Cache cache(64, width, 1, random);
  for (Isa isa : supported_isas()) {
    const Kernels& k = *kernels_for(isa);
    for (uint32_t limit = 1; limit <= 64; limit++) {
      const std::vector<std::vector<float>> query = {random.normals(width)};
      const Partial exact = attend(k, cache, width, query, {limit}, 0, limit)[0], wide = attend(k, cache, width, query, {limit}, 0, 64)[0];
      CHECK(exact.max == wide.max);
      CHECK(exact.sum == wide.sum);
      CHECK(exact.acc == wide.acc);
    }
  }
}

TEST_CASE("attend: scores in the thousands neither overflow nor lose the winner") {
  Random random(22);
  const uint32_t width = 64;
  Cache cache(50, width, 30, random);
  const std::vector<std::vector<float>> queries = {random.normals(width, 10), random.normals(width, 10)};
  for (Isa isa : supported_isas()) {
    const std::vector<Partial> out = attend(*kernels_for(isa), cache, width, queries, {50, 31}, 0, 50);
    CHECK(error_of(out[0], oracle::attend(doubles(queries[0]), cache.keys, cache.values, 50)) < 1e-2);  // scores of 1e4 carry 1e-3
    CHECK(error_of(out[1], oracle::attend(doubles(queries[1]), cache.keys, cache.values, 31)) < 1e-2);
  }
}

TEST_CASE("attend_fold: chunks fold into softmax over all positions, in any ordering of their maxima") {
  Random random(23);
  for (uint32_t width : {5u, 16u, 80u, 128u})
    for (uint32_t positions : {65u, 128u, 300u, 517u}) {
      const Cache cache(positions, width, 1, random);
      for (Isa isa : supported_isas()) {
        const Kernels& k = *kernels_for(isa);
        for (double spread : {1.0, 6.0}) {
          const std::vector<std::vector<float>> query = {random.normals(width, spread / std::sqrt((double)width))};
          Partial running{};
          for (uint32_t begin = 0; begin < positions; begin += kAttentionChunk) {
            const uint32_t end = std::min(begin + kAttentionChunk, positions);
            Partial p = attend(k, cache, width, query, {end}, begin, end)[0];
            if (begin == 0) running = p;
            else k.attend_fold(&running.max, &running.sum, running.acc.data(), p.max, p.sum, p.acc.data(), cache.stride);
          }
          CAPTURE(std::string(isa_name(isa)));
          CAPTURE(width);
          CAPTURE(positions);
          CHECK(error_of(running, oracle::attend(doubles(query[0]), cache.keys, cache.values, positions)) < 1e-5);
        }
      }
    }
}
