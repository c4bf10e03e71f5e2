// The block's weights as one stream: a warp that does nothing else asks for them, tile by tile, into a ring in shared memory, as far ahead as the ring holds. It
// goes on through barriers and from one stage into the next, since weights depend on nothing but (where a list chooses them) on that list.
// From sm_90 on the copies are bulk ones, a few for a tile; before, 16 bytes a lane.
#pragma once

#include "block.cuh"

namespace hunch::cuda {

struct Stream {
  const Token& t;
  Block& b;
  const uint32_t lane = threadIdx.x % 32;
  uint32_t slot = 0, parity = 0;  // of the next tile
  uint32_t on_way = 1;            // tiles that may be on their way at once
  uint32_t orders = 0;            // so far

  __device__ uint8_t* place() const { return shared_memory() + t.at_ring + slot * t.slot_bytes; }
#ifdef HUNCH_MARKS
  long long waited = 0;
#endif
  // The slot is free again, and not too much is on its way: what waits in the memory's queues, everything else waits behind. False: the kernel is ending.
  __device__ bool room() {
    if (!HUNCH_TIMED(waited, pass(&b.empty[slot], parity ^ 1, &b.broken))) return false;
    if (on_way >= t.slots) return true;
    const bool before = slot < on_way;  // a lap ago
    return HUNCH_TIMED(waited, pass(&b.full[slot - on_way + (before ? t.slots : 0)], parity ^ before, &b.broken));
  }
  // Before tiles of so many bytes.
  __device__ void pace(uint32_t bytes) { on_way = max(1u, divided(t.on_way, bytes)); }
  __device__ void next() {
    if (++slot == t.slots) slot = 0, parity ^= 1;
  }

  // Rows that lie side by side.
  __device__ bool whole(const uint8_t* from, uint32_t most, uint32_t left) {
    uint8_t* const ring = shared_memory() + t.at_ring;
    const uint32_t slots = t.slots, slot_bytes = t.slot_bytes;
    pace(most);
#pragma unroll 1
    for (; left > 0;) {
      const uint32_t n = min(most, left);
      if (!room()) return false;
#if HUNCH_BULK
      if (lane == 0) {
        expect(&b.full[slot], n);
        copy_bulk(ring + slot * slot_bytes, from, n, &b.full[slot]);
      }
#else
#pragma unroll 4
      for (uint32_t at = lane * 16; at < n; at += 512) copy16(ring + slot * slot_bytes + at, from + at);
      join_gate(&b.full[slot]);
#endif
      from += n, left -= n;
      if (++slot == slots) slot = 0, parity ^= 1;
    }
    return true;
  }

  // Rows apart, `unit` of which lie side by side: a lane looks up one of the next 32 places, and the copies go out tile by tile.
  __device__ bool apart(const Matrix& m, const Tiles& tiles, Rows which, uint32_t count, uint32_t unit) {
    uint8_t* const ring = shared_memory() + t.at_ring;
    const uint32_t slots = t.slots, slot_bytes = t.slot_bytes, row_bytes = tiles.row_bytes, tile_rows = tiles.rows, each = unit == 2 ? tile_rows / 2 : tile_rows;
    pace(tile_rows * row_bytes);
#pragma unroll 1
    for (uint32_t r0 = 0; r0 < count; r0 += 32 * unit) {
      const uint32_t mine = r0 + lane * unit;
      const uint8_t* const from = mine < count ? row_of(m, which(mine)) : nullptr;
      const uint32_t bytes = mine < count ? min(unit, count - mine) * row_bytes : 0;
#pragma unroll 1
      for (uint32_t k = 0, r = r0; k < 32 && r < count; k += each, r += tile_rows) {
        if (!room()) return false;
        Gate* const gate = &b.full[slot];
        uint8_t* const to = ring + slot * slot_bytes;
#if HUNCH_BULK
        if (lane == k) expect(gate, min(tile_rows, count - r) * row_bytes);
        __syncwarp();
        if (lane - k < each && bytes) copy_bulk(to + (lane - k) * unit * row_bytes, from, bytes, gate);
#else
#pragma unroll 1
        for (uint32_t i = k; i < k + each && r0 + i * unit < count; i++) {
          const uint8_t* source = reinterpret_cast<const uint8_t*>(__shfl_sync(~0u, reinterpret_cast<unsigned long long>(from), i));
          const uint32_t n = __shfl_sync(~0u, bytes, i);
          for (uint32_t at = lane * 16; at < n; at += 512) copy16(to + (i - k) * unit * row_bytes + at, source + at);
        }
        join_gate(gate);
#endif
        if (++slot == slots) slot = 0, parity ^= 1;
      }
    }
    return true;
  }

