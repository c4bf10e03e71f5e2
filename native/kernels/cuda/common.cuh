// Small things that every stage uses.
#pragma once

#include <cuda_fp16.h>

#include "program.h"

namespace hunch::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define HUNCH_ASYNC 1
#else
#define HUNCH_ASYNC 0
#endif

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define HUNCH_BULK 1
#else
#define HUNCH_BULK 0
#endif

// The warps that compute wait for each other; the one that asks for weights does not take part.
__device__ inline void sync() { asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory"); }

__device__ inline float half_bits(uint16_t h) { return __half2float(__ushort_as_half(h)); }
__device__ inline float low_half(uint32_t w) { return half_bits((uint16_t)w); }
__device__ inline float high_half(uint32_t w) { return half_bits((uint16_t)(w >> 16)); }

__device__ inline float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
__device__ inline float warp_max(float v) {
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  return v;
}
// Sum of the warps' numbers, the same in every thread. `space`: kWarps floats that the call before did not use.
__device__ inline float warps_sum(float v, float* space) {
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = v;
  sync();
  float4 sum = {0, 0, 0, 0};
#pragma unroll
  for (uint32_t i = 0; i < kWarps / 4; i++) {
    const float4 a = reinterpret_cast<const float4*>(space)[i];
    sum.x += a.x, sum.y += a.y, sum.z += a.z, sum.w += a.w;
  }
  return sum.x + sum.y + (sum.z + sum.w);
}
__device__ inline float block_sum(float v, float* space) { return warps_sum(warp_sum(v), space); }

__device__ inline float activate(Act act, float x) {
  if (act == Act::relu || act == Act::drelu) return fmaxf(x, 0.0f);
  if (act == Act::silu) return x / (1.0f + __expf(-x));
  const float u = 0.7978845608f * (0.044715f * x * x * x + x);
  return x / (1.0f + __expf(-2.0f * u));
}
__device__ inline float gated(Act act, float gate, float up) {
  return activate(act, gate) * (act == Act::drelu ? fmaxf(up, 0.0f) : up);
}

__device__ inline const uint8_t* row_of(const Matrix& m, uint32_t r) {
  return m.pair ? m.data + (size_t)(r >> 1) * m.stride + (r & 1 ? m.pair : 0) : m.data + (size_t)r * m.stride;
}

// This block's share [x, y) of n things; n times the blocks stays far below 2^31. In floats, and put right: an integer division costs more than a row.
__device__ inline uint32_t divided(uint32_t a, uint32_t b) {
  uint32_t q = (uint32_t)__fdividef((float)a, (float)b);
  if ((int32_t)(q * b - a) > 0) q--;
  if ((int32_t)(a - q * b) >= (int32_t)b) q++;
  return q;
}
__device__ inline uint2 share(uint32_t n, uint32_t block, uint32_t blocks) {
  return {divided(n * block, blocks), divided(n * (block + 1), blocks)};
}

// ---- The grid's barrier: everyone arrives (block.cuh), does what depends on nothing, and waits. ----
// False: it has waited so long that something must be broken; the kernel then ends instead of hanging.
__device__ inline bool wait_for(uint32_t* counter, uint32_t target, unsigned long long limit, int* broken) {
  if (threadIdx.x == 0) {
    // No fence behind the wait: it would also wait for the weights that are on their way.
    uint32_t v;
    for (unsigned long long spins = 0;;) {
      asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(counter) : "memory");
      if ((int32_t)(v - target) >= 0) break;
      if (++spins > limit) {
        *broken = 1;
        break;
      }
    }
    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(counter) : "memory");
  }
  sync();
  return *broken == 0;
}

__device__ inline uint32_t shared_address(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }

// ---- Gates: what is on its way between the warp that asks and those that compute (mbarriers; counters before sm_80). ----
using Gate = unsigned long long;
__device__ inline void open_gate(Gate* g, uint32_t arrivals) {
#if HUNCH_ASYNC
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(g)), "r"(arrivals) : "memory");
#else
  *g = (Gate)arrivals << 48;  // arrivals of a phase, arrivals so far, phases
