// Rows times the stage's vector. A warp copies rows into its own ring in shared memory, several rows of a chunk at a time and several such groups
// ahead; the first groups are on their way before the barrier behind the stage before is passed, since weights depend on nothing.
#pragma once

#include "block.cuh"

namespace hunch::cuda {

template <Format F>
struct Ring {
  static constexpr uint32_t slot = 512 * planes(F) + 32 * side_bytes(F);
  static constexpr uint32_t rows = (planes(F) == 1 && F != Format::fives) ? (kDeepRing ? 4 : 2) : (kDeepRing ? 2 : 1);
  static constexpr uint32_t bytes = kDeepRing ? 7680 : 2560;
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

// What the ring does for one matrix, in one warp.
template <Format F>
__device__ inline void multiply_rows(const Token& t, Block& b, const Stage& s, const Matrix& m, Rows rows, uint32_t count, uint32_t row_groups, uint32_t parts,
                                     const uint32_t* heads, uint32_t used_pieces, bool wait) {
  using R = Ring<F>;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t part = warp % parts, group = warp / parts;
  uint8_t* ring = b.ring + (size_t)warp * R::bytes;
  const uint32_t per = (count + row_groups - 1) / row_groups, first = min(group * per, count), n = group < row_groups ? min(per, count - first) : 0;
  // With columns of some heads only, their number is known after the barrier.
  if (wait && heads) {
    ready(t, b, s);
    wait = false;
  }
  if (heads) used_pieces = b.kept[0] * t.head_width / piece_columns(F);
  const uint32_t chunks = (used_pieces + 31) / 32;
  const uint32_t mine = part < chunks ? (chunks - part + parts - 1) / parts : 0, batches = (n + R::rows - 1) / R::rows;
  const uint32_t groups = mine * batches;

  // One loop for filling the ring and for going on, not unrolled: code that runs once a stage costs more to fetch than to run.
  float acc[R::rows];
#pragma unroll
  for (uint32_t r = 0; r < R::rows; r++) acc[r] = 0;
  uint32_t in_batch = 0, batch = 0;               // of the group that is consumed
  uint32_t ahead_in = 0, ahead_batch = 0, ahead_slot = 0, slot_at = 0;  // of the group that is asked for
  const uint32_t last = max(groups, 1u);
#pragma unroll 1
  for (uint32_t turn = 0; turn < last + R::depth; turn++) {
    if (turn == R::depth && wait) ready(t, b, s);
    if (turn >= R::depth && turn - R::depth < groups) {
      wait_copies<R::depth - 1>();
      const uint32_t chunk = part + in_batch * parts;
      const uint8_t* slot = ring + slot_at * (R::rows * R::slot);
      slot_at = slot_at + 1 == R::depth ? 0 : slot_at + 1;
      Piece<is_float(F)> x;
      x.load(b.vector, chunk, lane);
      const bool exists = chunk * 32 + lane < used_pieces;
#pragma unroll
      for (uint32_t r = 0; r < R::rows; r++) {
        const float v = dot<F>(slot + r * R::slot + lane * 16, 512, slot + r * R::slot + 512 * planes(F) + lane * side_bytes(F), x);
        acc[r] += exists ? v : 0.0f;
      }
      __syncwarp();
      if (++in_batch == mine) {
        const float v = reduce<R::rows>(acc, lane);
        constexpr uint32_t each = 32 / R::rows;
        const uint32_t row = batch * R::rows + lane / each;
        if (lane % each == 0 && row < n) b.sums[(first + row) * parts + part] = v;
#pragma unroll
        for (uint32_t r = 0; r < R::rows; r++) acc[r] = 0;
        in_batch = 0, batch++;
      }
    }
    if (turn < groups) {
      const uint32_t chunk = part + ahead_in * parts, np = min(32u, used_pieces - chunk * 32);
      uint8_t* slot = ring + ahead_slot * (R::rows * R::slot);
      ahead_slot = ahead_slot + 1 == R::depth ? 0 : ahead_slot + 1;
      const uint32_t rows_here = min(R::rows, n - ahead_batch * R::rows);
#pragma unroll 1
      for (uint32_t r = 0; r < rows_here; r++, slot += R::slot) {
        const uint8_t* row = row_of(m, rows(first + ahead_batch * R::rows + r));
        if (heads) {
          copy_of_heads<F>(t, m, row, slot, heads, chunk * 32 + lane, lane < np, lane);
          continue;
        }
        const uint8_t* from = row + chunk * (512 * planes(F)) + lane * 16;
        if (lane < np) {
          copy16(slot + lane * 16, from);
          if (planes(F) == 2) copy16(slot + 512 + lane * 16, from + np * 16);
        }
        if constexpr (side_bytes(F) > 0)
          if (lane * 16 < np * side_bytes(F)) copy16(slot + 512 * planes(F) + lane * 16, row + m.pieces * (16 * planes(F)) + chunk * (32 * side_bytes(F)) + lane * 16);
      }
      if (++ahead_in == mine) ahead_in = 0, ahead_batch++;
    }
    commit();
  }
  if (mine == 0)  // a part without columns
    for (uint32_t i = lane; i < n; i += 32) b.sums[(first + i) * parts + part] = 0;
}

// How a block's warps divide `count` rows of `pieces`: into groups of rows and, where there are few rows, parts of the columns.
__device__ inline void divide(uint32_t rows_at_once, uint32_t count, uint32_t pieces, uint32_t& row_groups, uint32_t& parts) {
  row_groups = 1;
  while (row_groups < kWarps && row_groups * rows_at_once < count) row_groups *= 2;
  parts = kWarps / row_groups;
  while (parts > 1 && (parts - 1) * 32 >= pieces) parts /= 2;
  if (parts * row_groups < kWarps && row_groups * 1 < count) {  // short rows: more groups instead
    row_groups = kWarps / parts;
    while (row_groups / 2 >= count) row_groups /= 2;
  }
}

// sums[i * parts + part] of rows(i), i < count <= kSums / parts; returns parts. All threads come; what they wrote is visible after the next __syncthreads().
__device__ __noinline__ uint32_t multiply(const Token& t, Block& b, const Stage& s, const Matrix& m, Rows rows, uint32_t count, const uint32_t* heads, bool wait) {
  uint32_t row_groups, parts;
  const uint32_t at_once = planes(m.format) == 1 && m.format != Format::fives ? (kDeepRing ? 4 : 2) : (kDeepRing ? 2 : 1);
  divide(at_once, count, m.pieces, row_groups, parts);
  with_format(m.format, [&](auto tag) { multiply_rows<decltype(tag)::value>(t, b, s, m, rows, count, row_groups, parts, heads, m.pieces, wait); });
  return parts;
}

}  // namespace hunch::cuda
