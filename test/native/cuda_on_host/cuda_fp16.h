// Stands in for CUDA's header when kernels/cuda/prefill.cu is compiled for the CPU (cuda_on_host.cpp): the words of CUDA C++ that it uses. A thread is a fiber;
// what a warp or a block does together waits for all of its fibers.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#include "half.h"

#define __device__
#define __global__
#define __host__
#define __noinline__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ thread_local  // fibers of a block are one thread of the host

struct uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct Place3 {
  uint32_t x, y, z;
};
struct __half {
  uint16_t bits;
};
struct __half2 {
  uint16_t x, y;
};

namespace hunch::cuda {

extern thread_local Place3 threadIdx, blockIdx, gridDim;

using std::max;
using std::min;

inline float __half2float(__half h) { return f16_to_f32(h.bits); }
inline __half __float2half_rn(float x) { return {f32_to_f16(x)}; }
inline __half __ushort_as_half(uint16_t h) { return {h}; }
inline uint16_t __half_as_ushort(__half h) { return h.bits; }
inline float2 __half22float2(__half2 v) { return {f16_to_f32(v.x), f16_to_f32(v.y)}; }
inline __half2 __floats2half2_rn(float a, float b) { return {f32_to_f16(a), f32_to_f16(b)}; }
inline __half2 __float2half2_rn(float a) { return {f32_to_f16(a), f32_to_f16(a)}; }
// Sums and products of halves are exact in a float; those of three are rounded once more on their way, which a test's limits do not notice.
template <class F>
inline __half2 both(__half2 a, __half2 b, F f) {
  return {f32_to_f16(f(f16_to_f32(a.x), f16_to_f32(b.x))), f32_to_f16(f(f16_to_f32(a.y), f16_to_f32(b.y)))};
}
inline __half2 __hmul2(__half2 a, __half2 b) {
  return both(a, b, [](float x, float y) { return x * y; });
}
inline __half2 __hsub2(__half2 a, __half2 b) {
  return both(a, b, [](float x, float y) { return x - y; });
}
inline __half2 __hfma2(__half2 a, __half2 b, __half2 c) {
  return {f32_to_f16(f16_to_f32(a.x) * f16_to_f32(b.x) + f16_to_f32(c.x)), f32_to_f16(f16_to_f32(a.y) * f16_to_f32(b.y) + f16_to_f32(c.y))};
}
inline float __uint_as_float(uint32_t v) { return std::bit_cast<float>(v); }
inline uint32_t __float_as_uint(float v) { return std::bit_cast<uint32_t>(v); }
inline uint32_t __byte_perm(uint32_t x, uint32_t y, uint32_t selector) {
  const uint64_t bytes = (uint64_t)y << 32 | x;
  uint32_t out = 0;
  for (int i = 0; i < 4; i++) out |= (uint32_t)(bytes >> (selector >> (4 * i) & 7) * 8 & 255) << (8 * i);
  return out;
}
inline int __dp4a(int a, int b, int c) {
  for (int i = 0; i < 32; i += 8) c += (int8_t)(a >> i) * (int8_t)(b >> i);
  return c;
}
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) { return std::exchange(*p, *p + v); }
inline int atomicMin(int* p, int v) { return std::exchange(*p, std::min(*p, v)); }

// cuda_on_host.cpp
void __syncthreads();
inline void __threadfence_block() {}  // one fiber runs at a time
void __syncwarp();
uint32_t shuffled(uint32_t v, uint32_t lane);  // that of another lane
template <class T>
inline T __shfl_xor_sync(uint32_t, T v, uint32_t mask) {
  return std::bit_cast<T>(shuffled(std::bit_cast<uint32_t>(v), threadIdx.x % 32 ^ mask));
}
size_t __cvta_generic_to_shared(const void* p);

// Instead of the PTX of prefill_tiles.cuh.
void multiply_add(float (&sums)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
void load_tiles(uint32_t (&r)[4], uint32_t address);
void load_turned(uint32_t (&r)[4], uint32_t address);
void fetch(uint32_t to, const void* from, bool there);
void fetched_group();
void await_groups(uint32_t left);
template <int Left>
inline void await() {
  await_groups(Left);
}
void put(uint32_t to, const uint32_t* v);

}  // namespace hunch::cuda
