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

// Four columns from c on of what attention left in parts (flash-decoding): column c of the heads that are kept.
__device__ inline float4 joined(const Token& t, const Block& b, const Stage& s, uint32_t c, uint32_t splits) {
  const uint32_t hw = t.head_width;
  const uint32_t head = s.kept_heads ? b.kept[1 + c / hw] : c / hw, d = c % hw;
  const float* max = t.part_max + head * t.max_splits;
  const float* sum = t.part_sum + head * t.max_splits;
  const float* acc = t.part_acc + (size_t)head * t.max_splits * hw + d;
  if (splits == 1) {
    const float inverse = 1.0f / sum[0];
    const float4 v = *reinterpret_cast<const float4*>(acc);
    return {v.x * inverse, v.y * inverse, v.z * inverse, v.w * inverse};
  }
  float m = max[0];
#pragma unroll 1
  for (uint32_t i = 1; i < splits; i++) m = fmaxf(m, max[i]);
  float total = 0;
  float4 v = {0, 0, 0, 0};
#pragma unroll 2
  for (uint32_t i = 0; i < splits; i++) {
    const float w = exp2f(max[i] - m);
    const float4 a = *reinterpret_cast<const float4*>(acc + (size_t)i * hw);
    total += w * sum[i];
    v.x += w * a.x, v.y += w * a.y, v.z += w * a.z, v.w += w * a.w;
  }
  const float inverse = 1.0f / total;
  return {v.x * inverse, v.y * inverse, v.z * inverse, v.w * inverse};
}

