// Makes the vector that a stage multiplies: gathers it, adds the branch before, normalises, quantises. Every block makes all of it for itself,
// which is cheaper than one making it and the others waiting.
#pragma once

#include "block.cuh"

namespace hunch::cuda {

// Which heads are computed (DejaVu, Liu 2023). Scores are few: every block makes them.
__device__ __noinline__ void choose_heads(const Token& t, Block& b, const Stage& s) {
  const HeadChoice& c = s.heads;
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll 1
  for (uint32_t h = warp; h < t.heads; h += kWarps) {
    float sum = 0;
#pragma unroll 2
    for (uint32_t r = lane; r < c.rank; r += 32) {
      const float x = c.hidden[r];
      sum += c.b[(size_t)h * c.rank + r] * (c.relu ? fmaxf(x, 0.0f) : x);
    }
    sum = warp_sum(sum) + c.bias[h];
    if (lane == 0) b.kept[1 + h] = sum > *c.threshold;
  }
  sync();
  if (warp == 0) {
    uint32_t count = 0;
    for (uint32_t h0 = 0; h0 < t.heads; h0 += 32) {
      const uint32_t h = h0 + lane;
      const bool keep = h < t.heads && b.kept[1 + h];
      const uint32_t votes = __ballot_sync(~0u, keep);
      __syncwarp();
      if (keep) b.kept[1 + count + __popc(votes & ((1u << lane) - 1))] = h;  // never past h: the list is no longer than what was read
      count += __popc(votes);
      __syncwarp();
    }
    if (lane == 0) b.kept[0] = count;
  }
  sync();
  if (threadIdx.x == 0) arrive_gate(&b.heads_known);
  if (blockIdx.x == 0 && threadIdx.x == 0 && s.heads_counted) *s.heads_counted += b.kept[0];
}

__device__ __noinline__ inline float4 embedded(const Stage& s, uint32_t token, uint32_t position, uint32_t c) {
  float v[4];
#pragma unroll 1
  for (uint32_t i = 0; i < 4; i++) {
    float x = c + i < s.n ? value_at(s.embedding, token, c + i) * s.scale : 0;
    if (s.positions.data && c + i < s.n) x += value_at(s.positions, position, c + i);
    v[i] = x;
  }
  return {v[0], v[1], v[2], v[3]};
}

__device__ inline float4 load4(const float* p, uint32_t c) {
  return *reinterpret_cast<const float4*>(p + c);  // lengths are multiples of 8: the host sees to it
}

// Eight threads side by side hold a block of 32 columns: its int8 go to the vector, its scale and sum follow (scales()). A thread's groups g0 + i kThreads go
// together, so that none waits for another's shuffles. Whole warps come, for groups of which the first is below the length.
template <uint32_t N>
struct Quantised {
  float peak[N];
  int total[N];

