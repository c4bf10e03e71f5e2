// A stage's matrices: each block takes its share of every one's rows, and what their sums become.
#pragma once

#include "multiply.cuh"

namespace hunch::cuda {

__device__ inline float sum_of(const Block& b, uint32_t i, uint32_t parts) {
  float v = 0;
#pragma unroll 1
  for (uint32_t p = 0; p < parts; p++) v += b.sums[i * parts + p];
  return v;
}

// Appends, in order, what `keep` says of rows [0, count) to the block's list: a vote and a prefix sum, no atomics, so that the order never varies.
template <class Keep>
__device__ inline void append(Block& b, const Lists& to, uint32_t count, Keep&& keep) {
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t* item = to.item + (size_t)blockIdx.x * to.capacity;
  float* value = to.value ? to.value + (size_t)blockIdx.x * to.capacity : nullptr;
#pragma unroll 1
  for (uint32_t begin = 0; begin < count; begin += kThreads) {
    const uint32_t i = begin + threadIdx.x;
    uint32_t id = 0;
    float v = 0;
    const bool kept = i < count && keep(i, id, v);
    const uint32_t votes = __ballot_sync(~0u, kept);
    if (lane == 0) b.before[warp] = __popc(votes);
    __syncthreads();
    uint32_t at = b.list_count;
#pragma unroll 1
    for (uint32_t w = 0; w < warp; w++) at += b.before[w];
    at += __popc(votes & ((1u << lane) - 1));
    if (kept && at < to.capacity) {
      item[at] = id;
      if (value) value[at] = v;
    }
    __syncthreads();
    if (threadIdx.x == 0)
#pragma unroll 1
      for (uint32_t w = 0; w < kWarps; w++) b.list_count += b.before[w];
    __syncthreads();
  }
}

__device__ inline void epilogue(const Token& t, Block& b, const Stage& s, const Segment& g, uint32_t begin, uint32_t count, uint32_t parts) {
  switch (g.epilogue) {
    case Epilogue::gate:
#pragma unroll 1
      for (uint32_t i = threadIdx.x; i < count / 2; i += kThreads) {
        const float gate = sum_of(b, 2 * i, parts), up = sum_of(b, 2 * i + 1, parts) + (g.bias ? g.bias[begin / 2 + i] : 0);
        g.out[begin / 2 + i] = gated(s.act, gate, up);
      }
      break;
    case Epilogue::select:
      append(b, s.lists, count, [&](uint32_t i, uint32_t& id, float& v) {
        id = begin + i;
        v = sum_of(b, i, parts) + (s.gated || !s.up_bias ? 0 : s.up_bias[id]);
        return (s.act == Act::relu || s.act == Act::drelu ? v : fabsf(activate(s.act, v))) > s.thresholds[0];
      });
      break;
    case Epilogue::score:
      append(b, s.lists, count, [&](uint32_t i, uint32_t& id, float&) {
        id = begin + i;
        return sum_of(b, i, parts) + (g.bias ? g.bias[id] : 0) > s.thresholds[1];
      });
      break;
    default:
#pragma unroll 1
      for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
        uint32_t r = begin + i;
        if (g.by_heads) r = b.kept[1 + r / t.head_width] * t.head_width + r % t.head_width;
        const float v = sum_of(b, i, parts) + (g.bias ? g.bias[r] : 0);
        if (g.epilogue == Epilogue::add) g.out[r] += v;
        else g.out[r] = g.epilogue == Epilogue::activate ? activate(s.act, v) : v;
      }
  }
}

// The block's best logit and the sum of exponentials, over passes.
struct Best {
  float max = -INFINITY, sum = 0;
  int id = 0x7FFFFFFF;
  __device__ void add(float v, int i) {
    if (v > max || (v == max && i < id)) {
      sum = v > max ? sum * __expf(max - v) + 1 : sum + 1;
      max = v, id = i;
    } else {
      sum += __expf(v - max);
    }
  }
  __device__ void join(float m, float s, int i) {
    if (m == -INFINITY) return;
    if (max == -INFINITY) {
      max = m, sum = s, id = i;
      return;
    }
    const float top = fmaxf(max, m);
    sum = sum * __expf(max - top) + s * __expf(m - top);
    id = m > max ? i : m == max ? min(i, id) : id;
    max = top;
  }
};

