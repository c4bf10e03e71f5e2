// Causal attention of a batch of tokens over the cache (FlashAttention-2, Dao 2023). The queries of all heads that share a KV head are rows of one product, so that
// keys and values are read once for them. A block has 64 such rows, a warp 16. Tiles of positions begin at multiples of their size, and a tile that a row does not see
// changes nothing of it: a token's result does not depend on the batch.
#pragma once

#include "prefill_tiles.cuh"

namespace hunch::cuda {

template <uint32_t W>  // a head's numbers, padded with zeros
__device__ inline void attend_rows(const AttendLaunch& t) {
  constexpr uint32_t kPositions = key_tile(W), kChunks = W / 8;
  const uint32_t thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const uint32_t group = t.heads / t.kv_heads, rows = t.tokens * group, hw = t.head_width, kv = blockIdx.y;
  const uint32_t row0 = (gridDim.x - 1 - blockIdx.x) * kQueryRows;  // the longest first
  const uint32_t first_token = row0 / group, last_token = min(row0 + kQueryRows - 1, rows - 1) / group;
  const uint32_t end = t.position + last_token + 1;
  const uint32_t begin = t.window && t.position + first_token + 1 > t.window ? t.position + first_token + 1 - t.window : 0;
  const uint32_t queries = (uint32_t)__cvta_generic_to_shared(shared_memory()), keys = queries + kQueryRows * W * 2, values = keys + kPositions * W * 2;
  const uint16_t *q = t.queries + (size_t)kv * rows * hw, *k = t.keys + (size_t)kv * t.context * hw, *v = t.values + (size_t)kv * t.context * hw;

  const auto fetch_rows = [&](uint32_t to, const uint16_t* from, uint32_t first, uint32_t count, uint32_t limit) {
#pragma unroll 1
    for (uint32_t i = thread; i < count * kChunks; i += kPrefillThreads) {
      const uint32_t row = i / kChunks, chunk = i % kChunks;
      const bool there = first + row < limit && chunk * 8 < hw;
      fetch(to + wide_place(row, chunk, kChunks), there ? from + (size_t)(first + row) * hw + chunk * 8 : from, there);
    }
    fetched_group();
  };
  fetch_rows(queries, q, row0, kQueryRows, rows);

  float out[W / 8][4], top[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
#pragma unroll
  for (uint32_t j = 0; j < W / 8; j++)
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) out[j][i] = 0;
  // What this thread's two rows see: positions [from, upto].
  uint32_t from[2], upto[2];
#pragma unroll
  for (uint32_t h = 0; h < 2; h++) {
    const uint32_t row = min(row0 + warp * 16 + sum_row(lane, 2 * h), rows - 1);
    upto[h] = t.position + row / group;
    from[h] = t.window && upto[h] + 1 > t.window ? upto[h] + 1 - t.window : 0;
  }
  const Spot a = spot_left(lane), b = spot_right(lane), c = spot_turned(lane);

#pragma unroll 1
  for (uint32_t tile = begin / kPositions * kPositions; tile < end; tile += kPositions) {
    __syncthreads();  // the tile before has been read
    fetch_rows(keys, k, tile, kPositions, end);
    fetch_rows(values, v, tile, kPositions, end);
    await<1>();
    __syncthreads();
    float s[kPositions / 8][4];
#pragma unroll
    for (uint32_t j = 0; j < kPositions / 8; j++)
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) s[j][i] = 0;
#pragma unroll
    for (uint32_t d = 0; d < W / 16; d++) {
      uint32_t fa[4];
      load_tiles(fa, queries + wide_place(warp * 16 + a.row, d * 2 + a.chunk, kChunks));
#pragma unroll
      for (uint32_t j = 0; j < kPositions / 16; j++) {
        uint32_t fb[4];
        load_tiles(fb, keys + wide_place(j * 16 + b.row, d * 2 + b.chunk, kChunks));
        multiply_add(s[2 * j], fa, fb[0], fb[1]);
        multiply_add(s[2 * j + 1], fa, fb[2], fb[3]);
      }
    }
#pragma unroll
    for (uint32_t h = 0; h < 2; h++) {
      float most = top[h];
#pragma unroll
      for (uint32_t j = 0; j < kPositions / 8; j++)
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
          const uint32_t p = tile + j * 8 + sum_column(lane, i);
          float& x = s[j][2 * h + i];
          if (p < from[h] || p > upto[h]) x = -INFINITY;
          most = fmaxf(most, x);
        }
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      const float base = most == -INFINITY ? 0 : most, keep = exp2f(top[h] - base);
      top[h] = most;
      float part = 0;
#pragma unroll
      for (uint32_t j = 0; j < kPositions / 8; j++)
#pragma unroll
        for (uint32_t i = 0; i < 2; i++) {
          float& x = s[j][2 * h + i];
          x = exp2f(x - base);
          part += x;
        }
      sum[h] = sum[h] * keep + part;
#pragma unroll
      for (uint32_t j = 0; j < W / 8; j++) out[j][2 * h] *= keep, out[j][2 * h + 1] *= keep;
    }
    await<0>();
    __syncthreads();
#pragma unroll
    for (uint32_t j = 0; j < kPositions / 16; j++) {
      const uint32_t fa[4] = {two_halves(s[2 * j][0], s[2 * j][1]), two_halves(s[2 * j][2], s[2 * j][3]), two_halves(s[2 * j + 1][0], s[2 * j + 1][1]),
                              two_halves(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
      for (uint32_t d = 0; d < W / 16; d++) {
        uint32_t fb[4];
        load_turned(fb, values + wide_place(j * 16 + c.row, d * 2 + c.chunk, kChunks));
        multiply_add(out[2 * d], fa, fb[0], fb[1]);
        multiply_add(out[2 * d + 1], fa, fb[2], fb[3]);
      }
    }
  }
#pragma unroll
  for (uint32_t h = 0; h < 2; h++) {
    float total = sum[h];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    const float inverse = 1.0f / total;
    const uint32_t row = row0 + warp * 16 + sum_row(lane, 2 * h);
    if (row >= rows) continue;
    uint16_t* to = t.out + (size_t)(row / group) * t.heads * hw + (size_t)(kv * group + row % group) * hw;
#pragma unroll
    for (uint32_t d = 0; d < W / 8; d++) {
      const uint32_t at = d * 8 + sum_column(lane, 0);
      if (at < hw) *reinterpret_cast<uint32_t*>(to + at) = two_halves(out[d][2 * h] * inverse, out[d][2 * h + 1] * inverse);
    }
  }
}

}  // namespace hunch::cuda