  // `sum` is added over the warp on the way.
  __device__ Quantised(const Vector& vector, uint32_t g0, const float4 (&v)[N], uint32_t length, float& sum) {
    constexpr float kRound = 12582912.0f;  // 1.5 x 2^23: a float's low bits are then the nearest integer
    uint32_t word[N];
#pragma unroll
    for (uint32_t i = 0; i < N; i++) peak[i] = fmaxf(fmaxf(fabsf(v[i].x), fabsf(v[i].y)), fmaxf(fabsf(v[i].z), fabsf(v[i].w)));
#pragma unroll
    for (int o = 4; o; o >>= 1) {
#pragma unroll
      for (uint32_t i = 0; i < N; i++) peak[i] = fmaxf(peak[i], __shfl_xor_sync(~0u, peak[i], o));
      sum += __shfl_xor_sync(~0u, sum, o * 4);
    }
#pragma unroll
    for (uint32_t i = 0; i < N; i++) {
      const float to = __fdividef(127.0f, fmaxf(peak[i], 1e-30f));
      const uint32_t x = __float_as_uint(fmaf(v[i].x, to, kRound)), y = __float_as_uint(fmaf(v[i].y, to, kRound)), z = __float_as_uint(fmaf(v[i].z, to, kRound)), w = __float_as_uint(fmaf(v[i].w, to, kRound));
      word[i] = __byte_perm(__byte_perm(x, y, 0x0040), __byte_perm(z, w, 0x0040), 0x5410);
      total[i] = __dp4a((int)word[i], 0x01010101, 0);
    }
#pragma unroll
    for (int o = 4; o; o >>= 1) {
#pragma unroll
      for (uint32_t i = 0; i < N; i++) total[i] += __shfl_xor_sync(~0u, total[i], o);
      if (o > 1) sum += __shfl_xor_sync(~0u, sum, o / 2);
    }
    uint32_t* const words = reinterpret_cast<uint32_t*>(vector.q) + quant_place(g0 * 4);
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
      if ((g0 + i * kThreads) * 4 < length) words[i * kThreads] = word[i];
  }
  // What was quantised is to count `factor` times.
  __device__ void scales(const Vector& vector, uint32_t g0, uint32_t length, float factor) const {
    if (g0 % 8) return;
    float2* const d = vector.d + g0 / 8;
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
      if ((g0 + i * kThreads) * 4 < length) d[i * (kThreads / 8)] = {peak[i] * (factor / 127), peak[i] * (factor / 127) * (float)total[i]};
  }
};
static_assert(kThreads * 4 == 1024, "a thread's groups lie whole chunks apart");
template <uint32_t N>
__device__ inline void quantise(const Vector& vector, uint32_t g0, const float4 (&v)[N], uint32_t length) {
  float nothing = 0;
  Quantised<N>(vector, g0, v, length, nothing).scales(vector, g0, length, 1);
}
__device__ __noinline__ void quantise_one(const Vector vector, uint32_t g, float4 v, uint32_t length) {
  const float4 one[1] = {v};
  quantise(vector, g, one, length);
}

// The three vectors of a dense layer have functions of their own, all the others go through `any_vector`: what a stage runs must be short, because a
// multiprocessor fetches code that it ran a stage ago from far away again.

// The residual stream through an RMS norm, N groups of each thread: it is quantised before its length is known, which only the scales must know.
template <uint32_t N>
__device__ inline void normed_groups(const Token& t, Block& b, const Stage& s, const NormAhead& ahead) {
  const uint32_t n = s.n, g0 = threadIdx.x;
  const float* x = s.x;
  float4 v[N];
#pragma unroll
  for (uint32_t i = 0; i < N; i++) {
    const uint32_t c = (g0 + i * kThreads) * 4;
    v[i] = c < n ? load4(x, c) : float4{0, 0, 0, 0};
  }
  const Vector vector = vector_of(t);
  const uint32_t want_float = s.want_float, want_quantised = s.want_quantised;
  float squares = 0;
#pragma unroll
  for (uint32_t i = 0; i < N; i++) squares += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
#pragma unroll
  for (uint32_t i = 0; i < N; i++) v[i] = {v[i].x * ahead.weight[i].x, v[i].y * ahead.weight[i].y, v[i].z * ahead.weight[i].z, v[i].w * ahead.weight[i].w};
  const float inverse = __fdividef(1.0f, (float)n);
  float4* const floats = vector.f + float_place(g0 * 4);
  if (!want_quantised) {
    const float scale = rsqrtf(warps_sum(warp_sum(squares), b.scratch + 32) * inverse + t.epsilon);
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
      if ((g0 + i * kThreads) * 4 < n) floats[i * kThreads] = {v[i].x * scale, v[i].y * scale, v[i].z * scale, v[i].w * scale};
    return;
  }
  const Quantised<N> quantised(vector, g0, v, n, squares);
  const float scale = rsqrtf(warps_sum(squares, b.scratch + 32) * inverse + t.epsilon);
  quantised.scales(vector, g0, n, scale);
  if (want_float)
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
      if ((g0 + i * kThreads) * 4 < n) floats[i * kThreads] = {v[i].x * scale, v[i].y * scale, v[i].z * scale, v[i].w * scale};
}
// Up to kHeld x kThreads x 4 columns.
__device__ __noinline__ void normed_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  if (s.n <= kThreads * 4) normed_groups<1>(t, b, s, ahead);
  else if (s.n <= kThreads * 8) normed_groups<2>(t, b, s, ahead);
  else normed_groups<kHeld>(t, b, s, ahead);
  sync();
}

