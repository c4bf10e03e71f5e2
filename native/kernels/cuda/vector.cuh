// Makes the vector that a stage multiplies: gathers it, adds the branch before, normalises, quantises. Every block makes all of it for itself,
// which is cheaper than one making it and the others waiting.
#pragma once

#include "block.cuh"

namespace hunch::cuda {

// Which heads are computed (DejaVu, Liu 2023). Scores are few: every block makes them.
__device__ inline void choose_heads(const Token& t, Block& b, const Stage& s) {
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
  __syncthreads();
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
  __syncthreads();
  if (blockIdx.x == 0)
    for (uint32_t i = threadIdx.x; i <= t.heads; i += kThreads) s.kept_heads[i] = b.kept[i];
  if (blockIdx.x == 0 && threadIdx.x == 0 && s.heads_counted) *s.heads_counted += b.kept[0];
}

// What each part of a head's attention weighs (flash-decoding): [heads][splits] in b.sums.
__device__ inline void weigh_parts(const Token& t, Block& b, uint32_t splits) {
#pragma unroll 1
  for (uint32_t h = threadIdx.x; h < t.heads; h += kThreads) {
    const float* max = t.part_max + h * t.max_splits;
    const float* sum = t.part_sum + h * t.max_splits;
    float top = -INFINITY, total = 0;
#pragma unroll 4
    for (uint32_t i = 0; i < splits; i++) top = fmaxf(top, max[i]);
#pragma unroll 4
    for (uint32_t i = 0; i < splits; i++) {
      const float w = exp2f(max[i] - top);
      b.sums[h * splits + i] = w;
      total += w * sum[i];
    }
    const float inverse = 1.0f / total;
#pragma unroll 1
    for (uint32_t i = 0; i < splits; i++) b.sums[h * splits + i] *= inverse;
  }
  __syncthreads();
}
// Parts that attention cuts a layer's positions into: a function of the position alone, so that every block knows.
__device__ inline uint32_t attention_splits(const Token& t, const Stage& s, uint32_t position) {
  const uint32_t seen = s.window && position + 1 > s.window ? s.window : position + 1;
  return max(1u, min(s.most_splits, (seen + 63) / 64));
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

constexpr uint32_t kHeld = 4;  // groups of four columns that a thread holds at once

// Eight threads side by side hold a block of 32 columns: its int8, scale and sum.
__device__ __noinline__ void quantise(Vector vector, uint32_t c, float4 v, uint32_t length) {
  float peak = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
#pragma unroll
  for (int o = 4; o; o >>= 1) peak = fmaxf(peak, __shfl_xor_sync(~0u, peak, o));
  const float to = peak > 0 ? 127.0f / peak : 0;
  const int x = __float2int_rn(v.x * to), y = __float2int_rn(v.y * to), z = __float2int_rn(v.z * to), w = __float2int_rn(v.w * to);
  int total = x + y + z + w;
#pragma unroll
  for (int o = 4; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
  if (c >= length) return;
  reinterpret_cast<uint32_t*>(vector.q)[quant_place(c)] = (x & 255) | (y & 255) << 8 | (z & 255) << 16 | (uint32_t)w << 24;
  if (c % 32 == 0) vector.d[c / 32] = {peak / 127, peak / 127 * (float)total};
}

__device__ __noinline__ void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t n = s.n;
  const Vector vector = vector_of(t);
  const float inverse = 1.0f / (float)n;
  uint32_t splits = 1, length = n;
  const bool direct = s.source == Source::vector && !s.want_float;  // long vectors that only quantised rows read are not kept in floats
  if (s.choose_heads) choose_heads(t, b, s);
  if (s.source == Source::attention) {
    splits = attention_splits(t, s, b.position);
    if (s.kept_heads) {
#pragma unroll 1
      for (uint32_t i = threadIdx.x; i <= t.heads; i += kThreads) b.kept[i] = s.kept_heads[i];
      __syncthreads();
      length = b.kept[0] * t.head_width;
    }
    weigh_parts(t, b, splits);
  }
  const bool branched = s.branch || s.branch_fixed, normed = s.norm.weight != nullptr;
  const auto branch4 = [&](uint32_t c) {
    if (s.branch) return load4(s.branch, c);
    constexpr float unit = 1.0f / 4294967296.0f;
    const longlong2 a = *reinterpret_cast<const longlong2*>(s.branch_fixed + c), d = *reinterpret_cast<const longlong2*>(s.branch_fixed + c + 2);
    return float4{(float)a.x * unit, (float)a.y * unit, (float)d.x * unit, (float)d.y * unit};
  };
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
    } else if (s.source == Source::attention) {  // joins what flash-decoding left in parts
      const float* acc[kHeld];
      const float* weight[kHeld];
#pragma unroll
      for (uint32_t i = 0; i < kHeld; i++) {
        const uint32_t c = (g0 + i * kThreads) * 4, place = divided(c, t.head_width);
        const uint32_t head = c >= length ? 0 : s.kept_heads ? b.kept[1 + place] : place;
        acc[i] = t.part_acc + (size_t)head * t.max_splits * t.head_width + (c - place * t.head_width);
        weight[i] = b.sums + head * splits;
        v[i] = {0, 0, 0, 0};
      }
#pragma unroll 1
      for (uint32_t k = 0; k < splits; k++)
#pragma unroll
        for (uint32_t i = 0; i < kHeld; i++) {
          if ((g0 + i * kThreads) * 4 >= length) continue;
          const float4 a = load4(acc[i], k * t.head_width);
          const float w = weight[i][k];
          v[i].x += w * a.x, v[i].y += w * a.y, v[i].z += w * a.z, v[i].w += w * a.w;
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
        if (!normed && s.want_quantised && (g & ~31u) * 4 < length) quantise(vector, g * 4, v[i], length);
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
      if (s.want_quantised) quantise(vector, g * 4, v[i], length);
    }
  } else if (normed) {
#pragma unroll 1
    for (uint32_t g = threadIdx.x; (g & ~31u) * 4 < length; g += kThreads) {
      float4 u = {0, 0, 0, 0};
      if (g * 4 < length) vector.f[float_place(g * 4)] = u = normalised(vector.f[float_place(g * 4)], load4(s.norm.weight, g * 4), g * 4);
      if (s.want_quantised) quantise(vector, g * 4, u, length);
    }
  }
  __syncthreads();
}

}  // namespace hunch::cuda