__device__ inline void logits_end(const Token& t, Block& b, Best best) {
#pragma unroll 1
  for (int o = 16; o; o >>= 1) {
    const float m = __shfl_xor_sync(~0u, best.max, o), s = __shfl_xor_sync(~0u, best.sum, o);
    const int i = __shfl_xor_sync(~0u, best.id, o);
    best.join(m, s, i);
  }
  const uint32_t warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) b.scratch[warp] = best.max, b.scratch[16 + warp] = best.sum, b.ids[warp] = (uint32_t)best.id;
  __syncthreads();
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (uint32_t w = 1; w < kWarps; w++) best.join(b.scratch[w], b.scratch[16 + w], (int)b.ids[w]);
    t.best[blockIdx.x] = best.max, t.best_sum[blockIdx.x] = best.sum, t.best_id[blockIdx.x] = best.id;
  }
  __syncthreads();
}

// block, blocks: which of those that share the work; wait: ready() was not called yet.
__device__ __noinline__ void run_segments(const Token& t, Block& b, const Stage& s, uint32_t block, uint32_t blocks, bool wait) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  if (wait && s.choose_heads) {  // whose rows come is known only then
    ready(t, b, s);
    wait = false;
  }
#pragma unroll 1
  for (uint32_t i = 0; i < s.segments; i++) {
    const Segment& g = s.segment[i];
    const bool lists = g.epilogue == Epilogue::select || g.epilogue == Epilogue::score;
    if (lists) {
      if (threadIdx.x == 0) b.list_count = 0;
      __syncthreads();
    }
    const uint32_t unit = g.epilogue == Epilogue::gate ? 2 : 1;
    const uint32_t rows = g.by_heads ? b.kept[0] * t.head_width : g.matrix.rows;
    uint32_t turn = block + i * 37;  // what does not divide evenly falls to others each time
    while (turn >= blocks) turn -= blocks;
    uint2 mine = share(unit == 2 ? rows / 2 : rows, turn, blocks);
    mine.x *= unit, mine.y *= unit;
    // Ask for the rows of the segments behind the first, which the ring will not hold.
    if (wait && i == 0)
      for (uint32_t j = 1; j < s.segments; j++) {
        const Matrix& m = s.segment[j].matrix;
        if (m.pair) continue;
        uint32_t other = block + j * 37;
        while (other >= blocks) other -= blocks;
        const uint2 theirs = share(m.rows, other, blocks);
        const size_t bytes = min((size_t)(theirs.y - theirs.x) * m.stride, (size_t)131072);
#pragma unroll 1
        for (size_t at = threadIdx.x * 128; at < bytes; at += kThreads * 128) prefetch_l2(m.data + (size_t)theirs.x * m.stride + at);
      }
    Best best;
    Rows which{mine.x, g.by_heads ? b.kept + 1 : nullptr, 0, g.by_heads ? t.head_width : 0};
    const uint32_t* heads = s.source == Source::attention && s.kept_heads ? b.kept + 1 : nullptr;
    do {
      const uint32_t count = min(mine.y - which.begin, kSums);
      const uint32_t parts = multiply(t, b, s, g.matrix, which, count, heads, wait);
      wait = false;
      __syncthreads();
      HUNCH_MARK(4);
      if (g.epilogue == Epilogue::logits) {
#pragma unroll 1
        for (uint32_t r = threadIdx.x; r < count; r += kThreads) {
          const float v = sum_of(b, r, parts) + (g.bias ? g.bias[which.begin + r] : 0);
          g.out[which.begin + r] = v;
          best.add(v, (int)(which.begin + r));
        }
      } else {
        epilogue(t, b, s, g, which.begin, count, parts);
      }
      which.begin += count;
      __syncthreads();
      HUNCH_MARK(5);
    } while (which.begin < mine.y);
    if (g.epilogue == Epilogue::logits) logits_end(t, b, best);
    if (lists && threadIdx.x == 0) s.lists.count[blockIdx.x] = min(b.list_count, s.lists.capacity);
  }
}

}  // namespace hunch::cuda
