// What a thread does with its piece of a row: dot products with the token's vector, and plain values.
#pragma once

#include "common.cuh"

namespace hunch::cuda {

// A piece of the token's vector, in registers.
template <bool Float>
struct Piece;
template <>
struct Piece<true> {
  float4 a, b;
  __device__ void load(const Vector& v, uint32_t chunk, uint32_t lane) {
    a = v.f[(chunk * 2) * 32 + lane];
    b = v.f[(chunk * 2 + 1) * 32 + lane];
  }
};
template <>
struct Piece<false> {
  uint4 a, b;
  float d, s;  // scale; scale times the sum of the block's int8
  __device__ void load(const Vector& v, uint32_t chunk, uint32_t lane) {
    a = v.q[(chunk * 2) * 32 + lane];
    b = v.q[(chunk * 2 + 1) * 32 + lane];
    const float2 t = v.d[chunk * 32 + lane];
    d = t.x, s = t.y;
  }
};

__device__ inline float dot_bf16(uint32_t w, float x, float y, float sum) { return fmaf(__uint_as_float(w & 0xFFFF0000u), y, fmaf(__uint_as_float(w << 16), x, sum)); }
__device__ inline float dot_f16(uint32_t w, float x, float y, float sum) {
  const float2 v = __half22float2(*reinterpret_cast<const __half2*>(&w));
  return fmaf(v.y, y, fmaf(v.x, x, sum));
}
__device__ inline int dot4(uint32_t a, uint32_t b, int c) { return __dp4a((int)a, (int)b, c); }
__device__ inline uint32_t spread_bits(uint32_t four) { return ((four & 15) * 0x00204081u & 0x01010101u) << 4; }
__device__ inline int dot_bytes(const uint4& w, const uint4& x) { return dot4(w.x, x.x, dot4(w.y, x.y, dot4(w.z, x.z, dot4(w.w, x.w, 0)))); }
// Low and high halves apart: two short chains instead of a long one.
__device__ inline int dot_nibbles(const uint4& w, const uint4& low, const uint4& high) {
  constexpr uint32_t m = 0x0F0F0F0Fu;
  return dot4(w.x & m, low.x, dot4(w.y & m, low.y, dot4(w.z & m, low.z, dot4(w.w & m, low.w, 0)))) +
         dot4(w.x >> 4 & m, high.x, dot4(w.y >> 4 & m, high.y, dot4(w.z >> 4 & m, high.z, dot4(w.w >> 4 & m, high.w, 0))));
}
__device__ inline int dot_fives(const uint4& w, uint32_t h, const uint4& low, const uint4& high) {
  constexpr uint32_t m = 0x0F0F0F0Fu;
  return dot4(w.x & m | spread_bits(h), low.x, dot4(w.y & m | spread_bits(h >> 4), low.y, dot4(w.z & m | spread_bits(h >> 8), low.z, dot4(w.w & m | spread_bits(h >> 12), low.w, 0)))) +
         dot4(w.x >> 4 & m | spread_bits(h >> 16), high.x,
              dot4(w.y >> 4 & m | spread_bits(h >> 20), high.y, dot4(w.z >> 4 & m | spread_bits(h >> 24), high.z, dot4(w.w >> 4 & m | spread_bits(h >> 28), high.w, 0))));
}

// A piece in registers, from any memory. add(): acc[i] += h * value of the piece's column i.
template <Format F>
struct Loaded {
  uint4 w, v;
  uint2 t;
  __device__ void load(const uint8_t* plane, uint32_t step, const uint8_t* side) {
    w = *reinterpret_cast<const uint4*>(plane);
    if constexpr (planes(F) == 2) v = *reinterpret_cast<const uint4*>(plane + step);
    if constexpr (side_bytes(F) == 2) t.x = *reinterpret_cast<const uint16_t*>(side);
    if constexpr (side_bytes(F) == 4) t.x = *reinterpret_cast<const uint32_t*>(side);
    if constexpr (side_bytes(F) == 8) t = *reinterpret_cast<const uint2*>(side);
  }
  __device__ void add(float h, float (&acc)[piece_columns(F)]) const {
    const uint32_t word[4] = {w.x, w.y, w.z, w.w};
    if constexpr (F == Format::bf16 || F == Format::f16) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        if constexpr (F == Format::bf16) {
          acc[2 * i] += h * __uint_as_float(word[i] << 16);
          acc[2 * i + 1] += h * __uint_as_float(word[i] & 0xFFFF0000u);
        } else {
          const float2 p = __half22float2(*reinterpret_cast<const __half2*>(&word[i]));
          acc[2 * i] += h * p.x, acc[2 * i + 1] += h * p.y;
        }
      }
    } else if constexpr (F == Format::f32) {
      const float a[8] = {__uint_as_float(w.x), __uint_as_float(w.y), __uint_as_float(w.z), __uint_as_float(w.w),
                          __uint_as_float(v.x), __uint_as_float(v.y), __uint_as_float(v.z), __uint_as_float(v.w)};
#pragma unroll
      for (int i = 0; i < 8; i++) acc[i] += h * a[i];
    } else if constexpr (F == Format::nibbles || F == Format::nibbles_min || F == Format::fives) {
      const float d = h * low_half(t.x), m = F == Format::nibbles ? -8.0f * d : h * high_half(t.x);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int b = 0; b < 4; b++) {
          uint32_t lo = word[i] >> (8 * b) & 15, hi = word[i] >> (8 * b + 4) & 15;
          if constexpr (F == Format::fives) lo |= (t.y >> (4 * i + b) & 1) << 4, hi |= (t.y >> (16 + 4 * i + b) & 1) << 4;
          acc[4 * i + b] += d * (float)lo + m;
          acc[16 + 4 * i + b] += d * (float)hi + m;
        }
    } else {
      const uint32_t second[4] = {v.x, v.y, v.z, v.w};
      const float d0 = h * low_half(t.x), d1 = F == Format::bytes ? d0 : h * high_half(t.x);
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int b = 0; b < 4; b++) {
          acc[4 * i + b] += d0 * (float)(int8_t)(word[i] >> (8 * b));
          acc[16 + 4 * i + b] += d1 * (float)(int8_t)(second[i] >> (8 * b));
        }
    }
  }
};

