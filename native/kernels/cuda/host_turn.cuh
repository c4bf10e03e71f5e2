// The CPU's turn inside a token: one block posts a vector to memory that both sides see, the pool of src/cuda/cold.cpp answers while the GPU goes on with
// its own share, and the same block takes the answer in before the stage ends. The kernel is never left.
#pragma once

#include "common.cuh"

namespace hunch::cuda {

// The last block: attention leaves it free most often.
__device__ inline bool speaks_to_host() { return blockIdx.x == gridDim.x - 1; }
__device__ inline uint32_t turn_number(const Token& t, const HostStage& h, int position) { return (uint32_t)position * t.host.turns + h.turn; }

// Behind the barrier of the stage before. All threads of all blocks come.
__device__ __noinline__ void post_to_host(const Token& t, const HostStage& h, int position) {
  if (!speaks_to_host()) return;
  float4* to = reinterpret_cast<float4*>(t.host.posted[h.post_as]);
  for (uint32_t i = threadIdx.x; i < h.post_n / 4; i += kThreads) to[i] = __ldcg(reinterpret_cast<const float4*>(h.post) + i);
  sync();
  if (threadIdx.x == 0) {
    __threadfence_system();
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(t.host.asked[h.post_as]), "r"(turn_number(t, h, position)) : "memory");
  }
}

// Before the stage ends. All threads of all blocks come; false: no answer came in time, and *broken is set.
__device__ __noinline__ bool join_host(const Token& t, const HostStage& h, int position, int* broken) {
  if (!speaks_to_host()) return true;
  if (threadIdx.x == 0) {
    const uint32_t wanted = turn_number(t, h, position);
    uint32_t v;
    unsigned long long began, now;
    asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(began));
    for (;;) {
      asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(t.host.answered) : "memory");
      if (v == wanted) break;
      asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
      if (now - began > t.host.limit_ns) {
        *broken = 1;
        asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(t.host.late), "r"(1) : "memory");
        break;
      }
    }
  }
  sync();
  if (*broken) return false;
  for (uint32_t c = threadIdx.x * 4; c < t.width; c += kThreads * 4) {
    float4 v;  // past the caches, which may hold an answer of before
    asm volatile("ld.relaxed.sys.global.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(t.host.answer + c) : "memory");
    *reinterpret_cast<float4*>(h.answer + c) = v;
  }
  sync();
  return true;
}

}  // namespace hunch::cuda
