#include "pool.h"

#include <algorithm>
#include <chrono>

namespace hunch {

// A stage ends within microseconds of its neighbour's; past that, another process has our core and deserves it.
constexpr int kSpins = 2000;
// Between two tokens the caller samples for some 10 µs: workers stay awake a little longer than that before sleeping.
constexpr int kIdleSpins = 4000, kIdleYields = 200;

Pool::Pool(unsigned threads) : size_(std::clamp(threads, 1u, 256u)) {
  for (unsigned lane = 1; lane < size_; lane++) threads_.emplace_back([this, lane] { work(lane); });
}

Pool::~Pool() {
  stopping_ = true;
  round_.fetch_add(256, std::memory_order_release);
  round_.notify_all();
  for (auto& t : threads_) t.join();
}

void Pool::barrier() {
  const unsigned active = active_;  // read before arriving: after that, the caller may start the next run
  if (active == 1) return;
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == active) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.store(phase + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; spins < kSpins; spins++) {
    if (phase_.load(std::memory_order_acquire) != phase) return;
    relax();
  }
  const auto begin = std::chrono::steady_clock::now();
  while (phase_.load(std::memory_order_acquire) == phase) std::this_thread::yield();
  starved_ns_.fetch_add((std::chrono::steady_clock::now() - begin).count(), std::memory_order_relaxed);
}

void Pool::start(Body body, void* argument, unsigned active) {
  body_ = body;
  argument_ = argument;
  active_ = std::min(active, size_);
  starved_ns_.store(0, std::memory_order_relaxed);
  if (active_ > 1) {
    const uint32_t round = round_.load(std::memory_order_relaxed);
    round_.store(((round | 255) + 1) | (active_ - 1), std::memory_order_release);
    round_.notify_all();
  }
  body(argument, 0);
  barrier();
}

void Pool::work(unsigned lane) {
  uint32_t seen = 0;
  for (;;) {
    uint32_t round;
    for (int spins = 0; (round = round_.load(std::memory_order_acquire)) == seen; spins++) {
      if (spins < kIdleSpins) relax();
      else if (spins < kIdleSpins + kIdleYields) std::this_thread::yield();
      else round_.wait(seen, std::memory_order_acquire);
    }
    seen = round;
    if (stopping_) return;
    // The caller cannot start another run before every lane active in this one has passed its last barrier.
    if (lane > (round & 255)) continue;
    body_(argument_, lane);
    barrier();
  }
}

}  // namespace hunch
