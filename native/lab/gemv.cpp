// How fast does the decode kernel read weights? Times matmul with one token over a chain of matrices shaped like a small llama, with and
// without the barriers between them, beside a plain read of the same bytes. Usage: lab_gemv [threads] [megabytes] [type] [cols]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "arena.h"
#include "packing.h"
#include "pool.h"

using namespace hunch;

template <class F>
static void report(const char* what, uint64_t bytes, F&& pass) {
  std::vector<double> times;
  for (int i = 0; i < 301; i++) {
    const auto begin = std::chrono::steady_clock::now();
    pass();
    times.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::sort(times.begin(), times.end());
  std::printf("%-28s best %6.1f GB/s   median %6.1f GB/s   %.0f us\n", what, bytes / times[0] / 1e9, bytes / times[times.size() / 2] / 1e9, times[0] * 1e6);
}

int main(int argc, char** argv) {
  const unsigned threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const uint64_t megabytes = argc > 2 ? std::atoi(argv[2]) : 66;
  const TensorType type = tensor_type_from_name(argc > 3 ? argv[3] : "Q4_1").value();
  const uint32_t cols = argc > 4 ? std::atoi(argv[4]) : 576, rows = 1536;
  const Kernels& k = *kernels_for(supported_isas().front());
  PackedMatrix m = packed_shape(type, rows, cols);
  const uint32_t count = std::max<uint64_t>(1, (megabytes << 20) / m.bytes());
  Arena arena;
  if (!arena.reserve(count * m.bytes())) return 1;
  Pool pool(threads);
  std::vector<float> x(cols, 0.5f), d(cols / 32), out(rows);
  std::vector<int8_t> q(cols);
  std::vector<int32_t> sum(cols / 16);
  k.quantize(x.data(), cols, q.data(), d.data(), sum.data());
  const uint64_t bytes = count * m.bytes();
  pool.run([&](unsigned lane) {  // scales of zero, quants of noise
    const Range r = share(count, lane, threads);
    for (uint64_t i = r.begin * m.bytes(); i < r.end * m.bytes(); i++) arena.data()[i] = (uint8_t)(i * 2654435761u >> 24) & 0x3F;
  });
  const auto chain = [&](bool barriers) {
    pool.run([&](unsigned lane) {
      const Range r = share(m.groups, lane, threads);
      for (uint32_t i = 0; i < count; i++) {
        k.matmul[(int)type]({arena.data() + i * m.bytes() + r.begin * m.group_bytes, m.group_bytes, r.end - r.begin, rows - r.begin * kLanes, cols,
                             {x.data(), q.data(), d.data(), sum.data()}, 1, out.data() + r.begin * kLanes, rows, false});
        if (barriers) pool.barrier();
      }
    });
  };
  std::printf("%s, %u x %u, %u matrices, %.1f MB, %u threads\n", tensor_type_name(type), rows, cols, count, bytes / 1e6, threads);
  std::atomic<uint64_t> sink{0};
  report("plain read, one stretch", bytes, [&] {
    pool.run([&](unsigned lane) {
      const Range r = share((uint32_t)(bytes / 4096), lane, threads);
      sink += k.read_all(arena.data() + (size_t)r.begin * 4096, (size_t)(r.end - r.begin) * 4096);
    });
  });
  report("matmul, no barriers", bytes, [&] { chain(false); });
  report("matmul, barriers", bytes, [&] { chain(true); });
  report("barriers alone", 1, [&] { pool.run([&](unsigned) { for (int i = 0; i < 1000; i++) pool.barrier(); }); });
  return 0;
}
