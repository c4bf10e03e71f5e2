// An MLP by neuron: a neuron's gate, up and down rows lie together, and only those of the neurons that were chosen are read. A block computes those of its own
// that were chosen; its part of the result is a row of floats, and a stage of its own adds the rows, always in the same order.
#pragma once

#include "segments.cuh"

namespace hunch::cuda {

// A thread's eight columns of a row, whatever the format: a piece of a float type, a quarter of a quantised piece (four columns of each half).
template <Format F>
struct Eight {
  static constexpr uint32_t kIn = is_float(F) ? 1 : 4;  // of a piece
  // acc[] += h * what is in a row that begins at `row` and of which `here` pieces are there; number e of them.
  __device__ static void add(const uint8_t* row, uint32_t here, uint32_t e, float h, float (&acc)[8]) {
    const uint32_t p = e / kIn;
    if constexpr (is_float(F)) {
      Loaded<F> piece;
      piece.load(row + plane_at<F>(p), plane_step(p, here), nullptr);
      piece.add(h, acc);
    } else {
      const uint32_t q = e % kIn;
      const uint8_t *plane = row + plane_at<F>(p) + q * 4, *side = row + side_at<F>(p, here);
      const uint32_t w = *reinterpret_cast<const uint32_t*>(plane);
      const float d = h * half_bits(*reinterpret_cast<const uint16_t*>(side));
      if constexpr (planes(F) == 2) {
        const uint32_t v = *reinterpret_cast<const uint32_t*>(plane + plane_step(p, here));
        const float d1 = F == Format::bytes ? d : h * half_bits(*reinterpret_cast<const uint16_t*>(side + 2));
#pragma unroll
        for (int i = 0; i < 4; i++) acc[i] += d * (float)(int8_t)(w >> (8 * i)), acc[4 + i] += d1 * (float)(int8_t)(v >> (8 * i));
      } else {
        const float m = F == Format::nibbles ? -8.0f * d : h * half_bits(*reinterpret_cast<const uint16_t*>(side + 2));
        uint32_t low = 0, high = 0;
        if constexpr (F == Format::fives) {
          const uint32_t bits = *reinterpret_cast<const uint32_t*>(side + 4);
          low = bits >> (4 * q), high = bits >> (16 + 4 * q);
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
          acc[i] += d * (float)((w >> (8 * i) & 15) | (low >> i & 1) << 4) + m;
          acc[4 + i] += d * (float)((w >> (8 * i + 4) & 15) | (high >> i & 1) << 4) + m;
        }
      }
    }
  }
  // Where they lie: two runs of four columns.
  __device__ static uint32_t first(uint32_t e) { return is_float(F) ? e * 8 : e / 4 * 32 + e % 4 * 4; }
  __device__ static uint32_t second(uint32_t e) { return first(e) + (is_float(F) ? 4 : 16); }
};

// The block's part of the result: the sum of gates[i] * down row i, i < count. Every thread has columns of its own and goes through all tiles, so that nothing is
// added across threads.
template <Format F>
__device__ __noinline__ void add_down(const Token& t, Block& b, const Stage& s, uint32_t slot, uint32_t parity, uint32_t count, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  constexpr uint32_t kMine = kMaxWidth / 8 / kThreads;
  const Tiles& tiles = s.down_tiles;
  const uint32_t pieces = s.down.pieces, eights = t.width / 8, parts = tiles.parts;
  float acc[kMine][8];
#pragma unroll
  for (uint32_t k = 0; k < kMine; k++)
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) acc[k][i] = 0;
  const uint8_t* ring = shared_memory() + t.at_ring;
#pragma unroll 1
  for (Turn turn(t, slot, parity, 0, parts); turn.tile < total; turn.step(t, 1, parts)) {
    if (!pass(&b.full[turn.slot], turn.parity, &b.broken)) return;
    const uint32_t first = turn.part * tiles.part_pieces, here = min(tiles.part_pieces, pieces - first), row0 = turn.group * tiles.rows, rows = min(tiles.rows, count - row0);
    const uint8_t* row = ring + turn.slot * t.slot_bytes;
#pragma unroll 1
    for (uint32_t r = 0; r < rows; r++, row += tiles.row_bytes) {
      const float h = b.gates[row0 + r];
#pragma unroll
      for (uint32_t k = 0; k < kMine; k++) {
        if (k * kThreads >= eights) break;
        const uint32_t e = k * kThreads + threadIdx.x - first * Eight<F>::kIn;  // in this part; wraps where it lies before
        if (e < here * Eight<F>::kIn) Eight<F>::add(row, here, e, h, acc[k]);
      }
    }
    release(b, turn.slot, 1);
  }
  float* const part = s.partials + (size_t)blockIdx.x * t.width;
#pragma unroll
  for (uint32_t k = 0; k < kMine; k++) {
    const uint32_t e = k * kThreads + threadIdx.x;
    if (e >= eights) break;
    *reinterpret_cast<float4*>(part + Eight<F>::first(e)) = {acc[k][0], acc[k][1], acc[k][2], acc[k][3]};
    *reinterpret_cast<float4*>(part + Eight<F>::second(e)) = {acc[k][4], acc[k][5], acc[k][6], acc[k][7]};
  }
}

