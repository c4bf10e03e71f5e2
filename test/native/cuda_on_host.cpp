// Runs the source of kernels/cuda/prefill.cu on the CPU, block by block, with a fiber for each thread: tensor-core fragments, ldmatrix and cp.async as the PTX ISA
// describes them. So what the kernels do with indices, shared memory and barriers is checked where there is no GPU.
#include "cuda_emulator.h"

#if defined(__linux__) && defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <ucontext.h>

#include <deque>
#include <memory>
#include <vector>

#define HUNCH_ON_HOST
#include "cuda_on_host/cuda_fp16.h"

namespace hunch::cuda {
thread_local Place3 threadIdx, blockIdx, gridDim;
alignas(128) thread_local uint8_t memory[232448];
}  // namespace hunch::cuda

#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "../../native/kernels/cuda/prefill.cu"

namespace hunch::cuda {

namespace {

// Waits for all of its members; those that have ended count as there.
struct Barrier {
  uint32_t members = 0, there = 0;
  uint64_t passed = 0;
  void arrive() {
    if (++there >= members) there = 0, passed++;
  }
  void leave() {
    members--;
    if (members && there >= members) there = 0, passed++;
  }
};
struct Copy {
  uint32_t to;
  const void* from;
  bool there;
};
struct Fiber {
  ucontext_t context;
  std::vector<uint8_t> stack;
  bool done = false;
  const Barrier* waits = nullptr;
  uint64_t until = 0;
  std::deque<std::vector<Copy>> groups;
  std::vector<Copy> open;
};
struct Warp {
  Barrier barrier;
  uint32_t turn = 0;
  uint32_t slot[2][32][6];  // what each lane says; in turns, so that nobody overwrites what another still reads
  uint32_t turns[32] = {};
};
struct Machine {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier block;
  ucontext_t scheduler;
  uint32_t current = 0, shared_bytes = 0;
  bool late = false;  // copies arrive only when they are waited for, else at once
  bool wrong = false;
  std::function<void()> kernel;
} machine;

const std::vector<float>& values_of_halves() {
  static const std::vector<float> table = [] {
    std::vector<float> t(65536);
    for (uint32_t i = 0; i < 65536; i++) t[i] = f16_to_f32((uint16_t)i);
    return t;
  }();
  return table;
}
float half_value(uint32_t word, uint32_t i) {
  static const float* table = values_of_halves().data();
  return table[word >> (16 * i) & 0xFFFF];
}

void wait_at(Barrier& b) {
  Fiber& me = machine.fibers[machine.current];
  const uint64_t before = b.passed;
  b.arrive();
  if (b.passed != before) return;
  me.waits = &b, me.until = before + 1;
  swapcontext(&me.context, &machine.scheduler);
}
// What all lanes of the warp say; `words` of each.
const uint32_t (*exchange(const uint32_t* v, uint32_t words))[6] {
  const uint32_t lane = threadIdx.x % 32;
  Warp& w = machine.warps[threadIdx.x / 32];
  const uint32_t turn = w.turns[lane]++ % 2;
  std::copy_n(v, words, w.slot[turn][lane]);
  wait_at(w.barrier);
  return w.slot[turn];
}
void run_fiber() {
  machine.kernel();
  Fiber& me = machine.fibers[machine.current];
  me.done = true;
  machine.block.leave();
  machine.warps[machine.current / 32].barrier.leave();
  swapcontext(&me.context, &machine.scheduler);
}
void inside(uint32_t address) {
  if (address % 16 || address + 16 > machine.shared_bytes) machine.wrong = true;
}
void arrive(const Copy& c) {
  if (c.there) std::memcpy(memory + c.to, c.from, 16);
  else std::memset(memory + c.to, 0, 16);
}

bool run_block(uint32_t threads, bool backwards) {
  std::memset(memory, 0xFF, sizeof memory);  // not a number
  if (machine.fibers.size() < threads) machine.fibers.resize(threads);
  machine.warps.assign(threads / 32, {});
  machine.block = {threads};
  for (Warp& w : machine.warps) w.barrier.members = 32;
  for (uint32_t i = 0; i < threads; i++) {
    Fiber& f = machine.fibers[i];
    f.stack.resize(128 << 10);
    f.done = false, f.waits = nullptr, f.groups.clear(), f.open.clear();
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data(), f.context.uc_stack.ss_size = f.stack.size(), f.context.uc_link = nullptr;
    makecontext(&f.context, run_fiber, 0);
  }
  for (bool moved = true, all = false; !all; moved = false) {
    all = true;
    for (uint32_t n = 0; n < threads; n++) {
      const uint32_t i = backwards ? threads - 1 - n : n;
      Fiber& f = machine.fibers[i];
      all = all && f.done;
      if (f.done || (f.waits && f.waits->passed < f.until)) continue;
      moved = true;
      f.waits = nullptr;
      machine.current = i, threadIdx = {i, 0, 0};
      swapcontext(&machine.scheduler, &f.context);
    }
    if (!all && !moved) return false;  // all wait for somebody who never comes
  }
  return true;
}

}  // namespace

void __syncthreads() { wait_at(machine.block); }
void __syncwarp() { wait_at(machine.warps[threadIdx.x / 32].barrier); }
uint32_t shuffled(uint32_t v, uint32_t lane) { return exchange(&v, 1)[lane][0]; }
size_t __cvta_generic_to_shared(const void* p) { return (size_t)(static_cast<const uint8_t*>(p) - memory); }

// PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  const auto* all = exchange(mine, 6);
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
    double sum = sums[i];
    for (uint32_t k = 0; k < 16; k++) {
      const uint32_t* left = all[row % 8 * 4 + k % 8 / 2];
      const uint32_t* right = all[column * 4 + k % 8 / 2];
      sum += (double)half_value(left[(row >= 8 ? 1 : 0) + (k >= 8 ? 2 : 0)], k % 2) * half_value(right[4 + (k >= 8 ? 1 : 0)], k % 2);
    }
    sums[i] = (float)sum;
  }
}
// The eight rows of a tile lie in banks of their own.
void own_banks(const uint32_t (*rows)[6]) {
  uint32_t banks = 0;
  for (uint32_t i = 0; i < 8; i++) banks |= 1u << rows[i][0] / 16 % 8;
  if (banks != 255) machine.wrong = true;
}
// ldmatrix: lanes 8 m … 8 m + 7 give the rows of tile m; a lane gets two numbers of row lane / 4 of each, or, transposed, of column lane / 4.
void load_tiles(uint32_t (&r)[4], uint32_t address) {
  inside(address);
  const auto* all = exchange(&address, 1);
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t m = 0; m < 4; m++) {
    own_banks(all + m * 8);
    std::memcpy(&r[m], memory + all[m * 8 + lane / 4][0] + lane % 4 * 4, 4);
  }
}
void load_turned(uint32_t (&r)[4], uint32_t address) {
  inside(address);
  const auto* all = exchange(&address, 1);
  const uint32_t lane = threadIdx.x % 32;
  for (uint32_t m = 0; m < 4; m++) {
    uint16_t two[2];
    own_banks(all + m * 8);
    for (uint32_t i = 0; i < 2; i++) std::memcpy(&two[i], memory + all[m * 8 + lane % 4 * 2 + i][0] + lane / 4 * 2, 2);
    std::memcpy(&r[m], two, 4);
  }
}
void fetch(uint32_t to, const void* from, bool there) {
  inside(to);
  if (reinterpret_cast<uintptr_t>(from) % 16) machine.wrong = true;
  const Copy c{to, from, there};
  if (machine.late) machine.fibers[machine.current].open.push_back(c);
  else arrive(c);
}
void fetched_group() {
  Fiber& f = machine.fibers[machine.current];
  f.groups.push_back(std::move(f.open));
  f.open.clear();
}
void await_groups(uint32_t left) {
  Fiber& f = machine.fibers[machine.current];
  while (f.groups.size() > left) {
    for (const Copy& c : f.groups.front()) arrive(c);
    f.groups.pop_front();
  }
}
void put(uint32_t to, const uint32_t* v) {
  inside(to);
  std::memcpy(memory + to, v, 16);
}

