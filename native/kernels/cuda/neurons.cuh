// An MLP by neuron: a neuron's gate, up and down rows lie together, and only those of the neurons that were chosen are read. A block computes those of its own
// that were chosen; its part of the result is a row of floats, and a stage of its own adds the rows, always in the same order.
#pragma once

#include "segments.cuh"

namespace hunch::cuda {

// sums[] += gates[i] * down row i, i < count. Warps are divided into groups: a group's warps lie side by side over the columns and take a tile together.
template <Format F>
__device__ __noinline__ void add_down(const Token& t, Block& b, const Stage& s, uint32_t slot, uint32_t parity, uint32_t count, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const Matrix& m = s.down;
  const Tiles& tiles = s.down_tiles;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, pieces = m.pieces, parts = tiles.parts, chunks = (pieces + 31) / 32;
  uint32_t wide = 1;  // warps of a group
  while (wide < kWarps && wide < chunks) wide *= 2;
  const uint32_t column = warp % wide, group = warp / wide, groups = kWarps / wide;
  constexpr uint32_t columns = piece_columns(F), kPieces = kMaxWidth / columns > kThreads ? kMaxWidth / columns / kThreads : 1;  // that a thread may have
  float acc[kPieces][columns];
#pragma unroll
  for (uint32_t k = 0; k < kPieces; k++)
#pragma unroll
    for (uint32_t i = 0; i < columns; i++) acc[k][i] = 0;
  const uint8_t* ring = shared_memory() + t.at_ring;
#pragma unroll 1
  for (Turn turn(t, slot, parity, group, parts); turn.tile < total; turn.step(t, groups, parts)) {
    if (!pass(&b.full[turn.slot], turn.parity, &b.broken)) return;
    const uint8_t* tile = ring + turn.slot * t.slot_bytes;
    const uint32_t first = turn.part * tiles.part_pieces, here = min(tiles.part_pieces, pieces - first), row0 = turn.group * tiles.rows, rows = min(tiles.rows, count - row0);
#pragma unroll 1
    for (uint32_t r = 0; r < rows; r++) {
      const float h = b.gates[row0 + r];
      const uint8_t* row = tile + r * tiles.row_bytes;
#pragma unroll
      for (uint32_t k = 0; k < kPieces; k++) {
        const uint32_t p = (k * wide + column) * 32 + lane - first;  // in this part; wraps where it lies before
        if (p < here) {
          Loaded<F> piece;
          piece.load(row + plane_at<F>(p), plane_step(p, here), row + side_at<F>(p, here));
          piece.add(h, acc[k]);
        }
      }
    }
    release(b, turn.slot, groups);
  }
  // The groups' sums, in order.
  float* sums = reinterpret_cast<float*>(shared_memory() + t.at_acc);
#pragma unroll 1
  for (uint32_t g = 0; g < groups; g++) {
    sync();
    if (group != g) continue;
#pragma unroll
    for (uint32_t k = 0; k < kPieces; k++) {
      const uint32_t p = (k * wide + column) * 32 + lane;
      if (p < pieces)
#pragma unroll
        for (uint32_t i = 0; i < columns; i++) {
          float& to = sums[i * pieces + p];
          to = g ? to + acc[k][i] : acc[k][i];
        }
    }
  }
  sync();
}

// Behind ready() and this stage's segments.
__device__ __noinline__ void run_neurons(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const bool all = s.neurons == 2, zeros = s.act == Act::relu || s.act == Act::drelu;
  const auto bias = [&](const Order& o, uint32_t i) { return s.up_bias ? s.up_bias[o.begin + (all ? i : b.own[i])] : 0.0f; };
  const float threshold = s.thresholds[0];
  if (s.neurons == 1 && s.gated) {
    multiply(t, b, s.up, s.up_tiles, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = o.first + threadIdx.x; i < o.first + o.count; i += kThreads) b.gates[i] = gated(s.act, b.gates[i], sum_of(b, i - o.first, parts) + bias(o, i));
    });
  } else if (s.neurons == 1) {
    for (uint32_t i = threadIdx.x; i < b.own_count; i += kThreads) b.gates[i] = activate(s.act, b.gates[i]);
    sync();
  } else if (s.gated) {
    multiply(t, b, s.first, s.first_tiles, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = threadIdx.x; i < o.count / 2; i += kThreads) {
        const uint32_t j = o.first / 2 + i;
        const float gate = sum_of(b, 2 * i, parts), up = sum_of(b, 2 * i + 1, parts) + bias(o, j);
        b.gates[j] = all || (zeros ? gate : fabsf(activate(s.act, gate))) > threshold ? gated(s.act, gate, up) : 0;
      }
    });
  } else {
    multiply(t, b, s.first, s.first_tiles, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = o.first + threadIdx.x; i < o.first + o.count; i += kThreads) {
        const float up = sum_of(b, i - o.first, parts) + bias(o, i), h = activate(s.act, up);
        b.gates[i] = all || (s.act == Act::relu ? up : fabsf(h)) > threshold ? h : 0;
      }
    });
  }
  const Order o = take_order(b);
  const uint32_t count = o.count;
  if (threadIdx.x == 0 && s.neurons_counted && count) atomicAdd(s.neurons_counted, (unsigned long long)count);
  if (count > 0) with_format(s.down.format, [&](auto tag) { add_down<decltype(tag)::value>(t, b, s, o.slot, o.parity, count, o.total); });
  else sync();
  finish_order(b);
  const float* sums = reinterpret_cast<const float*>(shared_memory() + t.at_acc);
  const uint32_t columns = piece_columns(s.down.format), pieces = s.down.pieces;
  float* part = s.partials + (size_t)blockIdx.x * t.width;
