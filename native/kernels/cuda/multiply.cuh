// Rows times the stage's vector: warps take the ring's tiles in turns.
#pragma once

#include "stream.cuh"

namespace hunch::cuda {

__device__ inline void release(Block& b, uint32_t slot, uint32_t arrivals) {
  __syncwarp();
  if (threadIdx.x % 32 == 0) arrive_gate(&b.empty[slot], arrivals);
}

// What the warp that asks has worked out for the next rows. All threads take it, and may read it until they leave it, behind a sync.
__device__ inline uint32_t order_at(const Block& b) { return b.order_at[threadIdx.x / 32]; }
__device__ inline bool take_order(Block& b) { return pass(&b.order_full[order_at(b) % kOrders], order_at(b) / kOrders & 1, &b.broken); }
__device__ inline const Order& order_of(const Block& b) { return b.order[order_at(b) % kOrders]; }
__device__ inline void leave_order(Block& b) {
  if (threadIdx.x == 0) arrive_gate(&b.order_empty[order_at(b) % kOrders]);
  step_on(b.order_at);
}

// The tiles of a run of rows that fall to one warp: from tile `first` on.
struct Turn {
  uint32_t slot, parity;
  uint32_t group, part, tile;  // which rows, which part of the columns, and which tile of the run
  __device__ Turn(const Token& t, uint32_t slot, uint32_t parity, uint32_t first, uint32_t parts) : slot(slot + first), parity(parity), group(first), part(0), tile(first) {
    if (this->slot >= t.slots) this->slot -= t.slots, this->parity ^= 1;
    if (parts > 1) group = divided(first, parts), part = first - group * parts;
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

// Adds each of R numbers over the warp until eight lanes are left that hold a part of it: of number i the lanes that have lane / 8 == i (4), lane / 16 == i and no
// 8 (2), or lane < 8 (1) write theirs to to[i * step + lane % 8]. sum_of() adds the eight, where one thread has a row to itself.
template <uint32_t R>
__device__ inline void add_lanes(const float (&a)[R], uint32_t lane, uint32_t rows, float* to, uint32_t step) {
  const bool up = lane & 16, mid = lane & 8;
  float v;
  if constexpr (R == 4) {
    const float x = (up ? a[2] : a[0]) + __shfl_xor_sync(~0u, up ? a[0] : a[2], 16);
    const float y = (up ? a[3] : a[1]) + __shfl_xor_sync(~0u, up ? a[1] : a[3], 16);
    v = (mid ? y : x) + __shfl_xor_sync(~0u, mid ? x : y, 8);
    if (lane / 8 < rows) to[lane / 8 * step + lane % 8] = v;
  } else if constexpr (R == 2) {
    v = (up ? a[1] : a[0]) + __shfl_xor_sync(~0u, up ? a[0] : a[1], 16);
    v += __shfl_xor_sync(~0u, v, 8);
    if (!mid && lane / 16 < rows) to[lane / 16 * step + lane % 8] = v;
  } else {
    v = a[0] + __shfl_xor_sync(~0u, a[0], 16);
    v += __shfl_xor_sync(~0u, v, 8);
    if (lane < 8) to[lane] = v;
  }
}

// R rows and U chunks of them at a time: that many pieces are on their way from shared memory together, since two warps a scheduler hide little.
template <Format F, uint32_t R, uint32_t U>
__device__ inline void dot_rows(const uint8_t* tile, uint32_t pitch, uint32_t rows, uint32_t pieces, uint32_t chunk0, const Vector& vector, uint32_t lane, float* sums, uint32_t step) {
  constexpr uint32_t kPlanes = 512 * planes(F), kSides = 32 * side_bytes(F);
  const uint32_t full = pieces / 32, sides = pieces * (16 * planes(F)) + lane * side_bytes(F);
#pragma unroll 1
  for (uint32_t r0 = 0; r0 < rows; r0 += R) {
    const uint8_t *plane[R], *side[R];
    float acc[U][R];
#pragma unroll
    for (uint32_t r = 0; r < R; r++) {
      const uint8_t* row = tile + min(r0 + r, rows - 1) * pitch;
      plane[r] = row + lane * 16, side[r] = row + sides;
#pragma unroll
      for (uint32_t u = 0; u < U; u++) acc[u][r] = 0;
    }
    uint32_t c = 0;
#pragma unroll 1
    for (; c + U <= full; c += U) {
      Loaded<F> piece[U][R];
      Piece<is_float(F)> x[U];
#pragma unroll
      for (uint32_t u = 0; u < U; u++) {
        x[u].load(vector, chunk0 + c + u, lane);
#pragma unroll
        for (uint32_t r = 0; r < R; r++) piece[u][r].load(plane[r] + u * kPlanes, 512, side[r] + u * kSides);
      }
      __syncwarp();  // all of them are asked for before the first is used
#pragma unroll
      for (uint32_t r = 0; r < R; r++) plane[r] += U * kPlanes, side[r] += U * kSides;
#pragma unroll
      for (uint32_t u = 0; u < U; u++)
#pragma unroll
        for (uint32_t r = 0; r < R; r++) acc[u][r] = dot<F>(piece[u][r], x[u], acc[u][r]);
    }
#pragma unroll 1
    for (; c * 32 < pieces; c++) {
      const uint32_t here = min(32u, pieces - c * 32);
      if (lane < here) {
        Piece<is_float(F)> x;
        Loaded<F> piece[R];
        x.load(vector, chunk0 + c, lane);
#pragma unroll
        for (uint32_t r = 0; r < R; r++) piece[r].load(plane[r], here * 16, side[r]);
#pragma unroll
        for (uint32_t r = 0; r < R; r++) acc[0][r] = dot<F>(piece[r], x, acc[0][r]);
      }
#pragma unroll
      for (uint32_t r = 0; r < R; r++) plane[r] += kPlanes, side[r] += kSides;
    }
    __syncwarp();
#pragma unroll
    for (uint32_t u = 1; u < U; u++)
#pragma unroll
      for (uint32_t r = 0; r < R; r++) acc[0][r] += acc[u][r];
    add_lanes<R>(acc[0], lane, rows - r0, sums + r0 * step, step);
  }
}

template <Format F, uint32_t R, uint32_t U>
__device__ inline void run_rows(const Token& t, Block& b, const Tiles& tiles, uint32_t pieces, uint32_t slot, uint32_t parity, uint32_t count, uint32_t total) {
  const uint32_t lane = threadIdx.x % 32, parts = tiles.parts, rows_in = tiles.rows, part_pieces = tiles.part_pieces;
  const Vector vector = vector_of(t);
  const uint8_t* ring = shared_memory() + t.at_ring;
#ifdef HUNCH_MARKS
  long long waited = 0;
#endif
#pragma unroll 1
  for (Turn turn(t, slot, parity, threadIdx.x / 32, parts); turn.tile < total; turn.step(t, kWarps, parts)) {
    const uint32_t row0 = turn.group * rows_in, first = turn.part * part_pieces, here = min(part_pieces, pieces - first);
    if (!HUNCH_TIMED(waited, pass(&b.full[turn.slot], turn.parity, &b.broken))) return;
    dot_rows<F, R, U>(ring + turn.slot * t.slot_bytes, (here * piece_bytes(F) + 15) / 16 * 16, min(rows_in, count - row0), here, first / 32, vector, lane, b.sums + (row0 * parts + turn.part) * kLanes, parts * kLanes);
    release(b, turn.slot, kWarps);
  }
#ifdef HUNCH_MARKS
  if (threadIdx.x == 0 && blockIdx.x == 5) t.marks[b.at[0] * kMarks + 8] = waited;
#endif
}

// The same of rows in which only the columns of the heads that are kept were read; the vector holds these alone, side by side.
template <Format F>
__device__ inline void run_head_rows(const Token& t, Block& b, uint32_t pieces, uint32_t slot, uint32_t parity, uint32_t total) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t each = t.head_width / piece_columns(F), used = b.kept[0] * each;
  const Vector vector = vector_of(t);
  const uint8_t* ring = shared_memory() + t.at_ring;
#pragma unroll 1
  for (Turn turn(t, slot, parity, threadIdx.x / 32, 1); turn.tile < total; turn.step(t, kWarps, 1)) {
    if (!pass(&b.full[turn.slot], turn.parity, &b.broken)) return;
    const uint8_t* row = ring + turn.slot * t.slot_bytes;
    float sum[1] = {0};
#pragma unroll 1
    for (uint32_t v = lane; v < used; v += 32) {
      const uint32_t h = divided(v, each), p = b.kept[1 + h] * each + (v - h * each);
      Piece<is_float(F)> x;
      x.load(vector, v / 32, lane);
      Loaded<F> piece;
      piece.load(row + plane_at<F>(p), plane_step(p, pieces), row + side_at<F>(p, pieces));
      sum[0] = dot<F>(piece, x, sum[0]);
    }
    __syncwarp();
    add_lanes<1>(sum, lane, 1, b.sums + turn.tile * kLanes, kLanes);
    release(b, turn.slot, kWarps);
  }
}

// What an order names, into b.sums: kLanes numbers for each part of each row's columns.
__device__ __noinline__ void run_tiles(const Token& t, Block& b, const Matrix& m, const Tiles& tiles, uint32_t slot, uint32_t parity, uint32_t count, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(tiles), HUNCH_SHARED(m);
  const uint32_t rows = tiles.rows, pieces = m.pieces;
  with_format(m.format, [&](auto tag) {
    constexpr Format F = decltype(tag)::value;
    if (rows > 2) run_rows<F, 4, 1>(t, b, tiles, pieces, slot, parity, count, total);
    else if (rows == 2) run_rows<F, 2, 2>(t, b, tiles, pieces, slot, parity, count, total);
    else run_rows<F, 1, 4>(t, b, tiles, pieces, slot, parity, count, total);
  });
}
__device__ __noinline__ void run_head_tiles(const Token& t, Block& b, const Matrix& m, uint32_t slot, uint32_t parity, uint32_t total) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(m);
  with_format(m.format, [&](auto tag) { run_head_rows<decltype(tag)::value>(t, b, m.pieces, slot, parity, total); });
}

// Sum of row i of the rows that an order named.
__device__ inline float sum_of(const Block& b, uint32_t i, uint32_t parts) {
  const float4* from = reinterpret_cast<const float4*>(b.sums) + i * parts * (kLanes / 4);
  float4 v = from[0], w = from[1];
#pragma unroll 1
  for (uint32_t p = 1; p < parts; p++) {
    const float4 x = from[2 * p], y = from[2 * p + 1];
    v.x += x.x, v.y += x.y, v.z += x.z, v.w += x.w, w.x += y.x, w.y += y.y, w.z += y.z, w.w += y.w;
  }
  return (v.x + v.y + (v.z + v.w)) + (w.x + w.y + (w.z + w.w));
}

// The block's rows of one matrix, as many at a time as there is room for sums; done(order, parts, early(order)) makes something of sum_of(b, i, parts), i < order.count.
// What `early` gives a thread is on its way while rows are multiplied.
struct Nothing {
  __device__ float operator()(const Order&) const { return 0; }
};
template <class Of, class In, class Done, class Early = Nothing>
__device__ inline void multiply(const Token& t, Block& b, Of&& matrix, In&& tiles, bool heads, Done&& done, Early&& early = Early()) {
  bool last = false;
#pragma unroll 1
  while (!last) {
    if (!take_order(b)) return;
    const float before = early(order_of(b));
    if (heads) run_head_tiles(t, b, matrix(), order_of(b).slot, order_of(b).parity, order_of(b).total);
    else run_tiles(t, b, matrix(), tiles(), order_of(b).slot, order_of(b).parity, order_of(b).count, order_of(b).total);
    sync();
    HUNCH_MARK(4);
    done(order_of(b), heads ? 1u : tiles().parts, before);
    last = order_of(b).last;
    sync();
    leave_order(b);
    HUNCH_MARK(5);
  }
}

}  // namespace hunch::cuda
