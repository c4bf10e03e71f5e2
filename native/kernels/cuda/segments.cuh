// A stage's matrices: each block takes its share of every one's rows, and what their sums become.
#pragma once

#include "multiply.cuh"

namespace hunch::cuda {

// Appends, in order, those of the block's neurons [first, first + count) that `keep` says to keep: a vote and a prefix sum, no atomics, so that the order never varies.
template <class Keep>
__device__ inline void append(Block& b, uint32_t first, uint32_t count, Keep&& keep) {
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 1
  for (uint32_t begin = 0; begin < count; begin += kThreads) {
    const uint32_t i = begin + threadIdx.x;
    float v = 0;
    const bool kept = i < count && keep(i, v);
    const uint32_t votes = __ballot_sync(~0u, kept);
    if (lane == 0) b.before[warp] = __popc(votes);
    sync();
    uint32_t at = b.own_count;
#pragma unroll 1
    for (uint32_t w = 0; w < warp; w++) at += b.before[w];
    at += __popc(votes & ((1u << lane) - 1));
    if (kept) b.own[at] = (uint16_t)(first + i), b.gates[at] = v;
    sync();
    if (threadIdx.x == kThreads - 1) b.own_count = at + kept;
    sync();
  }
}
__device__ inline void begin_list(Block& b) {
  if (threadIdx.x == 0) b.own_count = 0;
  sync();
}
__device__ inline void end_list(Block& b) {
  if (threadIdx.x == 0) arrive_gate(&b.list_known);
}

// The neurons of this block that a predictor names.
__device__ __noinline__ void run_scores(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const Scores& c = s.scores;
  short_vector(t, c.hidden, c.rank, c.relu);
  begin_list(b);
  const float threshold = s.thresholds[1];
  const auto matrix = [&]() -> const Matrix& { return c.matrix; };
  const auto tiles = [&]() -> const Tiles& { return c.tiles; };
  const auto choose = [&](const Order& o, uint32_t parts, float before) {
    append(b, o.first, o.count, [&](uint32_t i, float&) { return sum_of(b, i, parts) + (i < kThreads ? before : c.bias[o.begin + o.first + i]) > threshold; });
  };
  multiply(t, b, matrix, tiles, false, choose, [&](const Order& o) { return threadIdx.x < o.count ? c.bias[o.begin + o.first + threadIdx.x] : 0; });
  end_list(b);
}

// The neurons of this block whose gate lets enough through.
__device__ __noinline__ void run_gates(const Token& t, Block& b, const Stage& s, const Segment& g) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s), HUNCH_SHARED(g);
  begin_list(b);
  const bool zeros = s.act == Act::relu || s.act == Act::drelu;
  const float* bias = s.gated ? nullptr : s.up_bias;
  const float threshold = s.thresholds[0];
  const auto matrix = [&]() -> const Matrix& { return g.matrix; };
  const auto tiles = [&]() -> const Tiles& { return g.tiles; };
  const auto choose = [&](const Order& o, uint32_t parts, float before) {
    append(b, o.first, o.count, [&](uint32_t i, float& v) {
      v = sum_of(b, i, parts) + (i < kThreads ? before : bias ? bias[o.begin + o.first + i] : 0);
      return (zeros ? v : fabsf(activate(s.act, v))) > threshold;
    });
  };
  multiply(t, b, matrix, tiles, false, choose, [&](const Order& o) { return bias && threadIdx.x < o.count ? bias[o.begin + o.first + threadIdx.x] : 0; });
  end_list(b);
}

