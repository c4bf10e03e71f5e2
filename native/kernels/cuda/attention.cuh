// One token's attention: queries, the new key and value are normalised and rotated, the key and value join the cache, and every block attends to some positions of
// one KV head (flash-decoding, Dao 2023). The stage behind joins the parts.
#pragma once

#include "vector.cuh"

namespace hunch::cuda {

// RMS norm (if any) and rotation of a head of n numbers, by one warp, in shared memory. All that comes from far is on its way at once.
__device__ __noinline__ void turn(const Token& t, const Stage& s, const Norm& norm, const float* from, float* to, uint32_t n, uint32_t position, float scale) {
  HUNCH_SHARED(t), HUNCH_SHARED(s), HUNCH_SHARED(norm);
  constexpr uint32_t kEach = kMaxHeadWidth / 32, kPairs = kEach / 2;
  const uint32_t lane = threadIdx.x % 32, half = s.cosine ? s.rope_width / 2 : 0;
  float v[kEach], weight[kEach], cosine[kPairs], sine[kPairs];
#pragma unroll
  for (uint32_t k = 0; k < kEach; k++) {
    const uint32_t i = lane + k * 32;
    v[k] = i < n ? from[i] : 0, weight[k] = norm.weight && i < n ? norm.weight[i] : 1;
  }
#pragma unroll
  for (uint32_t k = 0; k < kPairs; k++) {
    const uint32_t i = lane + k * 32;
    cosine[k] = i < half ? s.cosine[(size_t)position * half + i] : 0, sine[k] = i < half ? s.sine[(size_t)position * half + i] : 0;
  }
  if (norm.weight) {
    float squares = 0;
#pragma unroll
    for (uint32_t k = 0; k < kEach; k++) squares += v[k] * v[k];
    scale *= rsqrtf(warp_sum(squares) / (float)n + t.epsilon);
  }
#pragma unroll
  for (uint32_t k = 0; k < kEach; k++)
    if (lane + k * 32 < n) to[lane + k * 32] = v[k] * weight[k] * scale;
  __syncwarp();
#pragma unroll
  for (uint32_t k = 0; k < kPairs; k++) {
    const uint32_t i = lane + k * 32;
    if (i >= half) continue;
    float &a = to[s.neox ? i : 2 * i], &b = to[s.neox ? i + half : 2 * i + 1];
    const float x = a, y = b;
    a = x * cosine[k] - y * sine[k], b = x * sine[k] + y * cosine[k];
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

// How a warp's lanes lie over a KV head: `width` lanes share a position.
struct Lanes {
  uint32_t width, at_once, sub, group;
  bool active;
  __device__ explicit Lanes(const Token& t) {
    const uint32_t lane = threadIdx.x % 32;
    width = 1u << t.width_log, at_once = 32u >> t.width_log, sub = lane & (width - 1), group = lane >> t.width_log;
    active = sub * 8 < t.head_width;
  }
};

// A lane's keys and values of its next two positions.
struct Ahead {
  uint4 k[2], v[2];
  uint32_t p, step;
  __device__ static void load(uint4& k, uint4& v, const Lanes& l, const uint16_t* keys, const uint16_t* values, uint32_t hw, uint32_t end, uint32_t at) {
    if (!l.active || at >= end) return;
    k = *reinterpret_cast<const uint4*>(keys + (size_t)at * hw + l.sub * 8), v = *reinterpret_cast<const uint4*>(values + (size_t)at * hw + l.sub * 8);
  }
  __device__ void begin(const Lanes& l, const uint16_t* keys, const uint16_t* values, uint32_t hw, const Unit& u) {
    step = kWarps * l.at_once, p = u.begin + threadIdx.x / 32 * l.at_once + l.group;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
      k[i] = v[i] = {0, 0, 0, 0};
      load(k[i], v[i], l, keys, values, hw, u.end, p + i * step);
    }
  }
};

// Q queries of one KV head (in shared memory, scaled, of base 2) against the unit's positions. `fresh`: the newest position's key and value, which the cache did not
// have when the first ones were asked for.
template <uint32_t Q>
__device__ inline void attend(const Token& t, const Block& b, uint8_t* space, const float* queries, const uint16_t* fresh, uint32_t head, const Unit& u, const Lanes& l, Ahead& ahead, const uint16_t* keys,
                              const uint16_t* values, uint32_t count) {
  const uint32_t hw = t.head_width, lane = threadIdx.x % 32, warp = threadIdx.x / 32, newest = (uint32_t)b.position;
  float q[Q][8], acc[Q][8], max[Q], sum[Q];
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) {
    max[j] = -INFINITY, sum[j] = 0;
    float4 x = {0, 0, 0, 0}, y = {0, 0, 0, 0};
    if (l.active && j < count) x = reinterpret_cast<const float4*>(queries + j * hw)[l.sub * 2], y = reinterpret_cast<const float4*>(queries + j * hw)[l.sub * 2 + 1];
    q[j][0] = x.x, q[j][1] = x.y, q[j][2] = x.z, q[j][3] = x.w, q[j][4] = y.x, q[j][5] = y.y, q[j][6] = y.z, q[j][7] = y.w;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) acc[j][i] = 0;
  }
  uint32_t p = ahead.p;
#pragma unroll 1
  for (uint32_t p0 = u.begin + warp * l.at_once; p0 < u.end; p0 += ahead.step, p += ahead.step) {
    const bool seen = p < u.end;
    if (p == newest && l.active) {
      ahead.k[0] = *reinterpret_cast<const uint4*>(fresh + l.sub * 8);
      ahead.v[0] = *reinterpret_cast<const uint4*>(fresh + kMaxHeadWidth + l.sub * 8);
    }
    float x[8], y[8], score[Q];
    unpack8(ahead.k[0], x);
    unpack8(ahead.v[0], y);
    ahead.k[0] = ahead.k[1], ahead.v[0] = ahead.v[1];
    Ahead::load(ahead.k[1], ahead.v[1], l, keys, values, hw, u.end, p + 2 * ahead.step);
#pragma unroll
    for (uint32_t j = 0; j < Q; j++) {
      score[j] = 0;
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) score[j] += q[j][i] * x[i];
    }
#pragma unroll 1
    for (uint32_t o = l.width / 2; o; o >>= 1)
#pragma unroll
      for (uint32_t j = 0; j < Q; j++) score[j] += __shfl_xor_sync(~0u, score[j], o);
    if (seen) {
#pragma unroll
      for (uint32_t j = 0; j < Q; j++) {
        const float top = fmaxf(max[j], score[j]), keep = exp2f(max[j] - top), w = exp2f(score[j] - top);
        max[j] = top;
        sum[j] = sum[j] * keep + w;
#pragma unroll
        for (uint32_t i = 0; i < 8; i++) acc[j][i] = acc[j][i] * keep + w * y[i];
      }
    }
  }
  HUNCH_MARK(4);
  // Groups of lanes, then warps, then out.
  const uint32_t pitch = hw + 8;
  float* shared = reinterpret_cast<float*>(space);  // [kWarps][Q][pitch]
  float top[Q];
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) top[j] = max[j];
#pragma unroll 1
  for (uint32_t o = l.width; o < 32; o <<= 1)