#pragma unroll 4
  for (uint32_t i = threadIdx.x; i < t.width; i += kThreads) part[i] = count > 0 ? sums[i % columns * pieces + i / columns] : 0;
}

// Behind ready(): the blocks' parts become one vector.
__device__ __noinline__ void sum_partials(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t n = t.width / 4, lane = threadIdx.x, count = s.sum_partials;
  const uint2 mine = share(n, blockIdx.x, gridDim.x);
  const float4* parts = reinterpret_cast<const float4*>(s.partials);
  float4* held = reinterpret_cast<float4*>(b.sums);
  static_assert(kSums >= kThreads * 4);
#pragma unroll 1
  for (uint32_t first = mine.x; first < mine.y; first += kThreads) {
    const uint32_t here = min(kThreads, mine.y - first);
    uint32_t wide = 1;  // columns side by side; the other threads share the parts
    while (wide < here) wide *= 2;
    const uint32_t column = lane & (wide - 1), step = kThreads / wide;
    float4 sum = {0, 0, 0, 0};
    if (column < here) {
#pragma unroll 8
      for (uint32_t p = lane / wide; p < count; p += step) {
        const float4 v = parts[(size_t)p * n + first + column];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
    }
    held[lane] = sum;
    sync();
    if (lane < here) {
      float4 v = held[lane];
#pragma unroll 8
      for (uint32_t p = 1; p < step; p++) {
        const float4 w = held[p * wide + lane];
        v.x += w.x, v.y += w.y, v.z += w.z, v.w += w.w;
      }
      const uint32_t at = first + lane;
      if (s.down_bias) {
        const float4 w = load4(s.down_bias, at * 4);
        v.x += w.x, v.y += w.y, v.z += w.z, v.w += w.w;
      }
      float4& to = reinterpret_cast<float4*>(s.x_out)[at];
      if (s.into_residual) v.x += to.x, v.y += to.y, v.z += to.z, v.w += to.w;
      to = v;
    }
    sync();
  }
}

}  // namespace hunch::cuda
