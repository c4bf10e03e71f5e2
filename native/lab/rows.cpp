// How fast rows are multiplied and added: from the L1 cache (what the instructions cost) and from memory (what the reads cost).
// lab_rows [columns] [isa]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "arena.h"
#include "rows.h"

using namespace hunch;

template <class F>
static double best_ns(int passes, F&& f) {
  double best = 1e18;
  for (int i = 0; i < passes; i++) {
    const auto begin = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

int main(int argc, char** argv) {
  const uint32_t cols = argc > 1 ? (uint32_t)std::atoi(argv[1]) : 576;
  const Kernels* k = kernels_for(supported_isas().front());
  for (Isa isa : supported_isas())
    if (argc > 2 && !std::strcmp(argv[2], isa_name(isa))) k = kernels_for(isa);
  std::vector<float> x(cols), out(1 << 20);
  for (uint32_t i = 0; i < cols; i++) x[i] = (float)(i % 7) - 3;
  std::vector<int8_t> q(cols);
  std::vector<float> d(cols / 32), by(1 << 20, 0.5f);
  std::vector<int32_t> sum(cols / 16);
  k->quantize(x.data(), cols, q.data(), d.data(), sum.data());
  RowInputBuffer input;
  input.resize(1, cols);
  std::printf("%s, %u columns; ns a row and GB/s\n", isa_name(k->isa), cols);
  std::printf("arrange %.0f ns\n", best_ns(1000, [&] { k->arrange({x.data(), q.data(), d.data(), sum.data()}, cols, input.buffer(0, cols)); }));
  for (auto [name, type] : {std::pair{"nibbles", RowType::nibbles}, {"nibbles_min", RowType::nibbles_min}, {"bytes", RowType::bytes}, {"f16", RowType::f16}}) {
    const size_t stride = row_size(type, cols);
    const uint32_t many = (uint32_t)((100u << 20) / stride);
    Arena arena;
    if (!arena.reserve((size_t)many * stride + 65536)) return 1;
    std::memset(arena.data(), 0, arena.size());
    std::vector<float> acc(row_places(type, cols));
    for (uint32_t n : {48u, many}) {
      const int passes = n == many ? 7 : 2001;
      const double dot = best_ns(passes, [&] { k->dot_rows[(int)type]({arena.data(), stride, nullptr, n, cols, input.view(0, cols, x.data()), out.data()}); }) / n;
      const double add = best_ns(passes, [&] { k->add_rows[(int)type]({arena.data(), stride, nullptr, by.data(), n, cols, acc.data()}); }) / n;
      std::printf("%-12s %-6s dot %6.1f ns %6.1f GB/s   add %6.1f ns %6.1f GB/s\n", name, n == many ? "memory" : "L1", dot, (double)stride / dot, add, (double)stride / add);
    }
    // An MLP's bundles, 16 at a time: every `every`-th one, the next 16 asked for meanwhile.
    const size_t bundle = (2 * stride + 63) / 64 * 64;
    const uint32_t bundles = (uint32_t)((100u << 20) / bundle);
    for (uint32_t every : {1u, 2u, 4u, 8u}) {
      std::vector<uint32_t> list;
      for (uint32_t i = 0; i < bundles; i += every) list.push_back(i);
      const double ns = best_ns(7, [&] {
        for (uint32_t i = 0; i + 32 <= list.size(); i += 16) {
          k->dot_rows[(int)type]({arena.data(), bundle, list.data() + i, 16, cols, input.view(0, cols, x.data()), out.data(), {arena.data(), bundle, stride, list.data() + i + 16, 16}});
          k->add_rows[(int)type]({arena.data() + stride, bundle, list.data() + i, by.data(), 16, cols, acc.data(), {arena.data() + stride, bundle, bundle - stride, list.data() + i + 16, 16}});
        }
      }) / (double)list.size();
      std::printf("%-12s every %u. bundle %6.1f ns %6.1f GB/s\n", name, every, ns, (double)bundle / ns);
    }
  }
}
