#include "pool.h"

#include "support.h"

using namespace hunch;

TEST_CASE("pool: every lane runs once per run, and what was written before a barrier is seen after it") {
  for (unsigned threads : {1u, 2u, 3u, 8u}) {  // also more than there are cores
    CAPTURE(threads);
    Pool pool(threads);
    REQUIRE(pool.size() == threads);
    const int rounds = threads == 8 ? 10 : threads == 3 ? 60 : 1500;  // lanes without a core wait for the scheduler at every barrier
    std::vector<uint32_t> cells(threads * 16), calls(threads * 16);  // plain memory: only the barrier orders it
    std::atomic<uint32_t> wrong{0};
    for (int round = 1; round <= rounds; round++) {
      pool.run([&](unsigned lane) {
        calls[lane * 16]++;
        for (uint32_t step = 0; step < 4; step++) {
          cells[lane * 16] = (uint32_t)round * 8 + step;
          pool.barrier();
          for (unsigned other = 0; other < threads; other++) wrong += cells[other * 16] != (uint32_t)round * 8 + step;
          pool.barrier();
        }
        cells[lane * 16] = (uint32_t)round;
      });
      for (unsigned lane = 0; lane < threads; lane++) wrong += cells[lane * 16] != (uint32_t)round || calls[lane * 16] != (uint32_t)round;
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("pool: runs that follow each other without barriers, and lanes that return early together") {
  for (unsigned threads : {2u, 3u, 8u}) {
    Pool pool(threads);
    std::atomic<uint32_t> calls{0};
    const uint32_t rounds = threads == 8 ? 40 : threads == 3 ? 200 : 3000;
    for (uint32_t i = 0; i < rounds; i++) pool.run([&](unsigned) { calls++; });
    CHECK(calls == rounds * threads);
  }
}

TEST_CASE("pool: a pool that sleeps wakes, and one that never ran ends") {
  for (unsigned threads : {1u, 2u, 8u}) {
    { Pool unused(threads); }
    Pool pool(threads);
    for (int i = 0; i < 3; i++) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      std::atomic<unsigned> lanes{0};
      pool.run([&](unsigned lane) { lanes += 1u << lane; });
      CHECK(lanes == (1u << threads) - 1);
    }
  }
}

TEST_CASE("pool: runs from different threads, one after the other, share the lanes") {
  Pool pool(3);
  std::atomic<uint32_t> calls{0};
  for (int i = 0; i < 50; i++) std::thread([&] { pool.run([&](unsigned) { pool.barrier(), calls++; }); }).join();
  CHECK(calls == 150);
}

TEST_CASE("share: covers everything once with sizes that differ by at most one") {
  uint32_t wrong = 0;
  for (unsigned lanes : {1u, 2u, 3u, 7u, 8u, 64u})
    for (uint32_t n : {0u, 1u, 2u, 5u, 63u, 64u, 65u, 1000u, 0xFFFFFFFFu}) {
      uint32_t next = 0, least = 0xFFFFFFFF, most = 0;
      for (unsigned lane = 0; lane < lanes; lane++) {
        const Range r = share(n, lane, lanes);
        wrong += r.begin != next || r.end < r.begin;
        next = r.end;
        least = std::min(least, r.end - r.begin), most = std::max(most, r.end - r.begin);
      }
      wrong += next != n || most - least > 1;
    }
  CHECK(wrong == 0);
}

TEST_CASE("pool: a run with fewer lanes uses exactly those, and the next has all again") {
  for (unsigned size : {2u, 3u, 8u}) {
    Pool pool(size);
    const int rounds = size == 8 ? 80 : size == 3 ? 300 : 2000;
    for (int round = 0; round < rounds; round++) {
      const unsigned active = 1 + (unsigned)round % size;
      std::vector<std::atomic<int>> runs(size);
      std::atomic<int> before{0};
      std::atomic<bool> early{false};
      pool.run(
          [&](unsigned lane) {
            runs[lane]++;
            before++;
            pool.barrier();
            if (before != (int)active) early = true;
          },
          active);
      CHECK_FALSE(early);
      for (unsigned lane = 0; lane < size; lane++) CHECK(runs[lane] == (lane < active ? 1 : 0));
    }
  }
}
