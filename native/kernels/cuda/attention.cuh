// One token's attention: queries, the new key and value are normalised and rotated, the key and value join the cache, and every block attends to some positions of
// one KV head (flash-decoding, Dao 2023). The stage behind joins the parts. Keys and values of earlier positions come through the ring, ahead of the barrier.
#pragma once

#include "multiply.cuh"
#include "vector.cuh"

namespace hunch::cuda {

// RMS norm (if any) and rotation of a head of n numbers, by one warp, into shared memory. A lane has pairs that turn together. `turns`: the position's cosines, then its
// sines, for the first `rope` columns.
__device__ __noinline__ void turn(const Token& t, const Stage& s, const Norm& norm, const float* from, float* to, const float* turns, float scale) {
  HUNCH_SHARED(t), HUNCH_SHARED(s), HUNCH_SHARED(norm);
  constexpr uint32_t kPairs = kMaxHeadWidth / 64;
  const uint32_t lane = threadIdx.x % 32, n = t.head_width, half = s.cosine ? s.rope_width / 2 : 0, neox = s.neox;
  float x[kPairs], y[kPairs], squares = 0;
  const auto first = [&](uint32_t p) { return p < half && neox ? p : 2 * p; };
  const auto second = [&](uint32_t p) { return p < half && neox ? p + half : 2 * p + 1; };
#pragma unroll
  for (uint32_t k = 0; k < kPairs; k++) {
    if (k * 64 >= n) break;
    const uint32_t p = lane + k * 32;
    x[k] = p * 2 < n ? from[first(p)] : 0, y[k] = p * 2 < n ? from[second(p)] : 0;
  }
  if (norm.weight) {
#pragma unroll
    for (uint32_t k = 0; k < kPairs; k++)
      if (k * 64 < n) squares += x[k] * x[k] + y[k] * y[k];
    scale *= rsqrtf(warp_sum(squares) / (float)n + t.epsilon);
  }
#pragma unroll
  for (uint32_t k = 0; k < kPairs; k++) {
    if (k * 64 >= n) break;
    const uint32_t p = lane + k * 32;
    if (p * 2 >= n) continue;
    float a = x[k] * scale, b = y[k] * scale;
    if (norm.weight) a *= norm.weight[first(p)], b *= norm.weight[second(p)];
    if (p < half) {
      const float c = turns[p], d = turns[half + p], a0 = a;
      a = a0 * c - b * d, b = a0 * d + b * c;
    }
    to[first(p)] = a, to[second(p)] = b;
  }
  __syncwarp();
}

__device__ inline void unpack8(const uint4& w, float (&v)[8]) {
  const uint32_t word[4] = {w.x, w.y, w.z, w.w};
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const float2 p = __half22float2(*reinterpret_cast<const __half2*>(&word[i]));
    v[2 * i] = p.x, v[2 * i + 1] = p.y;
  }
}

// How a block's lanes lie over queries and positions of a KV head: `width` lanes share a head's columns, so many groups of lanes take different queries, then different
// positions; where a warp cannot take all queries, warps share them. Code is short that way, and a stage's code is fetched anew each time.
struct Lanes {
  uint32_t width, queries, sets;  // of a warp; warps side by side that take different queries
  uint32_t sub, query, offset, step;  // this lane: its columns, its query among sets * queries, its first position and how far its next ones are
  bool active;
  __device__ explicit Lanes(const Token& t) {
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, mine = lane >> t.width_log;
    width = 1u << t.width_log, queries = 1u << t.queries_log, sets = 1u << t.sets_log;
    const uint32_t at_once_log = 5 - t.width_log - t.queries_log;
    sub = lane & (width - 1), query = (warp & (sets - 1)) * queries + (mine & (queries - 1));
    offset = (warp >> t.sets_log << at_once_log) + (mine >> t.queries_log), step = (kWarps >> t.sets_log) << at_once_log;
    active = sub * 8 < t.head_width;
  }
};

