// Rows times the stage's vector: warps take the ring's tiles in turns.
#pragma once

#include "stream.cuh"

namespace hunch::cuda {

// Adds each of R numbers over the warp; the sum of number i ends in the lanes [32 / R * i, 32 / R * (i + 1)).
template <uint32_t R>
__device__ inline float reduce(const float (&a)[R], uint32_t lane) {
  if constexpr (R == 1) return warp_sum(a[0]);
  else if constexpr (R == 2) {
    const bool up = lane & 16;
    float v = (up ? a[1] : a[0]) + __shfl_xor_sync(~0u, up ? a[0] : a[1], 16);
    for (int o = 8; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
  } else {
    const bool up = lane & 16, mid = lane & 8;
    const float x = (up ? a[2] : a[0]) + __shfl_xor_sync(~0u, up ? a[0] : a[2], 16);
    const float y = (up ? a[3] : a[1]) + __shfl_xor_sync(~0u, up ? a[1] : a[3], 16);
    float v = (mid ? y : x) + __shfl_xor_sync(~0u, mid ? x : y, 8);
    for (int o = 4; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
  }
}

// The tiles of a run of rows that fall to one warp.
struct Turn {
  uint32_t slot, parity;
  uint32_t group, part, tile;  // which rows, which part of the columns, and which tile of the run
  // From tile `first` on, every kWarps-th.
  __device__ Turn(const Token& t, const Block& b, uint32_t first, uint32_t parts) {
    slot = b.next_slot + first, parity = b.next_parity;
    if (slot >= t.slots) slot -= t.slots, parity ^= 1;
    tile = first;
    group = parts == 1 ? first : divided(first, parts), part = first - group * parts;
  }
  __device__ void step(const Token& t, uint32_t by, uint32_t parts) {
    slot += by;
    if (slot >= t.slots) slot -= t.slots, parity ^= 1;
    tile += by;
    if (parts == 1) {
      group += by;
      return;
    }
    part += by;
    while (part >= parts) part -= parts, group++;
  }
};
// All threads, behind a sync: the ring moved on by so many tiles. Seen after the next sync.
__device__ inline void move_on(const Token& t, Block& b, uint32_t tiles) {
  if (threadIdx.x != 0) return;
  const uint32_t at = b.next_slot + tiles, rounds = divided(at, t.slots);
  b.next_slot = at - rounds * t.slots, b.next_parity ^= rounds & 1;
  b.next_warp = (b.next_warp + tiles) % kWarps;
}
__device__ inline void release(Block& b, uint32_t slot, uint32_t arrivals) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive_gate(&b.empty[slot], arrivals);
}

template <Format F, uint32_t R>
__device__ inline void dot_rows(const uint8_t* tile, uint32_t pitch, uint32_t rows, uint32_t pieces, uint32_t chunk0, const Vector& vector, uint32_t lane, float* sums, uint32_t sums_step) {
  const uint32_t full = pieces / 32, rest = pieces % 32, sides = pieces * (16 * planes(F)) + lane * side_bytes(F);
#pragma unroll 1
  for (uint32_t r0 = 0; r0 < rows; r0 += R) {
    const uint8_t* row[R];
#pragma unroll
    for (uint32_t r = 0; r < R; r++) row[r] = tile + min(r0 + r, rows - 1) * pitch + lane * 16;
    float acc[R];
#pragma unroll
    for (uint32_t r = 0; r < R; r++) acc[r] = 0;
    uint32_t at = 0, side = sides - lane * 16;
#pragma unroll 1
    for (uint32_t c = 0; c < full; c++) {
      Loaded<F> piece[R];
      Piece<is_float(F)> x;
      x.load(vector, chunk0 + c, lane);
#pragma unroll
      for (uint32_t r = 0; r < R; r++) piece[r].load(row[r] + at, 512, row[r] + side);
#pragma unroll
      for (uint32_t r = 0; r < R; r++) acc[r] = dot<F>(piece[r], x, acc[r]);
      at += 512 * planes(F), side += 32 * side_bytes(F);
    }
    if (lane < rest) {
      Piece<is_float(F)> x;
      x.load(vector, chunk0 + full, lane);
#pragma unroll
      for (uint32_t r = 0; r < R; r++) {
        Loaded<F> piece;
        piece.load(row[r] + full * (512 * planes(F)), rest * 16, row[r] + sides - lane * 16 + full * (32 * side_bytes(F)));
        acc[r] = dot<F>(piece, x, acc[r]);
      }
    }
    __syncwarp();
    const float v = reduce<R>(acc, lane);
    constexpr uint32_t each = 32 / R;
    if (lane % each == 0 && r0 + lane / each < rows) sums[(r0 + lane / each) * sums_step] = v;
  }
}

// b.sums[i * parts + part] of rows i < count, which are `tiles` of the ring.
template <Format F, uint32_t R>
__device__ __noinline__ void multiply_tiles(const Token& t, Block& b, const Tiles& tiles, uint32_t pieces, uint32_t count, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(tiles);
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, parts = tiles.parts, rows_in = tiles.rows, part_pieces = tiles.part_pieces;
  const Vector vector = vector_of(t);
  const uint8_t* ring = shared_memory() + t.at_ring;
#ifdef HUNCH_MARKS
  long long waited = 0;
#endif
#pragma unroll 1
  for (Turn turn(t, b, (warp - b.next_warp) % kWarps, parts); turn.tile < total; turn.step(t, kWarps, parts)) {
    if (!HUNCH_TIMED(waited, pass(&b.full[turn.slot], turn.parity, &b.broken))) return;
    const uint32_t row0 = turn.group * rows_in, first = turn.part * part_pieces, here = min(part_pieces, pieces - first);
    dot_rows<F, R>(ring + turn.slot * t.slot_bytes, (here * piece_bytes(F) + 15) / 16 * 16, min(rows_in, count - row0), here, first / 32, vector, lane, b.sums + row0 * parts + turn.part, parts);
    release(b, turn.slot, kWarps);
  }
#ifdef HUNCH_MARKS
  if (threadIdx.x == 0 && blockIdx.x == 5) t.marks[b.stage_index * kMarks + 8] = waited;
#endif
}

// The same of rows in which only the columns of the heads that are kept were read; the vector holds these alone, side by side.
template <Format F>
__device__ __noinline__ void multiply_heads(const Token& t, Block& b, const Matrix& m, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(m);
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, pieces = m.pieces;
  const uint32_t each = t.head_width / piece_columns(F), used = b.kept[0] * each;
  const Vector vector = vector_of(t);
  const uint8_t* ring = shared_memory() + t.at_ring;
#pragma unroll 1
  for (Turn turn(t, b, (warp - b.next_warp) % kWarps, 1); turn.tile < total; turn.step(t, kWarps, 1)) {
    if (!pass(&b.full[turn.slot], turn.parity, &b.broken)) return;
    const uint8_t* row = ring + turn.slot * t.slot_bytes;
    float sum = 0;
#pragma unroll 1
    for (uint32_t v = lane; v < used; v += 32) {
      const uint32_t h = divided(v, each), p = b.kept[1 + h] * each + (v - h * each);
      Piece<is_float(F)> x;
      x.load(vector, v / 32, lane);
      Loaded<F> piece;
      piece.load(row + plane_at<F>(p), plane_step(p, pieces), row + side_at<F>(p, pieces));
      sum = dot<F>(piece, x, sum);
    }
    __syncwarp();
    sum = warp_sum(sum);
    if (lane == 0) b.sums[turn.tile] = sum;
    release(b, turn.slot, kWarps);
  }
}

// Rows of one matrix, as many at a time as there is room for sums; done(first, n, parts) makes something of b.sums[i * parts + part] of rows first + i, i < n.
template <class Done>
__device__ inline void multiply(const Token& t, Block& b, const Matrix& m, const Tiles& tiles, uint32_t count, bool heads, Done&& done) {
  // An even number of groups, so that pairs stay together.
  const uint32_t per = heads ? kSums : divided(kSums, tiles.rows * tiles.parts) / 2 * 2 * tiles.rows;
#pragma unroll 1
  for (uint32_t first = 0; first < count; first += per) {
    const uint32_t n = min(per, count - first), total = heads ? n : tiles_of(tiles, n);
    with_format(m.format, [&](auto tag) {
      constexpr Format F = decltype(tag)::value;
      if (heads) multiply_heads<F>(t, b, m, total);
      else if (tiles.rows >= 4 && planes(F) == 1 && F != Format::fives) multiply_tiles<F, planes(F) == 1 && F != Format::fives ? 4 : 2>(t, b, tiles, m.pieces, n, total);
      else if (tiles.rows >= 2) multiply_tiles<F, 2>(t, b, tiles, m.pieces, n, total);
      else multiply_tiles<F, 1>(t, b, tiles, m.pieces, n, total);
    });
    sync();
    HUNCH_MARK(4);
    move_on(t, b, total);
    done(first, n, heads ? 1u : tiles.parts);
    sync();
    HUNCH_MARK(5);
  }
}

}  // namespace hunch::cuda
