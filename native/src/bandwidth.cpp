// The ceiling that decode is held against: how fast this machine reads memory, the way the kernels read it.
#include <algorithm>
#include <chrono>
#include <cstring>

#include "arena.h"
#include "kernels.h"
#include "pool.h"

namespace hunch {

double read_bandwidth(unsigned threads, uint64_t bytes) try {
  const Kernels* k = kernels_for(supported_isas().front());
  Arena arena;
  if (bytes < (1u << 16) || !arena.reserve(bytes)) return 0;
  Pool pool(threads ? threads : physical_cores());
  const auto slice = [&](unsigned lane) {
    const uint64_t lines = bytes / 4096;
    return std::pair(lines * lane / pool.size() * 4096, lines * (lane + 1) / pool.size() * 4096);
  };
  std::atomic<uint64_t> sink{0};
  pool.run([&](unsigned lane) {
    const auto [begin, end] = slice(lane);
    std::memset(arena.data() + begin, 1, end - begin);
  });
  std::vector<double> seconds;
  for (int pass = 0; pass < 9; pass++) {
    const auto begin = std::chrono::steady_clock::now();
    pool.run([&](unsigned lane) {
      const auto [from, to] = slice(lane);
      sink += k->read_all(arena.data() + from, to - from);
    });
    if (pass >= 2) seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return (double)bytes / seconds[seconds.size() / 2] / 1e9;
} catch (const std::exception&) {
  return 0;
}

}  // namespace hunch