#pragma unroll
    for (uint32_t j = 0; j < Q; j++) top[j] = fmaxf(top[j], __shfl_xor_sync(~0u, top[j], o));
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) {
    const float keep = top[j] == -INFINITY ? 0 : exp2f(max[j] - top[j]);
    sum[j] *= keep;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) acc[j][i] *= keep;
  }
#pragma unroll 1
  for (uint32_t o = l.width; o < 32; o <<= 1)
#pragma unroll
    for (uint32_t j = 0; j < Q; j++) {
      sum[j] += __shfl_xor_sync(~0u, sum[j], o);
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) acc[j][i] += __shfl_xor_sync(~0u, acc[j][i], o);
    }
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) {
    float* to = shared + (warp * Q + j) * pitch;
    if (lane == 0) *reinterpret_cast<float2*>(to + hw) = {top[j], sum[j]};
    if (l.group == 0 && l.active) {
      float4* at = reinterpret_cast<float4*>(to + l.sub * 8);
      at[0] = {acc[j][0], acc[j][1], acc[j][2], acc[j][3]}, at[1] = {acc[j][4], acc[j][5], acc[j][6], acc[j][7]};
    }
  }
  sync();
#pragma unroll 1
  for (uint32_t i = threadIdx.x * 4; i < count * hw; i += kThreads * 4) {
    const uint32_t j = divided(i, hw), d = i - j * hw;
    const float* const from = shared + j * pitch;
    float top = -INFINITY, total = 0;
#pragma unroll
    for (uint32_t w = 0; w < kWarps; w++) top = fmaxf(top, from[w * Q * pitch + hw]);
    float4 value = {0, 0, 0, 0};
#pragma unroll 4
    for (uint32_t w = 0; w < kWarps; w++) {
      const float2 of = *reinterpret_cast<const float2*>(from + w * Q * pitch + hw);
      const float4 part = *reinterpret_cast<const float4*>(from + w * Q * pitch + d);
      const float keep = of.x == -INFINITY ? 0 : exp2f(of.x - top);
      total += keep * of.y;
      value.x += keep * part.x, value.y += keep * part.y, value.z += keep * part.z, value.w += keep * part.w;
    }
    const uint32_t at = (head + j) * t.max_splits + u.split;
    *reinterpret_cast<float4*>(t.part_acc + (size_t)at * hw + d) = value;
    if (d == 0) t.part_max[at] = top, t.part_sum[at] = total;
  }
  sync();
}