#endif
}
__device__ inline void arrive_gate(Gate* g) {
#if HUNCH_ASYNC
  asm volatile("{ .reg .b64 s; mbarrier.arrive.shared.b64 s, [%0]; }" ::"r"(shared_address(g)) : "memory");
#else
  __threadfence_block();
  const Gate before = atomicAdd(g, 1ull << 32);
  if ((before >> 32 & 0xFFFF) + 1 == before >> 48) atomicAdd(g, 1ull - (before & 0xFFFF00000000ull) - (1ull << 32));
#endif
}
// Lane 0 of a warp, for all kWarps arrivals at once or for some.
__device__ inline void arrive_gate(Gate* g, uint32_t times) {
#if HUNCH_BULK
  asm volatile("{ .reg .b64 s; mbarrier.arrive.release.cta.shared::cta.b64 s, [%0], %1; }" ::"r"(shared_address(g)), "r"(times) : "memory");
#else
  for (uint32_t i = 0; i < times; i++) arrive_gate(g);
#endif
}
__device__ inline bool passed(Gate* g, uint32_t parity) {
#if HUNCH_ASYNC
  uint32_t done;
#if HUNCH_BULK
  asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" : "=r"(done) : "r"(shared_address(g)), "r"(parity) : "memory");
#else
  asm volatile("{ .reg .pred p; mbarrier.test_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }" : "=r"(done) : "r"(shared_address(g)), "r"(parity) : "memory");
#endif
  return done;
#else
  const bool done = (*(volatile Gate*)g & 1) != parity;
  __threadfence_block();
  return done;
#endif
}
// Until the phase of this parity is over; false: the kernel is ending because something is broken.
__device__ inline bool pass(Gate* g, uint32_t parity, const int* broken) {
  while (!passed(g, parity))
    if (*(volatile const int*)broken) return false;
  return true;
}

// ---- Copies global -> shared that run on their own; all lanes of one warp call these, and the gate opens when all bytes are there. ----
__device__ inline void expect(Gate* g, uint32_t bytes) {  // lane 0
#if HUNCH_BULK
  asm volatile("{ .reg .b64 s; mbarrier.arrive.expect_tx.shared.b64 s, [%0], %1; }" ::"r"(shared_address(g)), "r"(bytes) : "memory");
#endif
}
__device__ inline void copy_bulk(void* to, const void* from, uint32_t bytes, Gate* g) {
#if HUNCH_BULK
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(g)) : "memory");
#endif
}
__device__ inline void copy16(void* to, const void* from) {
#if HUNCH_ASYNC
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
#else
  *(uint4*)to = __ldg((const uint4*)from);
#endif
}
// All lanes: the gate's one arrival, once the copies of every lane are there.
__device__ inline void join_gate(Gate* g) {
#if HUNCH_ASYNC
  asm volatile("cp.async.mbarrier.arrive.shared.b64 [%0];" ::"r"(shared_address(g)) : "memory");  // one more arrival is expected, and comes with the copies
#else
  __threadfence_block();
#endif
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive_gate(g);
}
__device__ inline void prefetch_l2(const void* p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }
// Asks for bytes (from a multiple of 16 on) to come into the L2 cache; the threads [0, threads) of whoever calls divide the work.
__device__ inline void prefetch_range(const uint8_t* from, uint32_t bytes, uint32_t thread, uint32_t threads) {
#if HUNCH_BULK
  constexpr uint32_t kPiece = 2048;
#pragma unroll 1
  for (uint32_t at = thread * kPiece; at < bytes; at += threads * kPiece)
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from + at), "r"(min(kPiece, bytes - at) & ~15u));
#else
#pragma unroll 1
  for (uint32_t at = thread * 128; at < bytes; at += threads * 128) prefetch_l2(from + at);
#endif
}

// Where a block's time goes, for experiments: compile with -DHUNCH_MARKS.
#ifdef HUNCH_MARKS
#define HUNCH_MARK(i) \
  if (threadIdx.x == 0 && blockIdx.x == 5) t.marks[b.at[0] * kMarks + (i)] = clock64()
// What a wait takes, added up in a variable.
#define HUNCH_TIMED(sum, wait) [&] { const long long began = clock64(); const auto result = wait; sum += clock64() - began; return result; }()
#else
#define HUNCH_MARK(i)
#define HUNCH_TIMED(sum, wait) (wait)
#endif

// What a function is handed lies in shared memory: loads then need no look at the address.
#define HUNCH_SHARED(x) __builtin_assume(__isShared(&(x)))

// A token's vector in shared memory, in the order in which the pieces of a chunk read it.
struct Vector {
  float4* f;       // [chunks of 256][2 planes][32]
  uint4* q;        // [chunks of 1024][2 planes][32] int8
  float2* d;       // [blocks of 32] scale, scale * sum
};
// Through a pointer that lies in memory the compiler would not know that these are shared.
__device__ inline uint8_t* shared_memory() {
  extern __shared__ __align__(128) uint8_t memory[];
  return memory;
}
__device__ inline Vector vector_of(const Token& t) {
  uint8_t* m = shared_memory();
  return {reinterpret_cast<float4*>(m + t.at_float), reinterpret_cast<uint4*>(m + t.at_quants), reinterpret_cast<float2*>(m + t.at_scales)};
}
__device__ inline uint32_t float_place(uint32_t c) {  // of the float4 that column c (a multiple of 4) is in
  return (c / 256 * 2 + c / 4 % 2) * 32 + c / 8 % 32;
}
__device__ inline uint32_t quant_place(uint32_t c) {  // of the 4 bytes that column c (a multiple of 4) is in
  const uint32_t block = c / 32, word = c % 32 / 4;
  return ((block / 32 * 2 + word / 4) * 32 + block % 32) * 4 + word % 4;
}

}  // namespace hunch::cuda
