// 16-lane vocabulary of kernels.inl on Armv8.2 NEON with dot products: every vector is four registers.
// Included inside the ISA's namespace.

struct vf { float32x4_t v[4]; };
struct vi { int32x4_t v[4]; };
struct vb { uint8x16_t v[4]; };

constexpr int kQ8Bias = 0;

#define HUNCH_REGS for (int i = 0; i < 4; i++)
inline vf vf_set1(float x) { vf r; HUNCH_REGS r.v[i] = vdupq_n_f32(x); return r; }
inline vf vf_zero() { return vf_set1(0); }
inline vf vf_load(const float* p) { vf r; HUNCH_REGS r.v[i] = vld1q_f32(p + 4 * i); return r; }
inline void vf_store(float* p, vf a) { HUNCH_REGS vst1q_f32(p + 4 * i, a.v[i]); }
inline vf vf_add(vf a, vf b) { HUNCH_REGS a.v[i] = vaddq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_sub(vf a, vf b) { HUNCH_REGS a.v[i] = vsubq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_mul(vf a, vf b) { HUNCH_REGS a.v[i] = vmulq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_div(vf a, vf b) { HUNCH_REGS a.v[i] = vdivq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_fma(vf a, vf b, vf c) { HUNCH_REGS c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]); return c; }
// maxNM/minNM: where one is NaN the other counts, as on x86 with the operands in our order.
inline vf vf_max(vf a, vf b) { HUNCH_REGS a.v[i] = vmaxnmq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_min(vf a, vf b) { HUNCH_REGS a.v[i] = vminnmq_f32(a.v[i], b.v[i]); return a; }
inline vf vf_abs(vf a) { HUNCH_REGS a.v[i] = vabsq_f32(a.v[i]); return a; }
inline vf vf_from_vi(vi a) { vf r; HUNCH_REGS r.v[i] = vcvtq_f32_s32(a.v[i]); return r; }
inline vi vi_round(vf a) { vi r; HUNCH_REGS r.v[i] = vcvtnq_s32_f32(a.v[i]); return r; }
inline vi vi_set1(int32_t x) { vi r; HUNCH_REGS r.v[i] = vdupq_n_s32(x); return r; }
inline vi vi_add(vi a, vi b) { HUNCH_REGS a.v[i] = vaddq_s32(a.v[i], b.v[i]); return a; }
inline vf vf_scale2(vf a, vi e) {
  HUNCH_REGS {
    const int32x4_t e0 = vshrq_n_s32(e.v[i], 1), e1 = vsubq_s32(e.v[i], e0), bias = vdupq_n_s32(127);
    a.v[i] = vmulq_f32(a.v[i], vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e0, bias), 23)));
    a.v[i] = vmulq_f32(a.v[i], vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(e1, bias), 23)));
  }
  return a;
}
inline vf vf_load_f16(const uint16_t* p) {
  vf r;
  HUNCH_REGS r.v[i] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i)));
  return r;
}
inline void vf_store_f16(uint16_t* p, vf a) { HUNCH_REGS vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.v[i]))); }
inline vf vf_load_bf16(const uint16_t* p) {
  vf r;
  HUNCH_REGS r.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16));
  return r;
}
inline void vi_store_i8(int8_t* p, vi a) {
  const int16x8_t lo = vcombine_s16(vqmovn_s32(a.v[0]), vqmovn_s32(a.v[1]));
  const int16x8_t hi = vcombine_s16(vqmovn_s32(a.v[2]), vqmovn_s32(a.v[3]));
  vst1q_s8(p, vcombine_s8(vqmovn_s16(lo), vqmovn_s16(hi)));
}

inline vb vb_load(const uint8_t* p) { vb r; HUNCH_REGS r.v[i] = vld1q_u8(p + 16 * i); return r; }
inline vb vb_low(vb a) { HUNCH_REGS a.v[i] = vandq_u8(a.v[i], vdupq_n_u8(0x0F)); return a; }
inline vb vb_high(vb a) { HUNCH_REGS a.v[i] = vshrq_n_u8(a.v[i], 4); return a; }