// Before the barrier: what does not fit into registers of the keys and values of earlier positions, and the rotation, are asked for.
__device__ inline void ask_for_positions(const Token& t, const Stage& s, const Unit& u, const uint16_t* keys, const uint16_t* values, uint32_t position, uint32_t held) {
  const uint32_t hw = t.head_width;
  if (u.end - u.begin > held) {
    const uint32_t bytes = (u.end - u.begin - held) * hw * 2;
    prefetch_range(reinterpret_cast<const uint8_t*>(keys + (size_t)(u.begin + held) * hw), bytes, threadIdx.x, kThreads);
    prefetch_range(reinterpret_cast<const uint8_t*>(values + (size_t)(u.begin + held) * hw), bytes, threadIdx.x, kThreads);
  }
  if (s.cosine && threadIdx.x * 32 < s.rope_width / 2) {
    const size_t at = (size_t)position * (s.rope_width / 2) + threadIdx.x * 32;
    prefetch_l2(s.cosine + at), prefetch_l2(s.sine + at);
  }
}

// The stage as a whole, its barrier too.
__device__ __noinline__ void run_attention(const Token& t, Block& b, const Stage& s, uint8_t* space) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t hw = t.head_width, group = t.group, position = b.position;
  const uint32_t splits = attention_splits(t, s, position), units = t.kv_heads * splits;
  float* queries = reinterpret_cast<float*>(space);        // [group][hw]
  float* key = queries + group * hw;                       // [hw]
  uint16_t* fresh = reinterpret_cast<uint16_t*>(key + hw);  // [2][kMaxHeadWidth]
  uint8_t* rest = space + ((group + 1) * hw * 4 + 4 * kMaxHeadWidth + 15) / 16 * 16;
  const Lanes lanes(t);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  Ahead ahead;
  bool open = false;  // the barrier
#pragma unroll 1
  for (uint32_t n = blockIdx.x; n < units; n += gridDim.x) {
    const Unit u = unit_of(s, n, splits, position);
    uint16_t *keys = s.keys + (size_t)u.kv * t.context * hw, *values = s.values + (size_t)u.kv * t.context * hw;
    ahead.begin(lanes, keys, values, hw, u);
    if (!open) {
      ask_for_positions(t, s, u, keys, values, position, 2 * ahead.step);
      if (!open_stage(t, b, s)) return;
      open = true;
    }
    if (is_skipped(t, b, s, u)) continue;
#pragma unroll 1
    for (uint32_t h = warp; h < group + u.last; h += kWarps) {
      if (h < group) {
        turn(t, s, s.q_norm, s.qkv + (size_t)(u.kv * group + h) * hw, queries + h * hw, hw, position, s.query_scale);
        continue;
      }
      const float* value = s.qkv + (size_t)(t.heads + t.kv_heads + u.kv) * hw;
      float v[kMaxHeadWidth / 32];
#pragma unroll
      for (uint32_t i = 0; i < kMaxHeadWidth / 32; i++) v[i] = lane + i * 32 < hw ? value[lane + i * 32] : 0;
      turn(t, s, s.k_norm, s.qkv + (size_t)(t.heads + u.kv) * hw, key, hw, position, 1);
#pragma unroll
      for (uint32_t i = 0; i < kMaxHeadWidth / 32; i++) {
        const uint32_t c = lane + i * 32;
        if (c >= hw) break;
        const uint16_t x = __half_as_ushort(__float2half_rn(key[c])), y = __half_as_ushort(__float2half_rn(v[i]));
        fresh[c] = x, fresh[kMaxHeadWidth + c] = y;
        keys[(size_t)position * hw + c] = x, values[(size_t)position * hw + c] = y;
      }
    }
    sync();
    HUNCH_MARK(3);
#pragma unroll 1
    for (uint32_t first = 0; first < group; first += 4) {
      if (first > 0) ahead.begin(lanes, keys, values, hw, u);
      if (group == 1) attend<1>(t, b, rest, queries, fresh, u.kv, u, lanes, ahead, keys, values, 1);
      else attend<4>(t, b, rest, queries + first * hw, fresh, u.kv * group + first, u, lanes, ahead, keys, values, min(4u, group - first));
    }
  }
  if (!open) open_stage(t, b, s);
}

}  // namespace hunch::cuda