// A vector as it is, N groups of a thread at once.
template <uint32_t N>
__device__ inline void load_groups(float4 (&to)[N], const float* x, uint32_t g0, uint32_t n) {
#pragma unroll
  for (uint32_t i = 0; i < N; i++) {
    const uint32_t c = (g0 + i * kThreads) * 4;
    to[i] = c < n ? load4(x, c) : float4{0, 0, 0, 0};
  }
}
template <uint32_t N>
__device__ inline void keep_groups(const Vector& vector, const Stage& s, uint32_t g0, const float4 (&v)[N], uint32_t n) {
  if (s.want_float) {
    float4* const floats = vector.f + float_place(g0 * 4);
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
      if ((g0 + i * kThreads) * 4 < n) floats[i * kThreads] = v[i];
  }
  if (s.want_quantised) quantise(vector, g0, v, n);
}
__device__ __noinline__ void plain_vector(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t n = s.n;
  const Vector vector = vector_of(t);
  if (n <= kThreads * 8) {
    float4 v[2];
    load_groups(v, s.x, threadIdx.x, n);
    keep_groups(vector, s, threadIdx.x, v, n);
  } else {
    float4 v[kHeld], next[kHeld];  // which are asked for before the others are worked on
    load_groups(v, s.x, threadIdx.x, n);
#pragma unroll 1
    for (uint32_t g0 = threadIdx.x; (g0 & ~31u) * 4 < n; g0 += kHeld * kThreads) {
      load_groups(next, s.x, g0 + kHeld * kThreads, n);
      keep_groups(vector, s, g0, v, n);
#pragma unroll
      for (uint32_t i = 0; i < kHeld; i++) v[i] = next[i];
    }
  }
  sync();
}

// A predictor's hidden vector, for its second factor.
__device__ __noinline__ void short_vector(const Token& t, const float* x, uint32_t n, uint32_t relu) {
  HUNCH_SHARED(t);
  const Vector vector = vector_of(t);
#pragma unroll 1
  for (uint32_t g = threadIdx.x; (g & ~31u) * 4 < n; g += kThreads) {
    float4 v = g * 4 < n ? load4(x, g * 4) : float4{0, 0, 0, 0};
    if (relu) v = {fmaxf(v.x, 0.0f), fmaxf(v.y, 0.0f), fmaxf(v.z, 0.0f), fmaxf(v.w, 0.0f)};
    quantise_one(vector, g, v, n);
  }
  sync();
}

// Columns [c, c + 4) of a head's attention, of which flash-decoding left parts: what they weigh and what they hold is asked for together.
__device__ inline float4 joined(const Token& t, uint32_t head, uint32_t c, uint32_t splits) {
  const float *max = t.part_max + head * t.max_splits, *sum = t.part_sum + head * t.max_splits, *acc = t.part_acc + (size_t)head * t.max_splits * t.head_width + c;
  float top = -INFINITY, total = 0;
  float4 v = {0, 0, 0, 0};
#pragma unroll 1
  for (uint32_t k0 = 0; k0 < splits; k0 += 4) {
    float m[4], s[4];
    float4 a[4];
#pragma unroll
    for (uint32_t k = 0; k < 4; k++) {
      const uint32_t at = min(k0 + k, splits - 1);
      m[k] = k0 + k < splits ? max[at] : -INFINITY, s[k] = sum[at], a[k] = load4(acc, at * t.head_width);
    }
    const float higher = fmaxf(fmaxf(fmaxf(m[0], m[1]), fmaxf(m[2], m[3])), top), keep = exp2f(top - higher);
    total *= keep, v.x *= keep, v.y *= keep, v.z *= keep, v.w *= keep;
#pragma unroll
    for (uint32_t k = 0; k < 4; k++) {
      const float w = exp2f(m[k] - higher);
      total += w * s[k], v.x += w * a[k].x, v.y += w * a[k].y, v.z += w * a[k].z, v.w += w * a[k].w;
    }
    top = higher;
  }
  const float inverse = __fdividef(1.0f, total);
  return {v.x * inverse, v.y * inverse, v.z * inverse, v.w * inverse};
}

// What each part of each head's attention counts for, b.sums[head * splits + part]; lanes side by side have a head's parts.
__device__ inline void weigh_parts(const Token& t, Block& b, uint32_t splits) {
  const uint32_t wide = power_above(splits);
#pragma unroll 1
  for (uint32_t i = threadIdx.x; (i & ~31u) < t.heads * wide; i += kThreads) {
    const uint32_t k = i & (wide - 1), h = i / wide, at = h * t.max_splits + k;
    const bool there = h < t.heads && k < splits;
    const float m = there ? t.part_max[at] : -INFINITY, sum = there ? t.part_sum[at] : 0;
    float top = m;
#pragma unroll 1
    for (uint32_t o = wide / 2; o; o >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, o));
    const float w = there ? exp2f(m - top) : 0;
    float total = w * sum;
#pragma unroll 1
    for (uint32_t o = wide / 2; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
    if (there) b.sums[h * splits + k] = __fdividef(w, total);
  }
}