bool can_run_kernel_source() { return true; }

bool run_kernel_source(const std::string& name, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads, unsigned shared_bytes, const void* argument) {
  const auto with = [&](auto* kernel, const auto& t) { machine.kernel = [kernel, t] { kernel(t); }; };
  machine.kernel = nullptr;
  if (name == "hunch_embed") with(hunch_embed, *static_cast<const EmbedLaunch*>(argument));
  if (name == "hunch_norm") with(hunch_norm, *static_cast<const NormLaunch*>(argument));
  if (name == "hunch_turn") with(hunch_turn, *static_cast<const TurnLaunch*>(argument));
  if (name == "hunch_score") with(hunch_score, *static_cast<const ScoreLaunch*>(argument));
  if (name == "hunch_attend_64") with(hunch_attend_64, *static_cast<const AttendLaunch*>(argument));
  if (name == "hunch_attend_128") with(hunch_attend_128, *static_cast<const AttendLaunch*>(argument));
  if (name == "hunch_attend_256") with(hunch_attend_256, *static_cast<const AttendLaunch*>(argument));
#define HUNCH_FORMAT(format)                                                                                             \
  if (name == "hunch_multiply_" #format) with(hunch_multiply_##format, *static_cast<const MultiplyLaunch*>(argument)); \
  if (name == "hunch_turned_" #format) with(hunch_turned_##format, *static_cast<const MultiplyLaunch*>(argument));
  HUNCH_FORMAT(f32)
  HUNCH_FORMAT(f16)
  HUNCH_FORMAT(bf16)
  HUNCH_FORMAT(nibbles)
  HUNCH_FORMAT(nibbles_min)
  HUNCH_FORMAT(fives)
  HUNCH_FORMAT(bytes)
  HUNCH_FORMAT(sixes)
  if (!machine.kernel) return false;
  machine.shared_bytes = shared_bytes, machine.wrong = false;
  gridDim = {grid_x, grid_y, grid_z};
  for (unsigned i = 0; i < grid_x * grid_y * grid_z; i++) {
    blockIdx = {i % grid_x, i / grid_x % grid_y, i / grid_x / grid_y};
    machine.late = (blockIdx.x + blockIdx.y + blockIdx.z) % 2;  // copies come as late or as early as they may, threads run in this order or in that
    if (!run_block(threads, machine.late) || machine.wrong) return false;
  }
  return true;
}

}  // namespace hunch::cuda
#else
namespace hunch::cuda {
bool can_run_kernel_source() { return false; }
bool run_kernel_source(const std::string&, unsigned, unsigned, unsigned, unsigned, unsigned, const void*) { return false; }
}  // namespace hunch::cuda
#endif