// Behind ready() and this stage's segments.
__device__ __noinline__ void run_neurons(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const bool all = s.neurons == 2, zeros = s.act == Act::relu || s.act == Act::drelu;
  const auto bias = [&](const Order& o, uint32_t i) { return s.up_bias ? s.up_bias[o.begin + (all ? i : b.own[i])] : 0.0f; };
  const float threshold = s.thresholds[0];
  if (s.neurons == 1 && s.gated) {
    multiply(t, b, [&]() -> const Matrix& { return s.up; }, [&]() -> const Tiles& { return s.up_tiles; }, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = o.first + threadIdx.x; i < o.first + o.count; i += kThreads) b.gates[i] = gated(s.act, b.gates[i], sum_of(b, i - o.first, parts) + bias(o, i));
    });
  } else if (s.neurons == 1) {
    for (uint32_t i = threadIdx.x; i < b.own_count; i += kThreads) b.gates[i] = activate(s.act, b.gates[i]);
    sync();
  } else if (s.gated) {
    multiply(t, b, [&]() -> const Matrix& { return s.first; }, [&]() -> const Tiles& { return s.first_tiles; }, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = threadIdx.x; i < o.count / 2; i += kThreads) {
        const uint32_t j = o.first / 2 + i;
        const float gate = sum_of(b, 2 * i, parts), up = sum_of(b, 2 * i + 1, parts) + bias(o, j);
        b.gates[j] = all || (zeros ? gate : fabsf(activate(s.act, gate))) > threshold ? gated(s.act, gate, up) : 0;
      }
    });
  } else {
    multiply(t, b, [&]() -> const Matrix& { return s.first; }, [&]() -> const Tiles& { return s.first_tiles; }, false, [&](const Order& o, uint32_t parts, float) {
      for (uint32_t i = o.first + threadIdx.x; i < o.first + o.count; i += kThreads) {
        const float up = sum_of(b, i - o.first, parts) + bias(o, i), h = activate(s.act, up);
        b.gates[i] = all || (s.act == Act::relu ? up : fabsf(h)) > threshold ? h : 0;
      }
    });
  }
  if (!take_order(b)) return;
  const Order o = order_of(b);
  const uint32_t count = o.count;
  if (threadIdx.x == 0 && s.neurons_counted && count) atomicAdd(s.neurons_counted, (unsigned long long)count);
  with_format(s.down.format, [&](auto tag) { add_down<decltype(tag)::value>(t, b, s, o.slot, o.parity, count, o.total); });
  sync();
  leave_order(b);
}

// Behind the barrier: the blocks' parts become one vector. A block has a share of the columns; its threads lie `wide` columns side by side and share the parts.
__device__ __noinline__ void sum_partials(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  constexpr uint32_t kTogether = 8;  // parts of a thread that are on their way at once
  const uint32_t n = t.width / 4, lane = threadIdx.x, count = s.sum_partials;
  const uint2 mine = share(n, blockIdx.x, gridDim.x);
  const float4* parts = reinterpret_cast<const float4*>(s.partials);
  float4* held = reinterpret_cast<float4*>(b.sums);
  static_assert(kSums >= kThreads * 4);
#pragma unroll 1
  for (uint32_t first = mine.x; first < mine.y; first += kThreads) {
    const uint32_t here = min(kThreads, mine.y - first), wide = power_above(here), column = lane & (wide - 1), step = kThreads / wide, at = first + column;
    float4 before = {0, 0, 0, 0}, sum = {0, 0, 0, 0};
    float4& to = reinterpret_cast<float4*>(s.x_out)[first + min(lane, here - 1)];
    if (lane < here) {
      if (s.into_residual) before = to;
      if (s.down_bias) {
        const float4 w = load4(s.down_bias, (first + lane) * 4);
        before.x += w.x, before.y += w.y, before.z += w.z, before.w += w.w;
      }
    }
#pragma unroll 1
    for (uint32_t p0 = lane / wide; p0 < count; p0 += kTogether * step) {
      float4 v[kTogether];
#pragma unroll
      for (uint32_t k = 0; k < kTogether; k++) {
        v[k] = {0, 0, 0, 0};
        if (p0 + k * step < count && column < here) v[k] = parts[(p0 + k * step) * n + at];
      }
#pragma unroll
      for (uint32_t k = 0; k < kTogether; k++) sum.x += v[k].x, sum.y += v[k].y, sum.z += v[k].z, sum.w += v[k].w;
    }
    __syncwarp();
#pragma unroll 1
    for (uint32_t o = wide; o < 32; o <<= 1) {
      sum.x += __shfl_xor_sync(~0u, sum.x, o), sum.y += __shfl_xor_sync(~0u, sum.y, o);
      sum.z += __shfl_xor_sync(~0u, sum.z, o), sum.w += __shfl_xor_sync(~0u, sum.w, o);
    }
    const uint32_t across = wide < 32 ? kWarps : step;  // sums of a column that are left
    if (wide >= 32) held[lane] = sum;
    else if (lane % 32 < wide) held[lane / 32 * wide + lane % 32] = sum;
    sync();
    if (lane < here) {
#pragma unroll 8
      for (uint32_t p = 0; p < across; p++) {
        const float4 w = held[p * wide + lane];
        before.x += w.x, before.y += w.y, before.z += w.z, before.w += w.w;
      }
      to = before;
    }
    sync();
  }
}

}  // namespace hunch::cuda