// What a thread's first sum is added to.
__device__ inline float added(const Segment& g, const Order& o) {
  const uint32_t r = o.begin + o.first + threadIdx.x;
  if (g.by_heads || g.epilogue == Epilogue::gate || threadIdx.x >= o.count) return 0;
  return (g.bias ? g.bias[r] : 0) + (g.epilogue == Epilogue::add ? g.out[r] : 0);
}
__device__ inline void epilogue(const Token& t, Block& b, const Stage& s, const Segment& g, const Order& o, uint32_t parts, float before) {
  const uint32_t begin = o.begin + o.first, count = o.count;
  if (g.epilogue == Epilogue::gate) {
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < count / 2; i += kThreads) {
      const float gate = sum_of(b, 2 * i, parts), up = sum_of(b, 2 * i + 1, parts) + (g.bias ? g.bias[begin / 2 + i] : 0);
      g.out[begin / 2 + i] = gated(s.act, gate, up);
    }
    return;
  }
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
    uint32_t r = begin + i;
    if (g.by_heads) {
      const uint32_t h = divided(r, t.head_width);
      r = b.kept[1 + h] * t.head_width + (r - h * t.head_width);
      before = g.bias ? g.bias[r] : 0;
    } else if (i >= kThreads) {
      before = (g.bias ? g.bias[r] : 0) + (g.epilogue == Epilogue::add ? g.out[r] : 0);
    }
    const float v = sum_of(b, i, parts) + before;
    g.out[r] = g.epilogue == Epilogue::activate ? activate(s.act, v) : v;
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
  // Over the warp.
  __device__ void join_lanes() {
#pragma unroll 1
    for (int o = 16; o; o >>= 1) {
      const float m = __shfl_xor_sync(~0u, max, o), s = __shfl_xor_sync(~0u, sum, o);
      const int i = __shfl_xor_sync(~0u, id, o);
      join(m, s, i);
    }
  }
};

// The output head: this block's rows, what is best among them, and the sum of exponentials.
__device__ __noinline__ void run_logits(const Token& t, Block& b, const Segment& g) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(g);
  Best best;
  multiply(t, b, [&]() -> const Matrix& { return g.matrix; }, [&]() -> const Tiles& { return g.tiles; }, false, [&](const Order& o, uint32_t parts, float) {
#pragma unroll 1
    for (uint32_t i = threadIdx.x; i < o.count; i += kThreads) {
      const uint32_t r = o.begin + o.first + i;
      const float v = sum_of(b, i, parts) + (g.bias ? g.bias[r] : 0);
      g.out[r] = v;
      best.add(v, (int)r);
    }
  });
  best.join_lanes();
  const uint32_t warp = threadIdx.x / 32;
  if (threadIdx.x % 32 == 0) b.scratch[warp] = best.max, b.scratch[kWarps + warp] = best.sum, b.ids[warp] = (uint32_t)best.id;
  sync();
  if (threadIdx.x == 0) {
#pragma unroll 1
    for (uint32_t w = 1; w < kWarps; w++) best.join(b.scratch[w], b.scratch[kWarps + w], (int)b.ids[w]);
    t.best[blockIdx.x] = best.max, t.best_sum[blockIdx.x] = best.sum, t.best_id[blockIdx.x] = best.id;
  }
  sync();
}

// Behind the vector.
__device__ __noinline__ void run_segments(const Token& t, Block& b) {
  HUNCH_SHARED(t), HUNCH_SHARED(b);
#pragma unroll 1
  for (uint32_t i = 0; i < stage_of(b).segments; i++) {
    const Epilogue e = stage_of(b).segment[i].epilogue;
    if (e == Epilogue::logits) {
      run_logits(t, b, stage_of(b).segment[i]);
    } else if (e == Epilogue::select) {
      run_gates(t, b, stage_of(b), stage_of(b).segment[i]);
    } else {
      const auto matrix = [&]() -> const Matrix& { return stage_of(b).segment[i].matrix; };
      const auto tiles = [&]() -> const Tiles& { return stage_of(b).segment[i].tiles; };
      const auto finish = [&](const Order& o, uint32_t parts, float before) { epilogue(t, b, stage_of(b), stage_of(b).segment[i], o, parts, before); };
      multiply(t, b, matrix, tiles, stage_of(b).source == Source::attention && stage_of(b).kept_heads, finish, [&](const Order& o) { return added(stage_of(b).segment[i], o); });
    }
  }
}

}  // namespace hunch::cuda
