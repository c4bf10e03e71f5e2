// What is done token by token in a batch: embeddings, norms, rotations, scores.
#pragma once

#include "prefill_tiles.cuh"

namespace hunch::cuda {

// Over a block of kRowThreads, the same in every thread.
template <class Join>
__device__ inline float over_block(float v, Join join) {
  __shared__ float space[kRowThreads / 32];
#pragma unroll
  for (int o = 16; o; o >>= 1) v = join(v, __shfl_xor_sync(~0u, v, o));
  __syncthreads();  // the call before has been read
  if (threadIdx.x % 32 == 0) space[threadIdx.x / 32] = v;
  __syncthreads();
  v = space[0];
#pragma unroll
  for (uint32_t i = 1; i < kRowThreads / 32; i++) v = join(v, space[i]);
  return v;
}
__device__ inline float add_up(float v) {
  return over_block(v, [](float a, float b) { return a + b; });
}

__device__ inline float4 plus(const float4& a, const float4& b) { return {a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }

// f(c, value) for a thread's columns of a row of n (a multiple of 4).
template <class F>
__device__ inline void each4(const float* row, uint32_t n, F f) {
#pragma unroll 2
  for (uint32_t c = threadIdx.x * 4; c < n; c += kRowThreads * 4) f(c, *reinterpret_cast<const float4*>(row + c));
}

// (x - mean) * scale * weight + bias
struct Normal {
  const Norm& norm;
  float mean, scale;
  __device__ Normal(const Norm& which, const float* row, uint32_t n, float epsilon) : norm(which), mean(0), scale(1) {
    if (!norm.weight) return;
    if (norm.bias) {
      float sum = 0;
      each4(row, n, [&](uint32_t, const float4& v) { sum += v.x + v.y + (v.z + v.w); });
      mean = add_up(sum) / (float)n;
    }
    float squares = 0;
    each4(row, n, [&](uint32_t, const float4& v) {
      const float a = v.x - mean, b = v.y - mean, c = v.z - mean, d = v.w - mean;
      squares += a * a + b * b + (c * c + d * d);
    });
    scale = rsqrtf(add_up(squares) / (float)n + epsilon);
  }
  __device__ float4 operator()(uint32_t c, const float4& v) const {
    if (!norm.weight) return v;
    const float4 w = __ldg(reinterpret_cast<const float4*>(norm.weight + c));
    float4 out = {(v.x - mean) * scale * w.x, (v.y - mean) * scale * w.y, (v.z - mean) * scale * w.z, (v.w - mean) * scale * w.w};
    return norm.bias ? plus(out, __ldg(reinterpret_cast<const float4*>(norm.bias + c))) : out;
  }
};

__device__ inline void norm_row(const NormLaunch& t) {
  float* x = t.x + (size_t)blockIdx.x * t.n;
  if (t.branch) {  // a thread reads only what it has written itself
    float* branch = t.branch + (size_t)blockIdx.x * t.n;
    const size_t part = (size_t)gridDim.x * t.n;
    if (t.parts > 1)
      each4(branch, t.n, [&](uint32_t c, float4 v) {
        for (uint32_t i = 1; i < t.parts; i++) v = plus(v, *reinterpret_cast<const float4*>(branch + i * part + c));
        *reinterpret_cast<float4*>(branch + c) = v;
      });
    const Normal normal(t.branch_norm, branch, t.n, t.epsilon);
    each4(branch, t.n, [&](uint32_t c, const float4& v) {
      float4& to = *reinterpret_cast<float4*>(x + c);
      to = plus(to, normal(c, v));
    });
  }
  const Normal normal(t.norm, x, t.n, t.epsilon);
  float peak = 0;
  each4(x, t.n, [&](uint32_t c, const float4& v) {
    const float4 y = normal(c, v);
    peak = fmaxf(peak, fmaxf(fmaxf(fabsf(y.x), fabsf(y.y)), fmaxf(fabsf(y.z), fabsf(y.w))));
  });
  peak = over_block(peak, [](float a, float b) { return fmaxf(a, b); });
  const int exponent = max((int)(__float_as_uint(peak) >> 23) - 127, -100);  // peak in [2^exponent, 2^(exponent + 1))
  const float inverse = __uint_as_float((uint32_t)(127 + 13 - exponent) << 23);
  if (threadIdx.x == 0) t.scale[blockIdx.x] = __uint_as_float((uint32_t)(127 - 13 + exponent) << 23);
  uint16_t* out = t.out + (size_t)blockIdx.x * t.n;
  each4(x, t.n, [&](uint32_t c, const float4& v) {
    const float4 y = normal(c, v);
    *reinterpret_cast<uint2*>(out + c) = {two_halves(y.x * inverse, y.y * inverse), two_halves(y.z * inverse, y.w * inverse)};
  });
}

__device__ inline void embed_row(const EmbedLaunch& t) {
  const uint32_t token = (uint32_t)t.tokens[blockIdx.x];
#pragma unroll 1
  for (uint32_t c = threadIdx.x; c < t.width; c += kRowThreads) {
    float v = value_at(t.embedding, token, c) * t.scale;
    if (t.positions.data) v += value_at(t.positions, t.position + blockIdx.x, c);
    t.x[(size_t)blockIdx.x * t.width + c] = v;
  }
}

// A warp has a head.
__device__ inline void turn_heads(const TurnLaunch& t) {
  __shared__ float space[kRowThreads / 32][kMaxHeadWidth];
  const uint32_t lane = threadIdx.x % 32, token = blockIdx.x, hw = t.head_width, group = t.heads / t.kv_heads, position = t.position + token;
  const uint32_t head = blockIdx.y * (kRowThreads / 32) + threadIdx.x / 32;
  if (head >= t.heads + 2 * t.kv_heads) return;
  const float* from = t.qkv + ((size_t)token * (t.heads + 2 * t.kv_heads) + head) * hw;
  float* to = space[threadIdx.x / 32];
  const bool query = head < t.heads, value = head >= t.heads + t.kv_heads;
  const uint32_t kv = query ? head / group : value ? head - t.heads - t.kv_heads : head - t.heads;
  float squares = 0;
#pragma unroll 1
  for (uint32_t i = lane; i < hw; i += 32) {
    to[i] = from[i];
    squares += from[i] * from[i];
  }
  const Norm& norm = query ? t.q_norm : t.k_norm;
  if (!value && norm.weight) {
#pragma unroll
    for (int o = 16; o; o >>= 1) squares += __shfl_xor_sync(~0u, squares, o);
    const float k = rsqrtf(squares / (float)hw + t.epsilon);
#pragma unroll 1
    for (uint32_t i = lane; i < hw; i += 32) to[i] *= k * norm.weight[i];
  }
  __syncwarp();
  if (!value && t.cosine) {
    const uint32_t half = t.rope_width / 2;
#pragma unroll 1
    for (uint32_t i = lane; i < half; i += 32) {
      const float c = t.cosine[(size_t)position * half + i], w = t.sine[(size_t)position * half + i];
      float &a = to[t.neox ? i : 2 * i], &b = to[t.neox ? i + half : 2 * i + 1];
      const float x = a, y = b;
      a = x * c - y * w, b = x * w + y * c;
    }
    __syncwarp();
  }
  // Scores of queries beyond f16 would be far beyond what a softmax tells apart.
  const float scale = query ? t.query_scale : 1.0f, end = query ? 65504.0f : INFINITY;
  uint16_t* out = query ? t.queries + (((size_t)kv * t.tokens + token) * group + head % group) * hw : (value ? t.values : t.keys) + ((size_t)kv * t.context + position) * hw;
#pragma unroll 1
  for (uint32_t i = lane; i < hw; i += 32) out[i] = __half_as_ushort(__float2half_rn(fminf(fmaxf(to[i] * scale, -end), end)));
}

__device__ inline void score_token(const ScoreLaunch& t) {
  __shared__ int32_t winner;
  const uint32_t token = blockIdx.x;
  float top = -INFINITY;
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < t.parts; i += kRowThreads) top = fmaxf(top, t.best[(size_t)i * t.tokens + token]);
  top = over_block(top, [](float a, float b) { return fmaxf(a, b); });
  if (threadIdx.x == 0) winner = INT32_MAX;
  float sum = 0;
  int32_t id = INT32_MAX;
#pragma unroll 1
  for (uint32_t i = threadIdx.x; i < t.parts; i += kRowThreads) {
    const size_t at = (size_t)i * t.tokens + token;
    sum += t.sum[at] * __expf(t.best[at] - top);
    if (t.best[at] == top) id = min(id, t.best_id[at]);
  }
  sum = add_up(sum);
  atomicMin(&winner, id);  // the first of equals, in whatever order they come
  __syncthreads();
  if (threadIdx.x) return;
  t.nll[token] = logf(sum) + top - t.target[token];
  t.greedy[token] = winner == t.targets[token];
}

}  // namespace hunch::cuda