// `count` queries of one KV head (in shared memory, scaled, of base 2), from head `head` on, against the unit's positions, whose keys and values come through the ring.
// `fresh`: the newest position's, which the cache did not have when they were asked for.
__device__ inline void attend(const Token& t, Block& b, uint8_t* space, const float* queries, const uint16_t* fresh, uint32_t head, const Unit& u, const Lanes& l, uint32_t count) {
  const uint32_t hw = t.head_width, warp = threadIdx.x / 32, newest = (uint32_t)b.position;
  float4 qa = {0, 0, 0, 0}, qb = {0, 0, 0, 0};
  if (l.active && l.query < count) qa = reinterpret_cast<const float4*>(queries + l.query * hw)[l.sub * 2], qb = reinterpret_cast<const float4*>(queries + l.query * hw)[l.sub * 2 + 1];
  float acc[8], max = -INFINITY, sum = 0;
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) acc[i] = 0;
  if (!take_order(b)) return;
  uint32_t slot = order_of(b).slot, parity = order_of(b).parity;
  const uint32_t most = t.tile_positions;
#pragma unroll 1
  for (uint32_t begin = u.begin; begin < u.end; begin += most) {
    if (!pass(&b.full[slot], parity, &b.broken)) return;
    const uint32_t n = min(most, u.end - begin);
    const uint8_t* const keys = shared_memory() + t.at_ring + slot * t.slot_bytes + l.sub * 16;
    const uint8_t* const values = keys + n * hw * 2;
#pragma unroll 1
    for (uint32_t left = n, p = l.offset; (int32_t)left > 0; left -= l.step, p += l.step) {
      const bool there = p < n, is_fresh = begin + p == newest;
      uint4 k = {0, 0, 0, 0}, v = {0, 0, 0, 0};
      if (there && l.active) {
        k = *reinterpret_cast<const uint4*>(is_fresh ? reinterpret_cast<const uint8_t*>(fresh) + l.sub * 16 : keys + p * hw * 2);
        v = *reinterpret_cast<const uint4*>(is_fresh ? reinterpret_cast<const uint8_t*>(fresh + kMaxHeadWidth) + l.sub * 16 : values + p * hw * 2);
      }
      float x[8], y[8];
      unpack8(k, x);
      unpack8(v, y);
      float score = (qa.x * x[0] + qa.y * x[1] + (qa.z * x[2] + qa.w * x[3])) + (qb.x * x[4] + qb.y * x[5] + (qb.z * x[6] + qb.w * x[7]));
#pragma unroll 1
      for (uint32_t o = l.width / 2; o; o >>= 1) score += __shfl_xor_sync(~0u, score, o);
      if (!there) score = -INFINITY;
      const float top = fmaxf(max, score), keep = max == -INFINITY ? 0 : exp2f(max - top), w = score == -INFINITY ? 0 : exp2f(score - top);
      max = top;
      sum = sum * keep + w;
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) acc[i] = acc[i] * keep + w * y[i];
    }
    release(b, slot, 1);
    if (++slot == t.slots) slot = 0, parity ^= 1;
  }
  HUNCH_MARK(4);
  // Groups of lanes with the same query, then warps, then out.
  float top = max;
#pragma unroll 1
  for (uint32_t o = l.width * l.queries; o < 32; o <<= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
  const float keep = max == -INFINITY ? 0 : exp2f(max - top);
  sum *= keep;
#pragma unroll
  for (uint32_t i = 0; i < 8; i++) acc[i] *= keep;
#pragma unroll 1
  for (uint32_t o = l.width * l.queries; o < 32; o <<= 1) {
    sum += __shfl_xor_sync(~0u, sum, o);
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) acc[i] += __shfl_xor_sync(~0u, acc[i], o);
  }
  const uint32_t pitch = hw + 8, lane = threadIdx.x % 32;
  float* shared = reinterpret_cast<float*>(space);  // [kWarps][queries][pitch]
  if (lane < l.width * l.queries && l.active) {
    float* to = shared + (warp * l.queries + lane / l.width) * pitch;
    float4* at = reinterpret_cast<float4*>(to + l.sub * 8);
    at[0] = {acc[0], acc[1], acc[2], acc[3]}, at[1] = {acc[4], acc[5], acc[6], acc[7]};
    if (l.sub == 0) *reinterpret_cast<float2*>(to + hw) = {top, sum};
  }
  sync();
