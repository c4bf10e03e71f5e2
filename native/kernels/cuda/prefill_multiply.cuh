// Tokens times weights. A block makes 128 tokens x 128 rows: four warps of 64 x 64, 32 columns at a time. Activations (and f16, bf16 weights) come with cp.async,
// two steps ahead; quantised weights are loaded two steps ahead into registers, a thread 32 columns of one row, and become halves in shared memory.
#pragma once

#include "prefill_tiles.cuh"

namespace hunch::cuda {

constexpr uint32_t kTile = 8192;       // bytes of a tile: 128 x 32 halves
constexpr uint32_t kSumStride = 72;    // floats between a warp's tokens, when sums go through shared memory; by it writes and reads meet no bank twice

// One warp's sums of 32 tokens x 64 rows, from shared memory. 16 lanes share a token, a lane has 4 rows.
__device__ inline void finish_sums(const MultiplyLaunch& g, const float* sums, uint32_t token0, uint32_t row0, uint32_t rows) {
  const uint32_t lane = threadIdx.x % 32, at = row0 + lane % 16 * 4;
#pragma unroll 1
  for (uint32_t i = lane / 16; i < 32; i += 2) {
    const uint32_t token = token0 + i;
    if (token >= g.tokens && g.epilogue != Epilogue::logits) break;
    const bool there = token < g.tokens;
    const float scale = g.scale && there ? g.scale[token] : 1.0f;
    float v[4];
#pragma unroll
    for (uint32_t k = 0; k < 4; k++) v[k] = sums[i * kSumStride + lane % 16 * 4 + k] * scale;
    if (g.epilogue == Epilogue::logits) {
      float best = -INFINITY, sum = 0;
      int32_t id = 0;
#pragma unroll
      for (uint32_t k = 0; k < 4; k++)
        if (at + k < rows && v[k] > best) best = v[k], id = (int32_t)(at + k);
      float top = best;
#pragma unroll
      for (uint32_t o = 8; o; o >>= 1) {
        const float other = __shfl_xor_sync(~0u, top, o);
        const int32_t other_id = __shfl_xor_sync(~0u, id, o);
        if (other > top || (other == top && other_id < id)) top = other, id = other_id;
      }
#pragma unroll
      for (uint32_t k = 0; k < 4; k++)
        if (at + k < rows) {
          sum += __expf(v[k] - top);
          if (there && (int32_t)(at + k) == g.targets[token]) g.target[token] = v[k];
        }
#pragma unroll
      for (uint32_t o = 8; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (there && lane % 16 == 0 && row0 < rows) {
        const size_t to = (size_t)(row0 / kScoreRows) * g.tokens + token;
        g.best[to] = top, g.sum[to] = sum, g.best_id[to] = id;
      }
      continue;
    }
    float* out = g.out + ((size_t)blockIdx.z * g.tokens + token) * g.out_stride;
    const float* bias = blockIdx.z ? nullptr : g.bias;
    if (g.epilogue == Epilogue::gate) {
#pragma unroll
      for (uint32_t k = 0; k < 4; k += 2)
        if (at + k < rows) out[(at + k) / 2] = gated(g.act, v[k], v[k + 1] + (bias ? bias[(at + k) / 2] : 0));
      continue;
    }
#pragma unroll
    for (uint32_t k = 0; k < 4; k++)
      if (at + k < rows) {
        const float x = v[k] + (bias ? bias[at + k] : 0);
        out[at + k] = g.epilogue == Epilogue::activate ? activate(g.act, x) : x;
      }
  }
}

template <Format F, bool Turned>
__device__ inline void multiply_tile(const MultiplyLaunch& g) {
  const Matrix& w = g.w;
  const uint32_t thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const uint32_t token0 = blockIdx.x * kTileTokens, row0 = blockIdx.y * kTileRows;
  const uint32_t columns = Turned ? w.rows : w.cols, rows = Turned ? w.cols : w.rows;
  const uint32_t all_steps = (columns + kTileColumns - 1) / kTileColumns;
  const uint32_t first = all_steps * blockIdx.z / gridDim.z, steps = all_steps * (blockIdx.z + 1) / gridDim.z;  // this part's: [first, steps)
  const uint32_t left = (uint32_t)__cvta_generic_to_shared(shared_memory()), right = left + 3 * kTile;

  // What this thread copies: four chunks of activations, 32 tokens apart, and four of streamed weights.
  const uint32_t chunk = thread % 4;
  const uint16_t* x = g.x + (size_t)(token0 + thread / 4) * columns + chunk * 8;
  const uint32_t left_to = left + narrow_place(thread / 4, chunk);
  const auto fetch_step = [&](uint32_t step) {
    const uint32_t stage = step % 3 * kTile, column = step * kTileColumns;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) {
      const bool there = step < steps && column + chunk * 8 < columns && token0 + thread / 4 + 32 * i < g.tokens;
      fetch(left_to + stage + i * 32 * 64, there ? x + (size_t)(32 * i) * columns + column : g.x, there);
    }
    if constexpr (streamed(F) && !Turned) {
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = row0 + thread / 4 + 32 * i;
        const bool there = step < steps && column + chunk * 8 < columns && row < rows;
        fetch(right + stage + narrow_place(thread / 4 + 32 * i, chunk), there ? row_of(w, row) + (column + chunk * 8) * 2 : w.data, there);
      }
    }
    if constexpr (streamed(F) && Turned) {
#pragma unroll
      for (uint32_t i = 0; i < 4; i++) {
        const uint32_t row = column + thread / 16 + 8 * i, at = row0 + thread % 16 * 8;
        const bool there = step < steps && row < columns && at < rows;
        fetch(right + stage + wide_place(thread / 16 + 8 * i, thread % 16, 16), there ? row_of(w, row) + at * 2 : w.data, there);
      }
    }
    fetched_group();
  };
  // Other weights: 32 columns of one row; where there is none, of the last row, whose sums nobody takes (or whose other factor is zero).
  constexpr uint32_t kAhead = F == Format::f32 ? 1 : 2;
  Columns<streamed(F) ? Format::nibbles : F> ahead[kAhead];
  const uint8_t* own_row = nullptr;
  if constexpr (!streamed(F) && !Turned) own_row = row_of(w, min(row0 + thread, rows - 1));
  const auto load_step = [&](uint32_t step, auto& to) {
    if constexpr (Turned) to.load(row_of(w, min(step * kTileColumns + thread / 4, columns - 1)), w.pieces, row0 / 32 + thread % 4);
    else to.load(own_row, w.pieces, min(step, all_steps - 1));
  };
  const auto put_step = [&](uint32_t tile, const auto& from) {
    uint32_t v[16];
    from.halves(v);
    const uint32_t to = right + tile * kTile;
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) put(to + (Turned ? wide_place(thread / 4, thread % 4 * 4 + i, 16) : narrow_place(thread, i)), v + 4 * i);
  };

  float sums[4][8][4];
