// A fixed set of lanes that run one function together. Lanes spin briefly, then yield, then sleep: a token is many short
// stages, and waking a sleeping thread costs more than a stage.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

namespace hunch {

class Pool {
 public:
  explicit Pool(unsigned threads);  // >= 1; the calling thread of run() is lane 0
  ~Pool();
  unsigned size() const { return size_; }

  // Calls f(lane) on every lane and returns when all are done. Not reentrant; one caller at a time.
  template <class F>
  void run(F&& f) {
    start([](void* p, unsigned lane) { (*static_cast<std::remove_reference_t<F>*>(p))(lane); }, &f);
  }
  // Inside run(): no lane passes before all have arrived. What was written before is visible after.
  void barrier();

 private:
  using Body = void (*)(void*, unsigned);
  void start(Body body, void* argument);
  void work(unsigned lane);

  const unsigned size_;
  std::vector<std::thread> threads_;
  Body body_ = nullptr;
  void* argument_ = nullptr;
  alignas(64) std::atomic<uint32_t> round_{0};  // bumped to start a run
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
