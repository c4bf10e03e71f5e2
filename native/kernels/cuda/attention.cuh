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

// Q queries of one KV head (in shared memory, scaled, of base 2) against positions [begin, end) of its cache.
template <uint32_t Q>
__device__ inline void attend(const Token& t, const Block& b, uint8_t* space, const float* queries, uint32_t head, uint32_t split, const uint16_t* keys, const uint16_t* values, uint32_t begin, uint32_t end,
                              uint32_t count) {
  const uint32_t hw = t.head_width, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint32_t width = 1;  // lanes that share a position
  while (width * 8 < hw) width *= 2;
  const uint32_t at_once = 32 / width, sub = lane % width, group = lane / width;
  const bool active = sub * 8 < hw;
  float q[Q][8], acc[Q][8], max[Q], sum[Q];
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) {
    max[j] = -INFINITY, sum[j] = 0;
#pragma unroll
    for (uint32_t i = 0; i < 8; i++) acc[j][i] = 0, q[j][i] = active && j < count ? queries[j * hw + sub * 8 + i] : 0;
  }
  // A position's key and value are asked for while the one before is worked on.
  const uint32_t step = kWarps * at_once;
  uint4 k{}, v{};
  uint32_t p = begin + warp * at_once + group;
  if (active && p < end) {
    k = *reinterpret_cast<const uint4*>(keys + (size_t)p * hw + sub * 8);
    v = *reinterpret_cast<const uint4*>(values + (size_t)p * hw + sub * 8);
  }
#pragma unroll 1
  for (uint32_t p0 = begin + warp * at_once; p0 < end; p0 += step, p += step) {
    float x[8], y[8];
    unpack8(k, x);
    unpack8(v, y);
    const bool seen = p < end;
    if (active && p + step < end) {
      k = *reinterpret_cast<const uint4*>(keys + (size_t)(p + step) * hw + sub * 8);
      v = *reinterpret_cast<const uint4*>(values + (size_t)(p + step) * hw + sub * 8);
    }
    float score[Q];
#pragma unroll
    for (uint32_t j = 0; j < Q; j++) {
      score[j] = 0;
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) score[j] += q[j][i] * x[i];
    }
#pragma unroll 1
    for (uint32_t o = width / 2; o; o >>= 1)
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
  float* shared = reinterpret_cast<float*>(space);  // [kWarps][Q][hw + 2]
  float top[Q];
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) top[j] = max[j];
#pragma unroll 1
  for (uint32_t o = width; o < 32; o <<= 1)
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
  for (uint32_t o = width; o < 32; o <<= 1)
#pragma unroll
    for (uint32_t j = 0; j < Q; j++) {
      sum[j] += __shfl_xor_sync(~0u, sum[j], o);
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) acc[j][i] += __shfl_xor_sync(~0u, acc[j][i], o);
    }
#pragma unroll
  for (uint32_t j = 0; j < Q; j++) {
    float* to = shared + (warp * Q + j) * (hw + 2);
    if (lane == 0) to[hw] = top[j], to[hw + 1] = sum[j];
    if (group == 0 && active)
#pragma unroll
      for (uint32_t i = 0; i < 8; i++) to[sub * 8 + i] = acc[j][i];
  }
  sync();
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < count * hw; i += kThreads) {
    const uint32_t j = divided(i, hw), d = i - j * hw;
    float top = -INFINITY;
#pragma unroll 4
    for (uint32_t w = 0; w < kWarps; w++) top = fmaxf(top, shared[(w * Q + j) * (hw + 2) + hw]);
    float total = 0, value = 0;
#pragma unroll 4
    for (uint32_t w = 0; w < kWarps; w++) {
      const float* from = shared + (w * Q + j) * (hw + 2);
      const float keep = from[hw] == -INFINITY ? 0 : exp2f(from[hw] - top);
      total += keep * from[hw + 1];
      value += keep * from[d];
    }
    const size_t at = (size_t)(head + j) * t.max_splits + split;
    t.part_acc[at * hw + d] = value;
    if (d == 0) t.part_max[at] = top, t.part_sum[at] = total;
  }
  sync();
}

