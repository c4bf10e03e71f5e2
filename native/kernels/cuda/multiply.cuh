// Rows times the stage's vector. A warp copies rows into its own ring in shared memory, several rows of a chunk at a time and several such groups
// ahead; the first groups are on their way before the barrier behind the stage before is passed, since weights depend on nothing.
#pragma once

#include "block.cuh"

namespace hunch::cuda {

template <Format F>
struct Ring {
  static constexpr uint32_t slot = 512 * planes(F) + 32 * side_bytes(F);
  static constexpr uint32_t rows = (planes(F) == 1 && F != Format::fives) ? (kDeepRing ? 4 : 2) : (kDeepRing ? 2 : 1);
  static constexpr uint32_t bytes = ring_bytes(kDeepRing);
  static constexpr uint32_t depth = bytes / (rows * slot);
};

// Adds each of R numbers over the warp; the sum of number i ends in the lanes with `owner(lane) == i`.
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

// A thread's piece of the columns of the heads that are kept.
template <Format F>
__device__ inline void copy_of_heads(const Token& t, const Matrix& m, const uint8_t* row, uint8_t* slot, const uint32_t* heads, uint32_t piece, bool exists, uint32_t lane) {
  if (!exists) return;
  const uint32_t v = piece * piece_columns(F), p = (heads[v / t.head_width] * t.head_width + v % t.head_width) / piece_columns(F);
  copy16(slot + lane * 16, row + plane_at<F>(p));
  if (planes(F) == 2) copy16(slot + 512 + lane * 16, row + plane_at<F>(p) + plane_step(p, m.pieces));
  const uint8_t* side = row + side_at<F>(p, m.pieces);
  uint8_t* to = slot + 512 * planes(F) + lane * side_bytes(F);
  if constexpr (side_bytes(F) == 2) *reinterpret_cast<uint16_t*>(to) = __ldg(reinterpret_cast<const uint16_t*>(side));
  if constexpr (side_bytes(F) >= 4) *reinterpret_cast<uint32_t*>(to) = __ldg(reinterpret_cast<const uint32_t*>(side));
  if constexpr (side_bytes(F) == 8) *reinterpret_cast<uint32_t*>(to + 4) = __ldg(reinterpret_cast<const uint32_t*>(side + 4));
}

// How a block's warps divide the rows: into 2^groups groups of rows and, where there are few rows, 2^parts parts of the columns.
struct Division {
  uint32_t groups, parts;
};
__device__ inline Division divide(uint32_t rows_at_once, uint32_t count, uint32_t pieces) {
  const uint32_t batches = (count + rows_at_once - 1) / rows_at_once, chunks = (pieces + 31) / 32;
  constexpr uint32_t all = 3;  // log2 of kWarps
  static_assert(kWarps == 1u << all);
  uint32_t groups = batches <= 1 ? 0 : min(all, 32 - __clz(batches - 1));
  const uint32_t parts = min(all - groups, chunks <= 1 ? 0 : 32 - __clz(chunks - 1));
  if (groups + parts < all && count > 1u << groups) groups = min(all - parts, (uint32_t)(32 - __clz(count - 1)));  // short rows: more groups instead
  return {groups, parts};
}

// What the ring does for one matrix, in one warp.
template <Format F, bool Heads>
__device__ inline void multiply_rows(const Token& t, Block& b, const Stage& s, const Matrix& m, Rows rows, uint32_t count, Division division, const uint32_t* heads, bool wait) {
  using R = Ring<F>;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t parts = 1u << division.parts, part = warp & (parts - 1), group = warp >> division.parts;
  const uint32_t per = (count + (1u << division.groups) - 1) >> division.groups, first = min(group * per, count);
  const uint32_t n = group < 1u << division.groups ? min(per, count - first) : 0;
  uint32_t used_pieces = m.pieces;
  if constexpr (Heads) {  // the number of columns is known after the barrier
    if (wait) ready(t, b, s);
    wait = false;
    used_pieces = b.kept[0] * t.head_width / piece_columns(F);
  }
  const uint32_t chunks = (used_pieces + 31) / 32;
  const uint32_t mine = part < chunks ? (chunks - part + parts - 1) >> division.parts : 0, batches = (n + R::rows - 1) / R::rows;
  const uint32_t groups = mine * batches;
  uint8_t* const ring = shared_memory() + t.at_ring + warp * R::bytes + lane * 16;
  const Vector vector = vector_of(t);
  const uint32_t side_base = m.pieces * (16 * planes(F));

  // One loop for filling the ring and for going on, not unrolled: code that runs once a stage costs more to fetch than to run.
  float acc[R::rows];
  const uint8_t* base[R::rows];  // of the rows that are asked for, from this thread's piece on
#pragma unroll
  for (uint32_t r = 0; r < R::rows; r++) acc[r] = 0, base[r] = nullptr;
  uint32_t in_batch = 0, row0 = 0, chunk = part, slot = 0;                              // of the group that is consumed
  uint32_t ahead_in = 0, ahead_row = 0, ahead_chunk = part, ahead_slot = 0;             // of the group that is asked for
  const uint32_t last = max(groups, 1u) + R::depth, filled = min(groups, R::depth);
#pragma unroll 1
  for (uint32_t turn = 0; turn < last; turn++) {
    if (turn == filled)  // nothing more to ask for: empty groups, which waiting counts
      for (; turn < R::depth; turn++) commit();
    if (turn >= R::depth) {
      if (turn == R::depth && wait) ready(t, b, s);
      if (turn - R::depth < groups) {
        wait_copies<R::depth - 1>();
        const uint8_t* from = ring + slot;
        slot = slot == (R::depth - 1) * R::rows * R::slot ? 0 : slot + R::rows * R::slot;
        Piece<is_float(F)> x;
        x.load(vector, chunk, lane);
        const bool exists = chunk * 32 + lane < used_pieces;
        const uint8_t* side = from - lane * 16 + 512 * planes(F) + lane * side_bytes(F);
#pragma unroll
        for (uint32_t r = 0; r < R::rows; r++) {
          const float v = dot<F>(from + r * R::slot, 512, side + r * R::slot, x);
          acc[r] += exists ? v : 0.0f;
        }
        __syncwarp();
        chunk += parts;
        if (++in_batch == mine) {
          const float v = reduce<R::rows>(acc, lane);
          constexpr uint32_t each = 32 / R::rows;
          const uint32_t row = row0 + lane / each;
          if (lane % each == 0 && row < n) b.sums[((first + row) << division.parts) + part] = v;
#pragma unroll
          for (uint32_t r = 0; r < R::rows; r++) acc[r] = 0;
          in_batch = 0, row0 += R::rows, chunk = part;
        }
      }
    }
    if (turn < groups) {
      const uint32_t piece = ahead_chunk * 32 + lane;
      const bool exists = piece < used_pieces;
      uint8_t* to = ring + ahead_slot;
      ahead_slot = ahead_slot == (R::depth - 1) * R::rows * R::slot ? 0 : ahead_slot + R::rows * R::slot;
      if (ahead_in == 0)
#pragma unroll
        for (uint32_t r = 0; r < R::rows; r++)
          if (ahead_row + r < n) base[r] = row_of(m, rows(first + ahead_row + r)) + (Heads ? 0 : lane * 16);
      if constexpr (Heads) {
#pragma unroll
        for (uint32_t r = 0; r < R::rows; r++)
          if (ahead_row + r < n) copy_of_heads<F>(t, m, base[r], to - lane * 16 + r * R::slot, heads, piece, exists, lane);
      } else {
        const uint32_t plane = ahead_chunk * (512 * planes(F)), second = plane + min(32u, used_pieces - ahead_chunk * 32) * 16;
        const uint32_t side = side_base + ahead_chunk * (32 * side_bytes(F));
        const bool sides = side_bytes(F) > 0 && lane * 16 < min(32u, used_pieces - ahead_chunk * 32) * side_bytes(F);
#pragma unroll
        for (uint32_t r = 0; r < R::rows; r++) {
          if (ahead_row + r >= n) continue;
          if (exists) {
            copy16(to + r * R::slot, base[r] + plane);
            if (planes(F) == 2) copy16(to + r * R::slot + 512, base[r] + second);
          }
          if (sides) copy16(to + r * R::slot + 512 * planes(F), base[r] + side);
        }
      }
      ahead_chunk += parts;
      if (++ahead_in == mine) ahead_in = 0, ahead_row += R::rows, ahead_chunk = part;
    }
    commit();
  }
  if (mine == 0)  // a part without columns
    for (uint32_t i = lane; i < n; i += 32) b.sums[((first + i) << division.parts) + part] = 0;
}

// sums[i * parts + part] of rows(i), i < count <= kSums / parts; returns parts. All threads come; what they wrote is visible after the next __syncthreads().
__device__ __noinline__ uint32_t multiply(const Token& t, Block& b, const Stage& s, const Matrix& m, Rows rows, uint32_t count, const uint32_t* heads, bool wait) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s), HUNCH_SHARED(m);
  const uint32_t at_once = planes(m.format) == 1 && m.format != Format::fives ? (kDeepRing ? 4 : 2) : (kDeepRing ? 2 : 1);
  const Division division = divide(at_once, count, m.pieces);
  with_format(m.format, [&](auto tag) {
    if (heads) multiply_rows<decltype(tag)::value, true>(t, b, s, m, rows, count, division, heads, wait);
    else multiply_rows<decltype(tag)::value, false>(t, b, s, m, rows, count, division, nullptr, wait);
  });
  return 1u << division.parts;
}

}  // namespace hunch::cuda