  // The computing warps' order for the rows that are asked for next. False: the kernel is ending.
  __device__ bool order(uint32_t begin, uint32_t first, uint32_t count, uint32_t tiles, bool last) {
    const uint32_t at = orders % kOrders;
    if (!pass(&b.order_empty[at], (orders / kOrders & 1) ^ 1, &b.broken)) return false;
    if (lane == 0) {
      b.order[at] = {begin, first, count, tiles, slot, parity, last};
      arrive_gate(&b.order_full[at]);
    }
    __syncwarp();
    orders++;
    return true;
  }

  // `count` rows of a matrix, in as many passes as its sums need. False: the kernel is ending.
  __device__ bool rows(const Matrix& m, const Tiles& tiles, Rows which, uint32_t count) {
    for (uint32_t first = 0;;) {
      const uint32_t n = min(tiles.pass, count - first);
      which.first = first;
      if (!order(which.begin, first, n, tiles_of(tiles, n), first + n >= count) || !ask(m, tiles, which, n)) return false;
      if ((first += n) >= count) return true;
    }
  }
  __device__ bool ask(const Matrix& m, const Tiles& tiles, Rows which, uint32_t count) {
    if (count == 0) return true;
    if (tiles.run == 0 && tiles.parts == 1) return whole(row_of(m, which(0)), tiles.rows * tiles.row_bytes, count * tiles.row_bytes);
    if (tiles.parts == 1) return apart(m, tiles, which, count, tiles.run == 2 && tiles.rows > 1 ? 2 : 1);
    return in_parts(m, tiles, which, count);
  }

  // A part of the columns of each row: planes, then sides. A lane has a row.
  __device__ bool in_parts(const Matrix& m, const Tiles& tiles, Rows which, uint32_t count) {
    const uint32_t plane = 16 * planes(m.format), side = side_bytes(m.format), sides = m.pieces * plane, pieces = m.pieces, part_pieces = tiles.part_pieces;
    pace(tiles.rows * part_pieces * piece_bytes(m.format));
#pragma unroll 1
    for (uint32_t r0 = 0; r0 < count; r0 += tiles.rows) {
      const uint32_t n = min(tiles.rows, count - r0);
      const uint8_t* const row = row_of(m, which(r0 + min(lane, n - 1)));
#pragma unroll 1
      for (uint32_t first = 0; first < pieces; first += part_pieces) {
        if (!room()) return false;
        const uint32_t here = min(part_pieces, pieces - first), in_planes = here * plane, in_sides = (here * side + 15) / 16 * 16, each = in_planes + in_sides;
        Gate* const gate = &b.full[slot];
        uint8_t* const to = place();
#if HUNCH_BULK
        if (lane == 0) expect(gate, n * each);
        __syncwarp();
        if (lane < n) {
          copy_bulk(to + lane * each, row + first * plane, in_planes, gate);
          if (side) copy_bulk(to + lane * each + in_planes, row + sides + first * side, in_sides, gate);
        }
#else
#pragma unroll 1
        for (uint32_t i = 0; i < n; i++) {
          const uint8_t* from = reinterpret_cast<const uint8_t*>(__shfl_sync(~0u, reinterpret_cast<unsigned long long>(row), i));
          for (uint32_t at = lane * 16; at < in_planes; at += 512) copy16(to + i * each + at, from + first * plane + at);
          for (uint32_t at = lane * 16; at < in_sides; at += 512) copy16(to + i * each + in_planes + at, from + sides + first * side + at);
        }
        join_gate(gate);
#endif
        next();
      }
    }
    return true;
  }