// Units of attention: KV heads x splits. Blocks past them are free.
__device__ inline uint32_t attention_units(const Token& t, const Stage& s, uint32_t position) { return t.kv_heads * attention_splits(t, s, position); }

// Before the barrier: keys and values of earlier positions, and the rotation, are asked for.
__device__ inline void ask_for_positions(const Token& t, const Block& b, const Stage& s) {
  const uint32_t hw = t.head_width, position = b.position, splits = attention_splits(t, s, position);
  const uint32_t from = s.window && position + 1 > s.window ? position + 1 - s.window : 0, seen = position + 1 - from;
  const uint32_t kv = divided(blockIdx.x, splits), split = blockIdx.x - kv * splits;
  const uint32_t begin = from + seen * split / splits, end = from + seen * (split + 1) / splits;
  const uint8_t *keys = reinterpret_cast<const uint8_t*>(s.keys + ((size_t)kv * t.context + begin) * hw), *values = reinterpret_cast<const uint8_t*>(s.values + ((size_t)kv * t.context + begin) * hw);
  const uint32_t bytes = (end - begin) * hw * 2;
  prefetch_range(keys, bytes, threadIdx.x, kThreads);
  prefetch_range(values, bytes, threadIdx.x, kThreads);
  if (s.cosine && threadIdx.x * 32 < s.rope_width / 2) {
    const size_t at = (size_t)position * (s.rope_width / 2) + threadIdx.x * 32;
    prefetch_l2(s.cosine + at), prefetch_l2(s.sine + at);
  }
}

__device__ __noinline__ void run_attention(const Token& t, Block& b, const Stage& s, uint8_t* space) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t hw = t.head_width, group = t.heads / t.kv_heads, position = b.position;
  const uint32_t splits = attention_splits(t, s, position), units = t.kv_heads * splits;
  const uint32_t from = s.window && position + 1 > s.window ? position + 1 - s.window : 0, seen = position + 1 - from;
  float* queries = reinterpret_cast<float*>(space);        // [group][hw]
  float* key = queries + group * hw;                       // [hw]
  uint8_t* rest = space + ((group + 1) * hw * 4 + 15) / 16 * 16;
#pragma unroll 1
  for (uint32_t u = blockIdx.x; u < units; u += gridDim.x) {
    const uint32_t kv = divided(u, splits), split = u - kv * splits;
    if (s.kept_heads) {  // a KV head whose queries are all skipped is not read
      bool any = false;
      for (uint32_t i = 0; i < b.kept[0]; i++) any |= b.kept[1 + i] / group == kv;
      if (!any && split + 1 < splits) continue;
    }
    const bool last = split + 1 == splits;
    const uint32_t begin = from + seen * split / splits, end = from + seen * (split + 1) / splits;
    uint16_t *keys = s.keys + (size_t)kv * t.context * hw, *values = s.values + (size_t)kv * t.context * hw;
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
    for (uint32_t h = warp; h < group + (last ? 1 : 0); h += kWarps) {
      if (h < group) turn(t, s, s.q_norm, s.qkv + (size_t)(kv * group + h) * hw, queries + h * hw, hw, position, s.query_scale);
      else {
        turn(t, s, s.k_norm, s.qkv + (size_t)(t.heads + kv) * hw, key, hw, position, 1);
        __syncwarp();
        const float* value = s.qkv + (size_t)(t.heads + t.kv_heads + kv) * hw;
#pragma unroll 1
        for (uint32_t i = lane; i < hw; i += 32) {
          keys[(size_t)position * hw + i] = __half_as_ushort(__float2half_rn(key[i]));
          values[(size_t)position * hw + i] = __half_as_ushort(__float2half_rn(value[i]));
        }
      }
    }
    sync();
    HUNCH_MARK(3);
#pragma unroll 1
    for (uint32_t first = 0; first < group; first += 4) {
      const uint32_t count = min(4u, group - first);
      if (group == 1) attend<1>(t, b, rest, queries, kv, split, keys, values, begin, end, 1);
      else attend<4>(t, b, rest, queries + first * hw, kv * group + first, split, keys, values, begin, end, count);
    }
  }
}

}  // namespace hunch::cuda
