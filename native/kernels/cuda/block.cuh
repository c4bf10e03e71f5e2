// What a block keeps in shared memory while it walks through a token.
#pragma once

#include "formats.cuh"
#include "host_turn.cuh"

namespace hunch::cuda {

struct Block {
  Token token;                // the launch's parameters: through a pointer they would come from memory
#ifdef HUNCH_MARKS
  int stage_index;
#endif
  Stage stage[2];             // the one at hand and the next
  float sums[kSums];          // of rows, by part of the columns
  alignas(16) float scratch[64];
  uint32_t kept[1 + kMaxHeads];  // heads that this layer computes: count, list
  uint32_t ids[kNeuronBatch];
  float gates[kNeuronBatch];
  uint32_t before[kMaxBlocks + 1];
  uint32_t list_count;
  const uint8_t* more[kWarps];   // what each warp's ring does not hold yet: asked for behind the vector's own loads, so that memory does not idle
  uint32_t more_bytes[kWarps];   // while the vector is made
  uint32_t target;            // of the barrier
  int position, known, broken, with_logits;
};

// Which rows of a matrix a block multiplies: row i is begin + i, or as a list says, or counts only the rows of heads that are kept.
struct Rows {
  uint32_t begin;
  const uint32_t* list;  // null: none
  uint32_t paired;       // list holds neurons, each with two rows
  uint32_t head_width;   // not 0: list holds heads
  __device__ uint32_t operator()(uint32_t i) const {
    if (head_width) return list[(begin + i) / head_width] * head_width + (begin + i) % head_width;
    if (!list) return begin + i;
    return paired ? list[i / 2] * 2 + i % 2 : list[i];
  }
};

// A thread's first columns of a norm's weights, which are there before the vector is.
struct NormAhead {
  float4 weight[kHeld];
};
__device__ void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead);
__device__ inline void ask_for_more(const Block& b) {
  const uint32_t warp = threadIdx.x / 32;
  prefetch_range(b.more[warp], b.more_bytes[warp], threadIdx.x % 32, 32);
}
__device__ inline NormAhead norm_ahead(const Stage& s) {
  NormAhead a{};
#pragma unroll
  for (uint32_t i = 0; i < kHeld; i++) {
    const uint32_t c = (threadIdx.x + i * kThreads) * 4;
    if (s.norm.weight && c < s.n) a.weight[i] = __ldg(reinterpret_cast<const float4*>(s.norm.weight + c));
  }
  return a;
}

// The barrier behind the stage before, and what every stage does after it.
__device__ __noinline__ void ready(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const NormAhead ahead = norm_ahead(s);
  HUNCH_MARK(1);
  if (!wait_for(t.barrier, b.target, t.spin_limit, &b.broken)) return;
  HUNCH_MARK(2);
  if (s.host.post) post_to_host(t, s.host, b.position);
  if (s.clear) {
    const uint2 mine = share(s.clear_n, blockIdx.x, gridDim.x);
    for (uint32_t i = mine.x + threadIdx.x; i < mine.y; i += kThreads) s.clear[i] = 0;
  }
  if (s.source != Source::none) make_vector(t, b, s, ahead);
  if (threadIdx.x % 32 == 0) b.more_bytes[threadIdx.x / 32] = 0;
  HUNCH_MARK(3);
}

}  // namespace hunch::cuda
