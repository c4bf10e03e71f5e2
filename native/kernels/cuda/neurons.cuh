// An MLP by neuron: a neuron's gate, up and down rows lie together, and only those of the neurons that were chosen are read. A block computes its share of the list
// and adds its part of the result to fixed-point sums: integers, so that the order in which blocks come does not matter.
#pragma once

#include "segments.cuh"

namespace hunch::cuda {

template <Format F>
__device__ inline void add_down(const Token& t, Block& b, const Matrix& m, uint32_t count, const float* h) {
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, chunks = (m.pieces + 31) / 32;
  uint32_t parts = 1;  // warps side by side over the columns; the others share the neurons
  while (parts < kWarps && parts < chunks) parts *= 2;
  const uint32_t part = warp % parts, group = warp / parts, groups = kWarps / parts;
  for (uint32_t chunk0 = 0; chunk0 < chunks; chunk0 += parts) {
    const uint32_t p = (chunk0 + part) * 32 + lane;
    const bool mine = p < m.pieces;
    float acc[piece_columns(F)];
#pragma unroll
    for (uint32_t i = 0; i < piece_columns(F); i++) acc[i] = 0;
    if (mine) {
      const uint32_t at = plane_at<F>(p), step = plane_step(p, m.pieces), side = side_at<F>(p, m.pieces);
      // Rows are loaded several at a time before any is used.
      constexpr uint32_t kRows = planes(F) == 1 ? 8 : 4;
#pragma unroll 1
      for (uint32_t i = group; i < count; i += groups * kRows) {
        Loaded<F> row[kRows];
#pragma unroll
        for (uint32_t k = 0; k < kRows; k++) {
          const uint8_t* from = row_of(m, b.ids[min(i + k * groups, count - 1)]);
          row[k].load(from + at, step, from + side);
        }
#pragma unroll
        for (uint32_t k = 0; k < kRows; k++)
          if (i + k * groups < count) row[k].add(h[i + k * groups], acc);
      }
    }
    // The groups' sums, in order, through the ring's memory, which is idle: [kWarps][16][32] floats at a time.
    float* part_sums = reinterpret_cast<float*>(shared_memory() + t.at_ring);
    float* sums = reinterpret_cast<float*>(shared_memory() + t.at_acc);
    constexpr uint32_t kAtOnce = piece_columns(F) < 16 ? piece_columns(F) : 16;
#pragma unroll
    for (uint32_t i0 = 0; i0 < piece_columns(F); i0 += kAtOnce) {
#pragma unroll
      for (uint32_t i = 0; i < kAtOnce; i++) part_sums[(warp * kAtOnce + i) * 32 + lane] = acc[i0 + i];
      __syncthreads();
#pragma unroll 1
      for (uint32_t j = threadIdx.x; j < parts * kAtOnce * 32; j += kThreads) {
        const uint32_t i = j / 32 % kAtOnce, in_part = j / 32 / kAtOnce, piece = (chunk0 + in_part) * 32 + lane;
        if (piece >= m.pieces) continue;
        float sum = 0;
#pragma unroll 1
        for (uint32_t g = 0; g < groups; g++) sum += part_sums[((g * parts + in_part) * kAtOnce + i) * 32 + lane];
        sums[(i0 + i) * m.pieces + piece] += sum;
      }
      __syncthreads();
    }
  }
}

// wait: ready() was not called yet, because the list was there before: rows are on their way while the stage before ends.
__device__ __noinline__ void run_neurons(const Token& t, Block& b, const Stage& s, bool wait) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t lane = threadIdx.x % 32, blocks = gridDim.x;
  float* sums = reinterpret_cast<float*>(shared_memory() + t.at_acc);
  const bool all = s.neurons == 2;
  uint32_t total = s.down.rows;
  if (!all) {  // where each block's list begins
    if (threadIdx.x < 32) {
      uint32_t sum = 0;
      for (uint32_t i = 0; i < blocks; i += 32) {
        const uint32_t n = i + lane < blocks ? s.lists.count[i + lane] : 0;
        uint32_t upto = n;
        for (int o = 1; o < 32; o <<= 1) {
          const uint32_t v = __shfl_up_sync(~0u, upto, o);
          if (lane >= (uint32_t)o) upto += v;
        }
        if (i + lane < blocks) b.before[i + lane] = sum + upto - n;
        sum += __shfl_sync(~0u, upto, 31);
      }
      if (lane == 0) b.before[blocks] = sum;
    }
    __syncthreads();
    total = b.before[blocks];
  }
  if (threadIdx.x == 0 && blockIdx.x == 0 && s.neurons_counted) *s.neurons_counted += total;
  const uint32_t per_piece = piece_columns(s.down.format);
  for (uint32_t i = threadIdx.x; i < s.down.pieces * per_piece; i += kThreads) sums[i] = 0;
  const uint2 mine = share(total, blockIdx.x, blocks);
  bool any = false;
#pragma unroll 1
  for (uint32_t begin = mine.x; begin < mine.y; begin += kNeuronBatch) {
    const uint32_t count = min(mine.y - begin, kNeuronBatch);
    any = true;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
      if (all) {
        b.ids[i] = begin + i;
        continue;
      }
      uint32_t low = 0, high = blocks;  // the last block whose list begins at or before
#pragma unroll 1
      while (high - low > 1) {
        const uint32_t mid = (low + high) / 2;
        if (b.before[mid] <= begin + i) low = mid;
        else high = mid;
      }
      const size_t at = (size_t)low * s.lists.capacity + (begin + i - b.before[low]);
      b.ids[i] = s.lists.item[at];
      if (s.neurons == 1) b.gates[i] = s.lists.value[at];
    }
    __syncthreads();
    const bool pair = s.gated && s.neurons != 1;
    uint32_t parts = 0;
    if (pair || !(s.neurons == 1 && !s.gated)) {
      const Rows rows{0, b.ids, pair, 0};
      if (wait) {
        const uint32_t lines = (s.down.pieces * (16 * planes(s.down.format) + side_bytes(s.down.format)) + 127) / 128;
#pragma unroll 1
        for (uint32_t i = threadIdx.x; i < count * lines; i += kThreads) prefetch_l2(row_of(s.down, b.ids[i / lines]) + i % lines * 128);
      }
      parts = multiply(t, b, s, s.neurons == 1 ? s.up : s.first, rows, pair ? count * 2 : count, nullptr, wait);
      wait = false;
      __syncthreads();
    }
    for (uint32_t i = threadIdx.x; i < count; i += kThreads) {
      const float bias = s.up_bias ? s.up_bias[b.ids[i]] : 0;
      float h;
      if (s.gated) {
        const float gate = pair ? sum_of(b, 2 * i, parts) : b.gates[i], up = sum_of(b, pair ? 2 * i + 1 : i, parts) + bias;
        const float through = activate(s.act, gate);
        h = s.neurons == 2 || (s.act == Act::relu || s.act == Act::drelu ? gate : fabsf(through)) > s.thresholds[0] ? gated(s.act, gate, up) : 0;
      } else {
        const float up = s.neurons == 1 ? b.gates[i] : sum_of(b, i, parts) + bias;
        h = activate(s.act, up);
        if (s.neurons == 3 && !((s.act == Act::relu ? up : fabsf(h)) > s.thresholds[0])) h = 0;
      }
      b.gates[i] = h;
    }
    __syncthreads();
    with_format(s.down.format, [&](auto tag) { add_down<decltype(tag)::value>(t, b, s.down, count, b.gates); });
  }
  if (wait) ready(t, b, s);
  if (!any && blockIdx.x != 0) return;
  __syncthreads();
  for (uint32_t i = threadIdx.x; i < t.width; i += kThreads) {
    const float v = sums[i % per_piece * s.down.pieces + i / per_piece] + (blockIdx.x == 0 && s.down_bias ? s.down_bias[i] : 0);
    atomicAdd(reinterpret_cast<unsigned long long*>(s.sums + i), (unsigned long long)__float2ll_rn(v * 4294967296.0f));
  }
  __syncthreads();
}

}  // namespace hunch::cuda