  // Rows of which only the columns of the heads that are kept are read; they lie in the slot where the whole row would have them.
  __device__ bool rows_of_heads(const Matrix& m, const Tiles& tiles, uint32_t begin, uint32_t count) {
    const uint32_t each = t.head_width / piece_columns(m.format), used = b.kept[0] * each;
    const uint32_t sides = m.pieces * 16 * planes(m.format), end = tiles.row_bytes;
    constexpr uint32_t kMost = kSums / kLanes;
    pace(max(16u, used * 16 * planes(m.format) + end - sides));
#pragma unroll 1
    for (uint32_t r = 0; r < count || r == 0; r++) {
      if (r % kMost == 0 && !order(begin, r, min(kMost, count - r), min(kMost, count - r), r + kMost >= count)) return false;
      if (count == 0) break;
      if (!room()) return false;
      const uint8_t* row = row_of(m, begin + r);
      uint8_t* to = place();
#pragma unroll 1
      for (uint32_t v = lane; v < used; v += 32) {
        const uint32_t h = divided(v, each), p = b.kept[1 + h] * each + (v - h * each), at = p / 32 * (512 * planes(m.format)) + p % 32 * 16;
        copy16(to + at, row + at);
        if (planes(m.format) == 2) copy16(to + at + plane_step(p, m.pieces), row + at + plane_step(p, m.pieces));
      }
#pragma unroll 1
      for (uint32_t at = sides + lane * 16; at < end; at += 512) copy16(to + at, row + at);
      join_gate(&b.full[slot]);
      next();
    }
    return true;
  }
};

__device__ inline void ask_for_stage(const Token& t, Block& b, int i) {
  Gate* const gate = &b.stage_full[(uint32_t)i % kStageSlots];
  uint8_t* const to = reinterpret_cast<uint8_t*>(&b.stage[(uint32_t)i % kStageSlots]);
  const uint8_t* const from = reinterpret_cast<const uint8_t*>(t.stages + i);
  static_assert(sizeof(Stage) % 16 == 0);
  const uint32_t lane = threadIdx.x % 32;
#if HUNCH_BULK
  if (lane == 0) {
    expect(gate, sizeof(Stage));
    copy_bulk(to, from, sizeof(Stage), gate);
  }
#else
  for (uint32_t at = lane * 16; at < sizeof(Stage); at += 512) copy16(to + at, from + at);
  join_gate(gate);
#endif
}

// The whole of a token's weights, by the warp that asks. Returns when all is asked for, or when the kernel is ending.
__device__ __noinline__ void ask_for_token(const Token& t, Block& b, int count) {
  HUNCH_SHARED(t), HUNCH_SHARED(b);
  Stream stream{t, b};
  uint32_t heads_parity = 0, list_parity = 0;
  constexpr int kStagesAhead = kStageSlots - 2;
#pragma unroll 1
  for (int i = 0; i < min(count, kStagesAhead); i++) ask_for_stage(t, b, i);
#pragma unroll 1
  for (int i = 0; i < count; i++) {
    if (const int later = i + kStagesAhead; later < count) {
      if (later >= (int)kStageSlots && !pass(&b.stage_empty[later % kStageSlots], (later / kStageSlots - 1) & 1, &b.broken)) return;
      ask_for_stage(t, b, later);
    }
    if (!pass(&b.stage_full[i % kStageSlots], i / kStageSlots & 1, &b.broken)) return;
    const Stage& s = b.stage[i % kStageSlots];
    HUNCH_SHARED(s);
#ifdef HUNCH_MARKS
    if (threadIdx.x % 32 == 0 && blockIdx.x == 5) {
      if (i) t.marks[(i - 1) * kMarks + 11] = clock64(), t.marks[(i - 1) * kMarks + 12] = stream.waited;
      t.marks[i * kMarks + 10] = clock64(), stream.waited = 0;
    }
#endif
    if (s.logits && !b.with_logits) continue;
    if (s.scores.matrix.data) {
      const uint2 mine = own_neurons(s.scores.matrix.rows);
      if (!stream.rows(s.scores.matrix, s.scores.tiles, {.begin = mine.x}, mine.y - mine.x)) return;
    }
    bool heads_open = s.choose_heads == 0;
#pragma unroll 1
    for (uint32_t j = 0; j < s.segments; j++) {
      const Segment& g = s.segment[j];
      if (g.by_heads && !heads_open) {
        if (!pass(&b.heads_known, heads_parity, &b.broken)) return;
        heads_open = true;
      }
      const uint2 mine = own_rows(t, b, g, j);
      Rows which{.begin = mine.x};
      if (g.by_heads) which.heads = b.kept + 1, which.head_width = t.head_width;
      const bool columns = s.source == Source::attention && s.kept_heads;
      if (columns ? !stream.rows_of_heads(g.matrix, g.tiles, mine.x, mine.y - mine.x) : !stream.rows(g.matrix, g.tiles, which, mine.y - mine.x)) return;
    }
    if (s.choose_heads) {
      if (!heads_open && !pass(&b.heads_known, heads_parity, &b.broken)) return;
      heads_parity ^= 1;
    }
    if (!s.neurons) continue;
    const uint2 mine = own_neurons(s.down.rows);
    Rows which{.begin = mine.x};
    uint32_t n = mine.y - mine.x;
    if (s.neurons != 2) {
      if (!pass(&b.list_known, list_parity, &b.broken)) return;
      list_parity ^= 1;
      which.own = b.own, n = b.own_count;
    }
    Rows pairs = which;
    pairs.paired = 1;
    if (s.neurons == 1) {
      if (s.gated && !stream.rows(s.up, s.up_tiles, which, n)) return;
    } else if (s.gated) {
      if (!stream.rows(s.first, s.first_tiles, pairs, 2 * n)) return;
    } else if (!stream.rows(s.first, s.first_tiles, which, n)) {
      return;
    }
    if (!stream.rows(s.down, s.down_tiles, which, n)) return;
  }
}

}  // namespace hunch::cuda