// Parts that attention cuts a layer's positions into: a function of the position alone, so that every block knows.
__device__ inline uint32_t attention_splits(const Token& t, const Stage& s, uint32_t position) {
  const uint32_t seen = s.window && position + 1 > s.window ? s.window : position + 1;
  return max(1u, min(t.max_splits, (seen + 63) / 64));
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

__device__ __noinline__ void make_vector(const Token& t, Block& b, const Stage& s, NormAhead ahead) {
  HUNCH_SHARED(t), HUNCH_SHARED(b), HUNCH_SHARED(s);
  const uint32_t n = s.n;
  const Vector vector = vector_of(t);
  const float inverse = 1.0f / (float)n;
  float branch_scale = 1;
  uint32_t splits = 1, length = n;
  const bool direct = s.source == Source::vector && !s.want_float;  // long vectors that only quantised rows read are not kept in floats
  if (s.choose_heads) choose_heads(t, b, s);
  if (s.source == Source::attention) {
    splits = attention_splits(t, s, b.position);
    if (s.kept_heads) {
      for (uint32_t i = threadIdx.x; i <= t.heads; i += kThreads) b.kept[i] = s.kept_heads[i];
      __syncthreads();
      length = b.kept[0] * t.head_width;
    }
  }
  const auto branch4 = [&](uint32_t c) {
    if (s.branch) return load4(s.branch, c);
    float4 v = {0, 0, 0, 0};
    constexpr float unit = 1.0f / 4294967296.0f;
    v.x = (float)s.branch_fixed[c] * unit, v.y = (float)s.branch_fixed[c + 1] * unit;
    v.z = (float)s.branch_fixed[c + 2] * unit, v.w = (float)s.branch_fixed[c + 3] * unit;
    return v;
  };
  const bool branched = s.branch || s.branch_fixed;
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
  const int32_t token = s.source == Source::embedding ? t.tokens[b.position] : 0;
  float sum = 0, squares = 0;
  const auto plain4 = [&](uint32_t c) {
    float4 v = load4(s.x, c);
    if (s.relu) v.x = fmaxf(v.x, 0.0f), v.y = fmaxf(v.y, 0.0f), v.z = fmaxf(v.z, 0.0f), v.w = fmaxf(v.w, 0.0f);
    return v;
  };
#pragma unroll 1
  for (uint32_t g = threadIdx.x; g * 4 < length && !direct; g += kThreads) {
    const uint32_t c = g * 4;
    float4 v;
    if (s.source == Source::embedding) {
      v = embedded(s, token, b.position + s.position_offset, c);
    } else if (s.source == Source::attention) {
      v = joined(t, b, s, c, splits);
    } else {
      v = plain4(c);
      if (branched) {
        float4 w = branch4(c);
        if (s.branch_norm.weight) {
          const float4 weight = load4(s.branch_norm.weight, c);
          w.x *= branch_scale * weight.x, w.y *= branch_scale * weight.y, w.z *= branch_scale * weight.z, w.w *= branch_scale * weight.w;
        }
        v.x += w.x, v.y += w.y, v.z += w.z, v.w += w.w;
      }
    }
    if (s.x_out && g >= mine.x && g < mine.y) *reinterpret_cast<float4*>(s.x_out + c) = v;
    vector.f[float_place(c)] = v;
    sum += v.x + v.y + v.z + v.w;
    squares += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
  }
  float scale = 1, mean = 0;
  if (s.norm.weight) {
    if (s.norm.bias) {
      mean = block_sum(sum, b.scratch + 16) * inverse;
      float off = 0;
  #pragma unroll 1
    for (uint32_t c = threadIdx.x * 4; c < n; c += kThreads * 4) {
        const float4 v = vector.f[float_place(c)];
        const float x = v.x - mean, y = v.y - mean, z = v.z - mean, w = v.w - mean;
        off += x * x + y * y + z * z + w * w;
      }
      scale = rsqrtf(block_sum(off, b.scratch + 32) * inverse + t.epsilon);
    } else {
      scale = rsqrtf(block_sum(squares, b.scratch + 32) * inverse + t.epsilon);
    }
  }
  // A thread finds the columns again that it wrote.
  if (s.norm.weight || s.want_quantised)
#pragma unroll 1
    for (uint32_t g = threadIdx.x, turn = 0; g * 4 < (length + 127) / 128 * 128; g += kThreads, turn++) {  // whole warps: four blocks of 32 at a time
      const uint32_t c = g * 4;
      float4 v = {0, 0, 0, 0};
      if (c < length) {
        v = direct ? plain4(c) : vector.f[float_place(c)];
        if (s.norm.weight) {
          const float4 w = turn < 4 ? (turn < 2 ? (turn ? ahead.weight[1] : ahead.weight[0]) : turn == 2 ? ahead.weight[2] : ahead.weight[3]) : load4(s.norm.weight, c);
          v.x = (v.x - mean) * scale * w.x, v.y = (v.y - mean) * scale * w.y, v.z = (v.z - mean) * scale * w.z, v.w = (v.w - mean) * scale * w.w;
          if (s.norm.bias) {
            const float4 a = load4(s.norm.bias, c);
            v.x += a.x, v.y += a.y, v.z += a.z, v.w += a.w;
          }
          vector.f[float_place(c)] = v;
        }
      }
      if (s.want_quantised) {
        float peak = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
        for (int o = 4; o; o >>= 1) peak = fmaxf(peak, __shfl_xor_sync(~0u, peak, o));
        const float to = peak > 0 ? 127.0f / peak : 0;
        const int x = __float2int_rn(v.x * to), y = __float2int_rn(v.y * to), z = __float2int_rn(v.z * to), w = __float2int_rn(v.w * to);
        int total = x + y + z + w;
        for (int o = 4; o; o >>= 1) total += __shfl_xor_sync(~0u, total, o);
        if (c < length) {
          reinterpret_cast<uint32_t*>(vector.q)[quant_place(c)] = (x & 255) | (y & 255) << 8 | (z & 255) << 16 | (uint32_t)w << 24;
          if (c % 32 == 0) vector.d[c / 32] = {peak / 127, peak / 127 * (float)total};
        }
      }
    }
  __syncthreads();
}

}  // namespace hunch::cuda
