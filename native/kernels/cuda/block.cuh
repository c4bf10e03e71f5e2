// What a block keeps in shared memory while it walks through a token.
#pragma once

#include "formats.cuh"
#include "host_turn.cuh"

namespace hunch::cuda {

// What the computing warps do next with a matrix; the warp that asks for it works this out ahead of them.
struct alignas(16) Order {
  uint32_t begin;         // of the block's rows
  uint32_t first, count;  // rows [first, first + count) of those, or of the list of those
  uint32_t total;         // tiles
  uint32_t slot, parity;  // of the first one
  uint32_t last;          // no more rows follow
};

struct Block {
  Stage stage[kStageSlots];   // stage i lies in slot i % kStageSlots
  Token token;                // the launch's parameters: through a pointer they would come from memory
  Gate stage_full[kStageSlots], stage_empty[kStageSlots];
  Gate full[kMaxSlots], empty[kMaxSlots];  // of the ring
  Gate order_full[kOrders], order_empty[kOrders];
  Order order[kOrders];
  uint32_t order_at[kWarps];               // which order each warp is at, counted from the token's first
  Gate heads_known, list_known;            // what the warp that asks must know before it asks for rows by a list
  alignas(16) float sums[kSums];  // of rows, by part of the columns
  alignas(16) float scratch[64];
  uint32_t kept[1 + kMaxHeads];  // heads that this layer computes: count, list
  uint16_t own[kOwn];            // neurons that were chosen, as numbers among those that belong to the block
  float gates[kOwn];             // their gates, then what goes into the down projection
  uint32_t own_count;
  uint32_t before[kWarps];
  uint32_t ids[kWarps];
  uint32_t target;            // of the barrier
  int at[kWarps], count;      // the stage each warp is at, of how many
  int position, known, broken, with_logits;
};

// Which rows of a matrix: row i is begin + i, or as a list says, or counts only the rows of heads that are kept.
struct Rows {
  uint32_t begin = 0;
  const uint16_t* own = nullptr;   // not null: row begin + own[i]; `paired`: the two rows of each
  const uint32_t* heads = nullptr;  // not null: a list of heads
  uint32_t head_width = 0, paired = 0;
  uint32_t first = 0;               // row i is what row i + first would be
  __device__ uint32_t operator()(uint32_t i) const {
    i += first;
    if (heads) {
      const uint32_t v = begin + i, h = divided(v, head_width);
      return heads[h] * head_width + (v - h * head_width);
    }
    if (paired) return (begin + (own ? own[i / 2] : i / 2)) * 2 + i % 2;
    return begin + (own ? own[i] : i);
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

// The stage that runs. Looked up again behind a call, since what is kept over one is kept in memory.
__device__ inline const Stage& stage_of(const Block& b) { return b.stage[(uint32_t)b.at[threadIdx.x / 32] % kStageSlots]; }
// A warp's own number goes up by one.
template <class T>
__device__ inline void step_on(T (&number)[kWarps]) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) number[threadIdx.x / 32]++;
  __syncwarp();
}

// The block has done its part of a stage. The last one has no barrier behind it.
__device__ inline void arrive(const Token& t, Block& b) {
  sync();
  if (threadIdx.x == 0) {
    const int i = b.at[0];
    if (i + 1 < b.count) {
      asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(t.barrier) : "memory");
      b.target += gridDim.x;
    }
    arrive_gate(&b.stage_empty[i % kStageSlots]);
  }
  step_on(b.at);
}

// A thread's first columns of a norm's weights, which are there before the vector is.
struct NormAhead {
  float4 weight[kHeld];
};
__device__ void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead);
__device__ void choose_heads(const Token& t, Block& b, const Stage& s);
__device__ inline NormAhead norm_ahead(const Stage& s) {
  NormAhead a;
  const float4* const from = reinterpret_cast<const float4*>(s.norm.weight) + threadIdx.x;
  const uint32_t n = s.norm.weight ? s.n / 4 : 0;
#pragma unroll
  for (uint32_t i = 0; i < kHeld; i++) {
    a.weight[i] = {0, 0, 0, 0};
    if (threadIdx.x + i * kThreads < n) a.weight[i] = __ldg(from + i * kThreads);
  }
  return a;
}
// Scores that wait for the barrier use the vector's place before the vector does.
__device__ inline bool late_scores(const Stage& s) { return s.scores.matrix.data && !s.scores.early; }

// Parts that attention cuts a layer's positions into: a function of the position alone, so that every block knows.
__device__ inline uint32_t attention_splits(const Token& t, const Stage& s, uint32_t position) {
  const uint32_t seen = s.window && position + 1 > s.window ? s.window : position + 1;
  return max(1u, min(s.most_splits, (seen + 63) / 64));
}

// Where a block attends: positions [begin, end) of one KV head.
struct Unit {
  uint32_t kv, split, begin, end;
  bool last;  // it has the newest position
};
__device__ inline Unit unit_of(const Stage& s, uint32_t u, uint32_t splits, uint32_t position) {
  const uint32_t kv = divided(u, splits), split = u - kv * splits;
  const uint32_t from = s.window && position + 1 > s.window ? position + 1 - s.window : 0, seen = position + 1 - from;
  return {kv, split, from + divided(seen * split, splits), from + divided(seen * (split + 1), splits), split + 1 == splits};
}

// A KV head whose queries are all skipped is not read; its newest position joins the cache all the same.
__device__ inline bool is_skipped(const Token& t, const Block& b, const Stage& s, const Unit& u) {
  if (!s.kept_heads || u.last) return false;
  for (uint32_t i = 0; i < b.kept[0]; i++)
    if (divided(b.kept[1 + i], t.group) == u.kv) return false;
  return true;
}

// The barrier behind the stage before. False: the kernel is ending.
__device__ inline bool open_stage(const Token& t, Block& b, const Stage& s) {
  HUNCH_MARK(1);
  if (!wait_for(t.barrier, b.target, t.spin_limit, &b.broken)) return false;
  HUNCH_MARK(2);
  if (s.host.post) post_to_host(t, s.host, b.position);
  if (s.choose_heads == 1) choose_heads(t, b, s);
  return true;
}

}  // namespace hunch::cuda