// sum + piece · x.
template <Format F>
__device__ inline float dot(const Loaded<F>& p, const Piece<is_float(F)>& x, float sum) {
  const uint4 &w = p.w, &v = p.v;
  if constexpr (F == Format::bf16) {
    return dot_bf16(w.w, x.b.z, x.b.w, dot_bf16(w.z, x.b.x, x.b.y, dot_bf16(w.y, x.a.z, x.a.w, dot_bf16(w.x, x.a.x, x.a.y, sum))));
  } else if constexpr (F == Format::f16) {
    return dot_f16(w.w, x.b.z, x.b.w, dot_f16(w.z, x.b.x, x.b.y, dot_f16(w.y, x.a.z, x.a.w, dot_f16(w.x, x.a.x, x.a.y, sum))));
  } else if constexpr (F == Format::f32) {
    const auto f = [](uint32_t u) { return __uint_as_float(u); };
    return fmaf(f(v.w), x.b.w, fmaf(f(v.z), x.b.z, fmaf(f(v.y), x.b.y, fmaf(f(v.x), x.b.x, fmaf(f(w.w), x.a.w, fmaf(f(w.z), x.a.z, fmaf(f(w.y), x.a.y, fmaf(f(w.x), x.a.x, sum))))))));
  } else if constexpr (F == Format::nibbles) {
    return fmaf(low_half(p.t.x), fmaf(x.d, (float)dot_nibbles(w, x.a, x.b), -8.0f * x.s), sum);
  } else if constexpr (F == Format::nibbles_min) {
    return fmaf(low_half(p.t.x), x.d * (float)dot_nibbles(w, x.a, x.b), fmaf(high_half(p.t.x), x.s, sum));
  } else if constexpr (F == Format::fives) {
    return fmaf(low_half(p.t.x), x.d * (float)dot_fives(w, p.t.y, x.a, x.b), fmaf(high_half(p.t.x), x.s, sum));
  } else if constexpr (F == Format::bytes) {
    return fmaf(low_half(p.t.x), x.d * (float)(dot_bytes(w, x.a) + dot_bytes(v, x.b)), sum);
  } else {
    return fmaf(x.d, low_half(p.t.x) * (float)dot_bytes(w, x.a) + high_half(p.t.x) * (float)dot_bytes(v, x.b), sum);
  }
}

// Where piece p of a row begins, how far its second plane is, and where its side is.
template <Format F>
__device__ inline uint32_t plane_at(uint32_t p) { return p / 32 * (512 * planes(F)) + p % 32 * 16; }
__device__ inline uint32_t plane_step(uint32_t p, uint32_t pieces) { return min(32u, pieces - p / 32 * 32) * 16; }
template <Format F>
__device__ inline uint32_t side_at(uint32_t p, uint32_t pieces) { return pieces * (16 * planes(F)) + p * side_bytes(F); }

template <Format F>
__device__ inline float value_in(const uint8_t* row, uint32_t n, uint32_t c) {
  constexpr uint32_t columns = piece_columns(F);
  const uint32_t p = c / columns;
  float acc[columns];
#pragma unroll
  for (uint32_t i = 0; i < columns; i++) acc[i] = 0;
  Loaded<F> piece;
  piece.load(row + plane_at<F>(p), plane_step(p, n), row + side_at<F>(p, n));
  piece.add(1.0f, acc);
  float v = 0;
#pragma unroll
  for (uint32_t i = 0; i < columns; i++) v = i == c % columns ? acc[i] : v;
  return v;
}
// One column of a row of any format; slow, for embeddings.
__device__ __noinline__ inline float value_at(const Matrix& m, uint32_t r, uint32_t c) {
  const uint8_t* row = row_of(m, r);
  switch (m.format) {
    case Format::f32: return value_in<Format::f32>(row, m.pieces, c);
    case Format::f16: return value_in<Format::f16>(row, m.pieces, c);
    case Format::bf16: return value_in<Format::bf16>(row, m.pieces, c);
    case Format::nibbles: return value_in<Format::nibbles>(row, m.pieces, c);
    case Format::nibbles_min: return value_in<Format::nibbles_min>(row, m.pieces, c);
    case Format::fives: return value_in<Format::fives>(row, m.pieces, c);
    case Format::bytes: return value_in<Format::bytes>(row, m.pieces, c);
    default: return value_in<Format::sixes>(row, m.pieces, c);
  }
}

// f(std::integral_constant of the format)
template <Format F>
struct Tag {
  static constexpr Format value = F;
};
template <class F>
__device__ inline void with_format(Format f, F&& body) {
  switch (f) {
    case Format::f32: return body(Tag<Format::f32>());
    case Format::f16: return body(Tag<Format::f16>());
    case Format::bf16: return body(Tag<Format::bf16>());
    case Format::nibbles: return body(Tag<Format::nibbles>());
    case Format::nibbles_min: return body(Tag<Format::nibbles_min>());
    case Format::fives: return body(Tag<Format::fives>());
    case Format::bytes: return body(Tag<Format::bytes>());
    default: return body(Tag<Format::sixes>());
  }
}

}  // namespace hunch::cuda
