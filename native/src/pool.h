// A fixed set of lanes that run one function together. Lanes spin briefly, then yield, then sleep: a token is many short
// stages, and waking a sleeping thread costs more than a stage.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace hunch {

// Inside a loop that waits for another core.
inline void relax() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  explicit Pool(unsigned threads);  // 1 … 256; the calling thread of run() is lane 0
  ~Pool();
  unsigned size() const { return size_; }

  // Calls f(lane) on lanes 0 … active - 1 (default: all) and returns when all are done. Not reentrant; one caller at a time.
  template <class F>
  void run(F&& f, unsigned active = 0) {
    start([](void* p, unsigned lane) { (*static_cast<std::remove_reference_t<F>*>(p))(lane); }, &f, active ? active : size_);
  }
  // Inside run(): no active lane passes before all have arrived. What was written before is visible after.
  void barrier();
  // Seconds that lanes waited in barriers of the last run beyond the usual spin: the sign of a core that another program has.
  double starved_seconds() const { return (double)starved_ns_.load(std::memory_order_relaxed) * 1e-9; }

 private:
  using Body = void (*)(void*, unsigned);
  void start(Body body, void* argument, unsigned active);
  void work(unsigned lane);

  const unsigned size_;
  std::vector<std::thread> threads_;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  unsigned active_ = 1;
  alignas(64) std::atomic<uint32_t> round_{0};  // number of the run << 8 | its active lanes - 1: one word, so that they never disagree
  std::atomic<int64_t> starved_ns_{0};
  std::atomic<bool> stopping_{false};
  alignas(64) std::atomic<uint32_t> arrived_{0};
  alignas(64) std::atomic<uint32_t> phase_{0};
};

// This lane's share of n items: [begin, end), sizes differing by at most one.
struct Range {
  uint32_t begin, end;
};
inline Range share(uint32_t n, unsigned lane, unsigned lanes) {
  return {(uint32_t)((uint64_t)n * lane / lanes), (uint32_t)((uint64_t)n * (lane + 1) / lanes)};
}

}  // namespace hunch
