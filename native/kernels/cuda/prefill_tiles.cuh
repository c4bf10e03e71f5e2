// Tensor-core products and copies into shared memory, as the prompt's kernels use them. Two halves in a register everywhere.
#pragma once

#include "formats.cuh"
#include "prefill.h"

namespace hunch::cuda {

#ifndef HUNCH_ON_HOST  // test/native/cuda_on_host has them in C++

// sums [16][8] += a [16][16] · b [16][8]
__device__ inline void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else  // Turing has the half of it: the same fragments, eight columns at a time
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a[0]), "r"(a[1]), "r"(b0));
  asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}
// Four 8 x 8 tiles; a lane gives the shared-memory address of one row.
__device__ inline void load_tiles(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}
__device__ inline void load_turned(uint32_t (&r)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address) : "memory");
}

// 16 bytes to shared memory, or zeros. Before Ampere they go through registers and are there at once.
__device__ inline void fetch(uint32_t to, const void* from, bool there) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
#else
  const uint4 v = there ? __ldg(reinterpret_cast<const uint4*>(from)) : uint4{0, 0, 0, 0};
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w) : "memory");
#endif
}
__device__ inline void fetched_group() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int Left>  // groups that may still be on their way
__device__ inline void await() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
#endif
}
__device__ inline void put(uint32_t to, const uint32_t* v) {
  asm volatile("st.shared.v4.u32 [%0], {%1,%2,%3,%4};" ::"r"(to), "r"(v[0]), "r"(v[1]), "r"(v[2]), "r"(v[3]) : "memory");
}

#endif

__device__ inline __half2 as_halves(uint32_t v) { return *reinterpret_cast<const __half2*>(&v); }
__device__ inline uint32_t as_word(__half2 v) { return *reinterpret_cast<const uint32_t*>(&v); }
__device__ inline uint32_t two_halves(float a, float b) { return as_word(__floats2half2_rn(a, b)); }
// Weights of f32 and bf16 go through f16: beyond its range they stay at its end, below it they lose less than 2^-25. f16's 11 bits are also what tf32 has.
__device__ inline uint32_t two_weights(float a, float b) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t v;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(b), "f"(a));
  return v;
#else
  constexpr float end = 65504.0f;
  return two_halves(fminf(fmaxf(a, -end), end), fminf(fmaxf(b, -end), end));
#endif
}
__device__ inline uint32_t bf16_to_halves(uint32_t w) { return two_weights(__uint_as_float(w << 16), __uint_as_float(w & 0xFFFF0000u)); }

// A thread's 32 columns of a row: on their way, then as 16 pairs of halves.
template <Format F>
struct Columns {
  static constexpr uint32_t kPieces = 32 / piece_columns(F);
  Loaded<F> piece[kPieces];
  // block: of 32 columns. Pieces past the row's end are the last one's again; the other factor is zero there.
  __device__ void load(const uint8_t* row, uint32_t pieces, uint32_t block) {
#pragma unroll
    for (uint32_t i = 0; i < kPieces; i++) {
      const uint32_t p = min(block * kPieces + i, pieces - 1);
      piece[i].load(row + plane_at<F>(p), plane_step(p, pieces), row + side_at<F>(p, pieces));
    }
  }
  __device__ void halves(uint32_t (&out)[16]) const {
    if constexpr (F == Format::f32) {
#pragma unroll
      for (uint32_t i = 0; i < kPieces; i++) {
        const uint4 &w = piece[i].w, &v = piece[i].v;
        out[4 * i] = two_weights(__uint_as_float(w.x), __uint_as_float(w.y)), out[4 * i + 1] = two_weights(__uint_as_float(w.z), __uint_as_float(w.w));
        out[4 * i + 2] = two_weights(__uint_as_float(v.x), __uint_as_float(v.y)), out[4 * i + 3] = two_weights(__uint_as_float(v.z), __uint_as_float(v.w));
      }
    } else {
      const Loaded<F>& p = piece[0];
      const uint32_t first[4] = {p.w.x, p.w.y, p.w.z, p.w.w};
      const __half2 d = as_halves(__byte_perm(p.t.x, 0, 0x1010)), m = as_halves(__byte_perm(p.t.x, 0, 0x3232));
      // A byte q beside 0x64 is the half 1024 + q: exact, and so is what is taken away from it.
      const auto pair = [&](uint32_t bytes, bool above, const __half2& scale) {
        const __half2 q = as_halves(__byte_perm(bytes, 0x64646464u, above ? 0x4342 : 0x4140));
        if constexpr (F == Format::nibbles) return as_word(__hmul2(__hsub2(q, __float2half2_rn(1032.0f)), scale));
        if constexpr (F == Format::nibbles_min || F == Format::fives) return as_word(__hfma2(__hsub2(q, __float2half2_rn(1024.0f)), scale, m));
        return as_word(__hmul2(__hsub2(q, __float2half2_rn(1152.0f)), scale));
      };
      if constexpr (F == Format::bytes || F == Format::sixes) {
        const uint32_t second[4] = {p.v.x, p.v.y, p.v.z, p.v.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const uint32_t a = first[i] ^ 0x80808080u, b = second[i] ^ 0x80808080u;
          out[2 * i] = pair(a, false, d), out[2 * i + 1] = pair(a, true, d);
          out[8 + 2 * i] = pair(b, false, F == Format::bytes ? d : m), out[9 + 2 * i] = pair(b, true, F == Format::bytes ? d : m);
        }
      } else {
#pragma unroll
        for (int i = 0; i < 4; i++) {
          uint32_t low = first[i] & 0x0F0F0F0Fu, high = first[i] >> 4 & 0x0F0F0F0Fu;
          if constexpr (F == Format::fives) low |= spread_bits(p.t.y >> (4 * i)), high |= spread_bits(p.t.y >> (16 + 4 * i));
          out[2 * i] = pair(low, false, d), out[2 * i + 1] = pair(low, true, d);
          out[8 + 2 * i] = pair(high, false, d), out[9 + 2 * i] = pair(high, true, d);
        }
      }
    }
  }
};

}  // namespace hunch::cuda