#pragma unroll 1
  for (uint32_t i = threadIdx.x * 4; i < count * hw; i += kThreads * 4) {
    const uint32_t j = divided(i, hw), d = i - j * hw, set = j >> t.queries_log, apart = l.sets * l.queries * pitch;  // queries: a power of two
    const float* const from = shared + (set * l.queries + (j & (l.queries - 1))) * pitch;
    float2 of[kWarps];
    float4 part[kWarps];
#pragma unroll
    for (uint32_t k = 0; k < kWarps; k++) {
      if (k * l.sets >= kWarps) break;
      of[k] = *reinterpret_cast<const float2*>(from + k * apart + hw), part[k] = *reinterpret_cast<const float4*>(from + k * apart + d);
    }
    float top = of[0].x, total = 0;
    float4 value = {0, 0, 0, 0};
#pragma unroll
    for (uint32_t k = 1; k < kWarps; k++) {
      if (k * l.sets >= kWarps) break;
      top = fmaxf(top, of[k].x);
    }
#pragma unroll
    for (uint32_t k = 0; k < kWarps; k++) {
      if (k * l.sets >= kWarps) break;
      const float keep = of[k].x == -INFINITY ? 0 : exp2f(of[k].x - top);
      total += keep * of[k].y;
      value.x += keep * part[k].x, value.y += keep * part[k].y, value.z += keep * part[k].z, value.w += keep * part[k].w;
    }
    const uint32_t at = (head + j) * t.max_splits + u.split;
    *reinterpret_cast<float4*>(t.part_acc + (size_t)at * hw + d) = value;
    if (d == 0) t.part_max[at] = top, t.part_sum[at] = total;
  }
  sync();
  leave_order(b);
}

// The stage as a whole, its barrier too.
__device__ __noinline__ void run_attention(const Token& t, Block& b, const Stage& s, uint8_t* space) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t hw = t.head_width, group = t.group, position = b.position;
  const uint32_t splits = attention_splits(t, s, position), units = t.kv_heads * splits;
  float* queries = reinterpret_cast<float*>(space);        // [group][hw]
  float* turns = queries + (group + 1) * hw;               // [2][kMaxHeadWidth / 2], behind the key
  uint16_t* fresh = reinterpret_cast<uint16_t*>(turns + kMaxHeadWidth);  // [2][kMaxHeadWidth]
  uint8_t* rest = reinterpret_cast<uint8_t*>(fresh + 2 * kMaxHeadWidth);
  const Lanes lanes(t);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (s.cosine && blockIdx.x < units)  // known before the barrier opens
    for (uint32_t i = threadIdx.x, half = s.rope_width / 2; i < 2 * half; i += kThreads) turns[i] = (i < half ? s.cosine : s.sine - half)[(size_t)position * half + i];
  if (!open_stage(t, b, s)) return;
#pragma unroll 1
  for (uint32_t n = blockIdx.x; n < units; n += gridDim.x) {
    const Unit u = unit_of(s, n, splits, position);
    if (is_skipped(t, b, s, u)) continue;
    uint16_t *keys = s.keys + (size_t)u.kv * t.context * hw, *values = s.values + (size_t)u.kv * t.context * hw;
    // A warp for each query, and where the newest position is, for its key and for its value.
#pragma unroll 1
    for (uint32_t h = warp; h < group + 2 * u.last; h += kWarps) {
      const uint32_t row = h < group ? u.kv * group + h : h == group ? t.heads + u.kv : t.heads + t.kv_heads + u.kv;
      const float* const from = s.qkv + row * hw;
      if (h <= group) turn(t, s, h < group ? s.q_norm : s.k_norm, from, queries + h * hw, turns, h < group ? s.query_scale : 1);  // the key lies behind the queries
      if (h < group) continue;
      const bool is_value = h > group;
      uint16_t *to = (is_value ? values : keys) + (size_t)position * hw, *kept = fresh + (is_value ? kMaxHeadWidth : 0);
#pragma unroll 2
      for (uint32_t c = lane; c < hw; c += 32) kept[c] = to[c] = __half_as_ushort(__float2half_rn(is_value ? from[c] : queries[group * hw + c]));
    }
    sync();
    HUNCH_MARK(3);
    const uint32_t at_once = lanes.sets * lanes.queries;
#pragma unroll 1
    for (uint32_t first = 0; first < group; first += at_once) attend(t, b, rest, queries + first * hw, fresh, u.kv * group + first, u, lanes, min(at_once, group - first));
  }
}

}  // namespace hunch::cuda
