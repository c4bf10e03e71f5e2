// What one attention call costs when K and V lie in the cache: nanoseconds per call for a chunk of positions, by queries per KV head.
// Usage: lab_attention [head width]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "kernels.h"

using namespace hunch;

int main(int argc, char** argv) {
  const uint32_t hw = argc > 1 ? std::atoi(argv[1]) : 64;
  const Kernels& k = *kernels_for(supported_isas().front());
  std::vector<uint16_t> keys(64 * hw, 0x3000), values(64 * hw, 0x3000);
  std::vector<float> q(hw, 0.1f), acc(8 * hw);
  for (uint32_t queries : {1u, 2u, 3u, 4u, 8u})
    for (uint32_t end : {16u, 64u}) {
      AttendArgs a{};
      a.k = keys.data(), a.v = values.data(), a.head_width = hw, a.v_stride = hw, a.begin = 0, a.end = end, a.queries = queries, a.acc = acc.data();
      for (uint32_t j = 0; j < queries; j++) a.q[j] = q.data(), a.limit[j] = end, a.from[j] = 0;
      double best = 1e9;
      for (int r = 0; r < 50; r++) {
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < 1000; i++) k.attend(a);
        best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count() / 1000);
      }
      std::printf("head width %u, %u queries, %2u positions: %6.0f ns, %.1f multiply-adds a ns\n", hw, queries, end, best, 2.0 * queries * end * hw / best);
    }
  return 0;
}