// All heads' attention, N groups of a thread at once: the first parts are on their way while all are weighed.
template <uint32_t N>
__device__ inline void joined_groups(const Token& t, Block& b, const Stage& s, uint32_t g0, uint32_t splits, bool weigh) {
  constexpr uint32_t kParts = N == 1 ? 4 : 2;
  const uint32_t n = s.n, hw = t.head_width;
  const Vector vector = vector_of(t);
  const float* const part_acc = t.part_acc;
  uint32_t from[N], weight[N];
  float4 v[N];
#pragma unroll
  for (uint32_t i = 0; i < N; i++) {
    const uint32_t c = min((g0 + i * kThreads) * 4, n - 4), head = divided(c, hw);
    from[i] = head * t.max_splits * hw + (c - head * hw), weight[i] = head * splits;
    v[i] = {0, 0, 0, 0};
  }
#pragma unroll 1
  for (uint32_t k0 = 0; k0 < splits; k0 += kParts) {
    float4 a[N][kParts];
#pragma unroll
    for (uint32_t i = 0; i < N; i++)
#pragma unroll
      for (uint32_t k = 0; k < kParts; k++)
        if (k0 + k < splits) a[i][k] = load4(part_acc, from[i] + (k0 + k) * hw);
    if (weigh) {
      weigh_parts(t, b, splits);
      sync();
      weigh = false;
    }
#pragma unroll
    for (uint32_t k = 0; k < kParts; k++) {
      if (k0 + k >= splits) break;
#pragma unroll
      for (uint32_t i = 0; i < N; i++) {
        const float w = b.sums[weight[i] + k0 + k];
        v[i].x += w * a[i][k].x, v[i].y += w * a[i][k].y, v[i].z += w * a[i][k].z, v[i].w += w * a[i][k].w;
      }
    }
  }
  keep_groups(vector, s, g0, v, n);
}
__device__ __noinline__ void joined_vector(const Token& t, Block& b, const Stage& s) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t splits = attention_splits(t, s, b.position);
  if (s.n <= kThreads * 4) joined_groups<1>(t, b, s, threadIdx.x, splits, true);
  else
#pragma unroll 1
    for (uint32_t g0 = threadIdx.x; (g0 - threadIdx.x) * 4 < s.n; g0 += 2 * kThreads) joined_groups<2>(t, b, s, g0, splits, g0 == threadIdx.x);
  sync();
}

__device__ __noinline__ void any_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead);

__device__ inline void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead) {
  if (s.way == Way::normed) normed_vector(t, b, s, ahead);
  else if (s.way == Way::plain) plain_vector(t, b, s);
  else if (s.way == Way::joined) joined_vector(t, b, s);
  else any_vector(t, b, s, ahead);
}