template <int N> inline vb vb_shl(vb a) { HUNCH_REGS a.v[i] = vshlq_n_u8(a.v[i], N); return a; }
template <int N> inline vb vb_shr(vb a) { HUNCH_REGS a.v[i] = vshrq_n_u8(a.v[i], N); return a; }
inline vb vb_or_masked(vb a, vb b, uint8_t mask) { HUNCH_REGS a.v[i] = vorrq_u8(a.v[i], vandq_u8(b.v[i], vdupq_n_u8(mask))); return a; }
inline vb vb_and(vb a, uint8_t mask) { HUNCH_REGS a.v[i] = vandq_u8(a.v[i], vdupq_n_u8(mask)); return a; }
inline vb vb_lookup(const uint8_t table[16], vb a) { HUNCH_REGS a.v[i] = vqtbl1q_u8(vld1q_u8(table), a.v[i]); return a; }
inline vf vf_load_u8(const uint8_t* p) {
  const uint8x16_t b = vld1q_u8(p);
  const uint16x8_t lo = vmovl_u8(vget_low_u8(b)), hi = vmovl_u8(vget_high_u8(b));
  return {{vcvtq_f32_u32(vmovl_u16(vget_low_u16(lo))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(lo))),
           vcvtq_f32_u32(vmovl_u16(vget_low_u16(hi))), vcvtq_f32_u32(vmovl_u16(vget_high_u16(hi)))}};
}
inline vf vf_load_i8(const uint8_t* p) {
  const int8x16_t b = vreinterpretq_s8_u8(vld1q_u8(p));
  const int16x8_t lo = vmovl_s8(vget_low_s8(b)), hi = vmovl_s8(vget_high_s8(b));
  return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(lo))),
           vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(hi)))}};
}

// w < 128, so that it may be read as signed.
inline vi dot4(vi acc, vb w, int32_t x) {
  const int8x16_t xs = vreinterpretq_s8_s32(vdupq_n_s32(x));
  HUNCH_REGS acc.v[i] = vdotq_s32(acc.v[i], vreinterpretq_s8_u8(w.v[i]), xs);
  return acc;
}
inline vi dot4_q8(vi acc, vb w, int32_t x) {
  HUNCH_REGS w.v[i] = veorq_u8(w.v[i], vdupq_n_u8(0x80));
  return dot4(acc, w, x);
}
// Pairwise sums in a fixed order, the same on every ISA: lanes i and i + 8, then 4, 2, 1.
inline float vf_sum(vf a) {
  const float32x4_t c = vaddq_f32(vaddq_f32(a.v[0], a.v[2]), vaddq_f32(a.v[1], a.v[3]));
  const float32x2_t d = vadd_f32(vget_low_f32(c), vget_high_f32(c));
  return vget_lane_f32(d, 0) + vget_lane_f32(d, 1);
}
inline float vf_peak(vf a) { return vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a.v[0], a.v[1]), vmaxnmq_f32(a.v[2], a.v[3]))); }
inline int32_t vi_sum(vi a) { return vaddvq_s32(vaddq_s32(vaddq_s32(a.v[0], a.v[1]), vaddq_s32(a.v[2], a.v[3]))); }

// For rows.inl: a lane has activations of its own.
inline vi vi_load(const int32_t* p) { vi r; HUNCH_REGS r.v[i] = vld1q_s32(p + 4 * i); return r; }
inline vi dot4_vector(vi acc, vb w, vb x) {
  HUNCH_REGS acc.v[i] = vdotq_s32(acc.v[i], vreinterpretq_s8_u8(w.v[i]), vreinterpretq_s8_u8(x.v[i]));
  return acc;
}
inline vi dot4_bytes(vi acc, vb w, vb x) {
  HUNCH_REGS w.v[i] = veorq_u8(w.v[i], vdupq_n_u8(0x80));
  return dot4_vector(acc, w, x);
}
// 32 bytes: the low nibbles, then the high ones.
inline vb vb_split(const uint8_t* p) {
  const uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 16), m = vdupq_n_u8(0x0F);
  return {{vandq_u8(a, m), vandq_u8(b, m), vshrq_n_u8(a, 4), vshrq_n_u8(b, 4)}};
}
template <int L>
inline vf vf_load_f16_spread(const uint16_t* p) {
  uint16_t t[16];
  for (int i = 0; i < 16; i++) t[i] = p[i / L];
  return vf_load_f16(t);
}
// Nibble K of each lane, less Zero.
template <int K, int Zero>
inline vf vf_nibble(vb w) {
  vf r;
  HUNCH_REGS {
    uint32x4_t q = vreinterpretq_u32_u8(w.v[i]);
    if constexpr (K > 0) q = vshrq_n_u32(q, 4 * K);
    r.v[i] = vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(vandq_u32(q, vdupq_n_u32(15))), vdupq_n_s32(Zero)));
  }
  return r;
}
template <int B>
inline vf vf_byte(vb w) {
  vf r;
  HUNCH_REGS {
    uint32x4_t q = vreinterpretq_u32_u8(w.v[i]);
    if constexpr (B > 0) q = vshrq_n_u32(q, 8 * B);
    r.v[i] = vcvtq_f32_u32(vandq_u32(q, vdupq_n_u32(255)));
  }
  return r;
}
inline uint32_t vf_above(vf a, float threshold) {
  float t[16];
  vf_store(t, a);
  uint32_t m = 0;
  for (int i = 0; i < 16; i++) m |= (uint32_t)(t[i] > threshold) << i;
  return m;
}
#undef HUNCH_REGS

// asm: GCC drops calls of functions that only prefetch, for want of an effect.
inline void prefetch(const void* p) { asm volatile("prfm pldl1keep, %0" : : "Q"(*(const char*)p)); }