#pragma unroll
  for (uint32_t i = 0; i < 4; i++)
#pragma unroll
    for (uint32_t j = 0; j < 8; j++)
#pragma unroll
      for (uint32_t k = 0; k < 4; k++) sums[i][j][k] = 0;

  fetch_step(first);
  fetch_step(first + 1);
  if constexpr (!streamed(F)) {
    load_step(first, ahead[0]);
    put_step(0, ahead[0]);
    if constexpr (kAhead == 2) load_step(first + 1, ahead[1]);
  }
  const Spot a = spot_left(lane), b = Turned ? spot_turned(lane) : spot_right(lane);
  const uint32_t a_row = warp / 2 * 64 + a.row, b_at = warp % 2 * 64;
#pragma unroll 1
  for (uint32_t step0 = first; step0 < steps; step0 += 2) {
#pragma unroll
    for (uint32_t odd = 0; odd < 2; odd++) {
      const uint32_t step = step0 + odd;
      if (step >= steps) break;
      await<1>();
      __syncthreads();
      fetch_step(step + 2);
      if constexpr (!streamed(F)) load_step(step + kAhead, ahead[odd % kAhead]);
      const uint32_t from_left = left + step % 3 * kTile, from_right = right + (streamed(F) ? step % 3 : odd) * kTile;
#pragma unroll
      for (uint32_t k = 0; k < 2; k++) {  // 16 columns
        uint32_t fa[4][4], fb[4][4];
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) load_tiles(fa[i], from_left + narrow_place(a_row + i * 16, k * 2 + a.chunk));
#pragma unroll
        for (uint32_t j = 0; j < 4; j++) {
          if constexpr (Turned) load_turned(fb[j], from_right + wide_place(k * 16 + b.row, b_at / 8 + j * 2 + b.chunk, 16));
          else load_tiles(fb[j], from_right + narrow_place(b_at + j * 16 + b.row, k * 2 + b.chunk));
          if constexpr (F == Format::bf16)
#pragma unroll
            for (uint32_t i = 0; i < 4; i++) fb[j][i] = bf16_to_halves(fb[j][i]);
        }
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
#pragma unroll
          for (uint32_t j = 0; j < 8; j++) multiply_add(sums[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
      }
      if constexpr (!streamed(F))
        if (step + 1 < steps) put_step(odd ^ 1, ahead[(odd + 1) % kAhead]);
    }
  }
  await<0>();
  __syncthreads();
  // Through shared memory, so that what is done with the sums is short code and its writes are long lines.
  float* space = reinterpret_cast<float*>(shared_memory()) + warp * 32 * kSumStride;
  static_assert(4 * 32 * kSumStride * 4 <= multiply_shared(Format::nibbles), "the sums fit where the tiles were");
#pragma unroll
  for (uint32_t half = 0; half < 2; half++) {
#pragma unroll
    for (uint32_t i = 0; i < 2; i++)
#pragma unroll
      for (uint32_t j = 0; j < 8; j++)
#pragma unroll
        for (uint32_t k = 0; k < 4; k += 2)
          *reinterpret_cast<float2*>(space + (i * 16 + sum_row(lane, k)) * kSumStride + j * 8 + sum_column(lane, k)) = {sums[half * 2 + i][j][k], sums[half * 2 + i][j][k + 1]};
    __syncwarp();
    finish_sums(g, space, token0 + warp / 2 * 64 + half * 32, row0 + b_at, rows);
    __syncwarp();
  }
}

}  // namespace hunch::cuda
