// What a block keeps in shared memory while it walks through a token.
#pragma once

#include "formats.cuh"
#include "host_turn.cuh"

namespace hunch::cuda {

struct Block {
  Stage stage[kStageSlots];   // stage i lies in slot i % kStageSlots
  Token token;                // the launch's parameters: through a pointer they would come from memory
  Gate stage_full[kStageSlots], stage_empty[kStageSlots];
  Gate full[kMaxSlots], empty[kMaxSlots];  // of the ring
  Gate heads_known, list_known;            // what the warp that asks must know before it asks for rows by a list
#ifdef HUNCH_MARKS
  int stage_index;
#endif
  alignas(16) float sums[kSums];  // of rows, by part of the columns
  alignas(16) float scratch[64];
  uint32_t kept[1 + kMaxHeads];  // heads that this layer computes: count, list
  uint16_t own[kOwn];            // neurons that were chosen, as numbers among those that belong to the block
  float gates[kOwn];             // their gates, then what goes into the down projection
  uint32_t own_count;
  uint32_t before[kWarps];
  uint32_t ids[kWarps];
  uint32_t next_slot, next_parity, next_warp;  // of the ring's next tile
  uint32_t target;            // of the barrier
  int position, known, broken, with_logits;
};

// Which rows of a matrix: row i is begin + i, or as a list says, or counts only the rows of heads that are kept.
struct Rows {
  uint32_t begin = 0;
  const uint16_t* own = nullptr;   // not null: row begin + own[i], or with `paired` its two rows
  const uint32_t* heads = nullptr;  // not null: a list of heads
  uint32_t head_width = 0, paired = 0;
  __device__ uint32_t operator()(uint32_t i) const {
    if (heads) {
      const uint32_t v = begin + i, h = divided(v, head_width);
      return heads[h] * head_width + (v - h * head_width);
    }
    if (!own) return begin + i;
    return paired ? (begin + own[i / 2]) * 2 + i % 2 : begin + own[i];
  }
};

__device__ inline uint2 own_neurons(uint32_t neurons) { return share(neurons, blockIdx.x, gridDim.x); }

// This block's rows of a segment.
__device__ inline uint2 own_rows(const Token& t, const Block& b, const Segment& g, uint32_t index) {
  const uint32_t unit = g.epilogue == Epilogue::gate ? 2 : 1, rows = g.by_heads ? b.kept[0] * t.head_width : g.matrix.rows;
  uint32_t turn = blockIdx.x;
  if (g.epilogue != Epilogue::select) {  // what does not divide evenly falls to others each time
    turn += index * 37;
    while (turn >= gridDim.x) turn -= gridDim.x;
  }
  const uint2 mine = share(unit == 2 ? rows / 2 : rows, turn, gridDim.x);
  return {mine.x * unit, mine.y * unit};
}

// Tiles that `count` rows make.
__device__ inline uint32_t tiles_of(const Tiles& tiles, uint32_t count) { return divided(count + tiles.rows - 1, tiles.rows) * tiles.parts; }

// A thread's first columns of a norm's weights, which are there before the vector is.
struct NormAhead {
  float4 weight[kHeld];
};
__device__ void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead);
__device__ void choose_heads(const Token& t, Block& b, const Stage& s);
__device__ inline NormAhead norm_ahead(const Stage& s) {
  NormAhead a{};
#pragma unroll
  for (uint32_t i = 0; i < kHeld; i++) {
    const uint32_t c = (threadIdx.x + i * kThreads) * 4;
    if (s.norm.weight && c < s.n) a.weight[i] = __ldg(reinterpret_cast<const float4*>(s.norm.weight + c));
  }
  return a;
}
// Scores that wait for the barrier use the vector's place before the vector does.
__device__ inline bool late_scores(const Stage& s) { return s.scores.matrix.data && !s.scores.early; }

// The barrier behind the stage before, and what every stage does after it.
__device__ __noinline__ void ready(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const NormAhead ahead = norm_ahead(s);
  HUNCH_MARK(1);
  if (!wait_for(t.barrier, b.target, t.spin_limit, &b.broken)) return;
  HUNCH_MARK(2);
  if (s.host.post) post_to_host(t, s.host, b.position);
  if (s.choose_heads == 1) choose_heads(t, b, s);
  if (s.source != Source::none && !late_scores(s)) make_vector(t, b, s, ahead);
  HUNCH_MARK(3);
}

}  // namespace hunch::cuda