__device__ __noinline__ void any_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t n = s.n;
  const Vector vector = vector_of(t);
  const float inverse = 1.0f / (float)n;
  uint32_t splits = 1, length = n;
  const bool direct = s.source == Source::vector && !s.want_float;  // long vectors that only quantised rows read are not kept in floats
  if (s.source == Source::attention) {
    splits = attention_splits(t, s, b.position);
    if (s.kept_heads) length = b.kept[0] * t.head_width;
  }
  const bool branched = s.branch, normed = s.norm.weight != nullptr;
  const auto branch4 = [&](uint32_t c) { return load4(s.branch, c); };
  float branch_scale = 1;
  if (branched && s.branch_norm.weight) {
    float sum = 0;
#pragma unroll 1
    for (uint32_t c = threadIdx.x * 4; c < n; c += kThreads * 4) {
      const float4 v = branch4(c);
      sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    branch_scale = rsqrtf(block_sum(sum, b.scratch) * inverse + t.epsilon);
  }
  const uint2 mine = share(n / 4, blockIdx.x, gridDim.x);
  float4 v[kHeld];
  float sum = 0, squares = 0;
  // Groups g0, g0 + kThreads, …: their loads are on their way together.
  const auto gather = [&](uint32_t g0) {
    if (s.source == Source::embedding) {
      const uint32_t token = (uint32_t)t.tokens[b.position];
#pragma unroll
      for (uint32_t i = 0; i < kHeld; i++) {
        v[i] = {0, 0, 0, 0};
        if ((g0 + i * kThreads) * 4 < length) v[i] = embedded(s, token, b.position + s.position_offset, (g0 + i * kThreads) * 4);
      }
    } else if (s.source == Source::attention) {
#pragma unroll 1
      for (uint32_t i = 0; i < kHeld; i++) {
        const uint32_t c = (g0 + i * kThreads) * 4, place = divided(c, t.head_width);
        v[i] = c < length ? joined(t, s.kept_heads ? b.kept[1 + place] : place, c - place * t.head_width, splits) : float4{0, 0, 0, 0};
      }
    } else {
#pragma unroll
      for (uint32_t i = 0; i < kHeld; i++) v[i] = (g0 + i * kThreads) * 4 < length ? load4(s.x, (g0 + i * kThreads) * 4) : float4{0, 0, 0, 0};
      if (branched)
#pragma unroll
        for (uint32_t i = 0; i < kHeld; i++) {
          const uint32_t c = (g0 + i * kThreads) * 4;
          if (c >= length) continue;
          const float4 w = branch4(c);
          float4 weight = {1, 1, 1, 1};
          if (s.branch_norm.weight) weight = load4(s.branch_norm.weight, c);
          v[i].x += w.x * branch_scale * weight.x, v[i].y += w.y * branch_scale * weight.y, v[i].z += w.z * branch_scale * weight.z, v[i].w += w.w * branch_scale * weight.w;
        }
      if (s.relu)
#pragma unroll
        for (uint32_t i = 0; i < kHeld; i++) v[i] = {fmaxf(v[i].x, 0.0f), fmaxf(v[i].y, 0.0f), fmaxf(v[i].z, 0.0f), fmaxf(v[i].w, 0.0f)};
    }
#pragma unroll
    for (uint32_t i = 0; i < kHeld; i++) {
      const uint32_t g = g0 + i * kThreads;
      if (s.x_out && g >= mine.x && g < mine.y) *reinterpret_cast<float4*>(s.x_out + g * 4) = v[i];
      sum += v[i].x + v[i].y + v[i].z + v[i].w;
      squares += v[i].x * v[i].x + v[i].y * v[i].y + v[i].z * v[i].z + v[i].w * v[i].w;
    }
  };
  const auto apart = [](const float4& a, float mean) {
    const float x = a.x - mean, y = a.y - mean, z = a.z - mean, w = a.w - mean;
    return x * x + y * y + z * z + w * w;
  };

  const bool held = length <= kHeld * kThreads * 4;  // all of it stays in registers between the two passes
  if (held) gather(threadIdx.x);
  else
#pragma unroll 1
    for (uint32_t g0 = threadIdx.x; (g0 & ~31u) * 4 < length; g0 += kHeld * kThreads) {
      gather(g0);
#pragma unroll
      for (uint32_t i = 0; i < kHeld; i++) {
        const uint32_t g = g0 + i * kThreads;
        if (!direct && g * 4 < length) vector.f[float_place(g * 4)] = v[i];
        if (!normed && s.want_quantised && (g & ~31u) * 4 < length) quantise_one(vector, g, v[i], length);
      }
    }
  float scale = 1, mean = 0;
  if (normed) {
    if (s.norm.bias) {
      mean = block_sum(sum, b.scratch + 16) * inverse;
      float off = 0;
      if (held) {
#pragma unroll
        for (uint32_t i = 0; i < kHeld; i++)
          if ((threadIdx.x + i * kThreads) * 4 < length) off += apart(v[i], mean);
      } else {
#pragma unroll 1
        for (uint32_t g = threadIdx.x; g * 4 < length; g += kThreads) off += apart(vector.f[float_place(g * 4)], mean);
      }
      squares = off;
    }
    scale = rsqrtf(block_sum(squares, b.scratch + 32) * inverse + t.epsilon);
  }
  const auto normalised = [&](float4 u, const float4& w, uint32_t c) {
    u.x = (u.x - mean) * scale * w.x, u.y = (u.y - mean) * scale * w.y, u.z = (u.z - mean) * scale * w.z, u.w = (u.w - mean) * scale * w.w;
    if (s.norm.bias) {
      const float4 a = load4(s.norm.bias, c);
      u.x += a.x, u.y += a.y, u.z += a.z, u.w += a.w;
    }
    return u;
  };
  if (held) {
#pragma unroll
    for (uint32_t i = 0; i < kHeld; i++) {
      const uint32_t g = threadIdx.x + i * kThreads;
      if ((g & ~31u) * 4 >= length) continue;  // whole warps: four blocks of 32 at a time
      if (g * 4 < length) {
        if (normed) v[i] = normalised(v[i], ahead.weight[i], g * 4);
        if (s.want_float) vector.f[float_place(g * 4)] = v[i];
      }
      if (s.want_quantised) quantise_one(vector, g, v[i], length);
    }
  } else if (normed) {
#pragma unroll 1
    for (uint32_t g = threadIdx.x; (g & ~31u) * 4 < length; g += kThreads) {
      float4 u = {0, 0, 0, 0};
      if (g * 4 < length) vector.f[float_place(g * 4)] = u = normalised(vector.f[float_place(g * 4)], load4(s.norm.weight, g * 4), g * 4);
      if (s.want_quantised) quantise_one(vector, g, u, length);
    }
  }
  sync();
}

}  // namespace hunch::cuda
