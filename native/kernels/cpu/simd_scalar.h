// 16-lane vocabulary of kernels.inl in plain C++: the oracle, and what runs on a CPU without a stub of its own.
// Included inside the ISA's namespace.

struct vf { float v[16]; };
struct vi { int32_t v[16]; };
struct vb { uint8_t v[64]; };

constexpr int kQ8Bias = 0;

#define HUNCH_LANES for (int i = 0; i < 16; i++)
inline vf vf_set1(float x) { vf r; HUNCH_LANES r.v[i] = x; return r; }
inline vf vf_zero() { return vf_set1(0); }
inline vf vf_load(const float* p) { vf r; HUNCH_LANES r.v[i] = p[i]; return r; }
inline void vf_store(float* p, vf a) { HUNCH_LANES p[i] = a.v[i]; }
inline vf vf_add(vf a, vf b) { HUNCH_LANES a.v[i] += b.v[i]; return a; }
inline vf vf_sub(vf a, vf b) { HUNCH_LANES a.v[i] -= b.v[i]; return a; }
inline vf vf_mul(vf a, vf b) { HUNCH_LANES a.v[i] *= b.v[i]; return a; }
inline vf vf_div(vf a, vf b) { HUNCH_LANES a.v[i] /= b.v[i]; return a; }
// Two roundings, where the others fuse: fmaf is a slow library call on CPUs without FMA.
inline vf vf_fma(vf a, vf b, vf c) { HUNCH_LANES c.v[i] += a.v[i] * b.v[i]; return c; }
inline vf vf_max(vf a, vf b) { HUNCH_LANES a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return a; }
inline vf vf_min(vf a, vf b) { HUNCH_LANES a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return a; }
inline vf vf_abs(vf a) { HUNCH_LANES a.v[i] = std::fabs(a.v[i]); return a; }
inline vf vf_from_vi(vi a) { vf r; HUNCH_LANES r.v[i] = (float)a.v[i]; return r; }
inline vi vi_round(vf a) { vi r; HUNCH_LANES r.v[i] = (int32_t)std::lrintf(a.v[i]); return r; }
inline vi vi_set1(int32_t x) { vi r; HUNCH_LANES r.v[i] = x; return r; }
inline vi vi_add(vi a, vi b) { HUNCH_LANES a.v[i] += b.v[i]; return a; }
inline vf vf_scale2(vf a, vi e) { HUNCH_LANES a.v[i] = std::ldexp(a.v[i], e.v[i]); return a; }
inline vf vf_load_f16(const uint16_t* p) { vf r; HUNCH_LANES r.v[i] = f16_to_f32(p[i]); return r; }
inline void vf_store_f16(uint16_t* p, vf a) { HUNCH_LANES p[i] = f32_to_f16(a.v[i]); }
inline vf vf_load_bf16(const uint16_t* p) { vf r; HUNCH_LANES r.v[i] = bf16_to_f32(p[i]); return r; }
inline void vi_store_i8(int8_t* p, vi a) { HUNCH_LANES p[i] = (int8_t)(a.v[i] > 127 ? 127 : a.v[i] < -128 ? -128 : a.v[i]); }

inline vb vb_load(const uint8_t* p) { vb r; std::memcpy(r.v, p, 64); return r; }
inline vb vb_low(vb a) { for (int i = 0; i < 64; i++) a.v[i] &= 0x0F; return a; }
inline vb vb_high(vb a) { for (int i = 0; i < 64; i++) a.v[i] >>= 4; return a; }

template <int N> inline vb vb_shl(vb a) { for (int i = 0; i < 64; i++) a.v[i] = (uint8_t)(a.v[i] << N); return a; }
template <int N> inline vb vb_shr(vb a) { for (int i = 0; i < 64; i++) a.v[i] >>= N; return a; }
inline vb vb_or_masked(vb a, vb b, uint8_t mask) { for (int i = 0; i < 64; i++) a.v[i] |= b.v[i] & mask; return a; }
inline vb vb_and(vb a, uint8_t mask) { for (int i = 0; i < 64; i++) a.v[i] &= mask; return a; }
inline vb vb_lookup(const uint8_t table[16], vb a) { for (int i = 0; i < 64; i++) a.v[i] = table[a.v[i] & 15]; return a; }
inline vf vf_load_u8(const uint8_t* p) { vf r; HUNCH_LANES r.v[i] = p[i]; return r; }
inline vf vf_load_i8(const uint8_t* p) { vf r; HUNCH_LANES r.v[i] = (int8_t)p[i]; return r; }

inline vi dot4(vi acc, vb w, int32_t x) {
  int8_t xs[4];
  std::memcpy(xs, &x, 4);
  HUNCH_LANES for (int j = 0; j < 4; j++) acc.v[i] += (int32_t)w.v[4 * i + j] * xs[j];
  return acc;
}
inline vi dot4_q8(vi acc, vb w, int32_t x) {
  int8_t xs[4];
  std::memcpy(xs, &x, 4);
  HUNCH_LANES for (int j = 0; j < 4; j++) acc.v[i] += ((int32_t)w.v[4 * i + j] - 128) * xs[j];
  return acc;
}
// Pairwise sums in a fixed order, the same on every ISA: lanes i and i + 8, then 4, 2, 1.
inline float vf_sum(vf a) {
  for (int n = 8; n; n /= 2)
    for (int i = 0; i < n; i++) a.v[i] += a.v[i + n];
  return a.v[0];
}
inline float vf_peak(vf a) {
  for (int n = 8; n; n /= 2)
    for (int i = 0; i < n; i++) a.v[i] = a.v[i] > a.v[i + n] ? a.v[i] : a.v[i + n];
  return a.v[0];
}
inline int32_t vi_sum(vi a) {
  int32_t s = 0;
  HUNCH_LANES s += a.v[i];
  return s;
}

// For rows.inl: a lane has activations of its own.
inline vi vi_load(const int32_t* p) { vi r; HUNCH_LANES r.v[i] = p[i]; return r; }
inline vi dot4_vector(vi acc, vb w, vb x) {
  HUNCH_LANES for (int j = 0; j < 4; j++) acc.v[i] += (int32_t)w.v[4 * i + j] * (int8_t)x.v[4 * i + j];
  return acc;
}
inline vi dot4_bytes(vi acc, vb w, vb x) {
  HUNCH_LANES for (int j = 0; j < 4; j++) acc.v[i] += ((int32_t)w.v[4 * i + j] - 128) * (int8_t)x.v[4 * i + j];
  return acc;
}
// 32 bytes: the low nibbles, then the high ones.
inline vb vb_split(const uint8_t* p) {
  vb r;
  for (int i = 0; i < 32; i++) r.v[i] = p[i] & 15, r.v[i + 32] = p[i] >> 4;
  return r;
}
template <int L>
inline vf vf_load_f16_spread(const uint16_t* p) { vf r; HUNCH_LANES r.v[i] = f16_to_f32(p[i / L]); return r; }
// Nibble K of each lane, less Zero.
template <int K, int Zero>
inline vf vf_nibble(vb w) { vf r; HUNCH_LANES r.v[i] = (float)((w.v[4 * i + K / 2] >> 4 * (K % 2) & 15) - Zero); return r; }
template <int B>
inline vf vf_byte(vb w) { vf r; HUNCH_LANES r.v[i] = w.v[4 * i + B]; return r; }
inline uint32_t vf_above(vf a, float threshold) { uint32_t m = 0; HUNCH_LANES m |= (uint32_t)(a.v[i] > threshold) << i; return m; }
#undef HUNCH_LANES

inline void prefetch(const void*) {}
