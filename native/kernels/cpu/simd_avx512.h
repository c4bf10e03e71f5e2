// 16-lane vocabulary of kernels.inl on AVX-512 (F, BW, DQ, VL, VNNI). Included inside the ISA's namespace.
// vf = 16 floats, vi = 16 int32, vb = 64 bytes seen as 16 lanes of 4.

struct vf { __m512 v; };
struct vi { __m512i v; };
struct vb { __m512i v; };

// Q8 weights are stored with 128 added; vpdpbusd takes them as they are and the bias is subtracted once per block.
constexpr int kQ8Bias = 128;

inline vf vf_zero() { return {_mm512_setzero_ps()}; }
inline vf vf_set1(float x) { return {_mm512_set1_ps(x)}; }
inline vf vf_load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void vf_store(float* p, vf a) { _mm512_storeu_ps(p, a.v); }
inline vf vf_add(vf a, vf b) { return {_mm512_add_ps(a.v, b.v)}; }
inline vf vf_sub(vf a, vf b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline vf vf_mul(vf a, vf b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline vf vf_div(vf a, vf b) { return {_mm512_div_ps(a.v, b.v)}; }
inline vf vf_fma(vf a, vf b, vf c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline vf vf_max(vf a, vf b) { return {_mm512_max_ps(a.v, b.v)}; }
inline vf vf_min(vf a, vf b) { return {_mm512_min_ps(a.v, b.v)}; }
inline vf vf_abs(vf a) { return {_mm512_abs_ps(a.v)}; }
inline vf vf_from_vi(vi a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline vi vi_round(vf a) { return {_mm512_cvtps_epi32(a.v)}; }  // to nearest even
inline vi vi_set1(int32_t x) { return {_mm512_set1_epi32(x)}; }
inline vi vi_add(vi a, vi b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline vf vf_scale2(vf a, vi e) { return {_mm512_scalef_ps(a.v, _mm512_cvtepi32_ps(e.v))}; }  // a * 2^e
inline vf vf_load_f16(const uint16_t* p) { return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))}; }
inline void vf_store_f16(uint16_t* p, vf a) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline vf vf_load_bf16(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16))};
}
inline void vi_store_i8(int8_t* p, vi a) { _mm_storeu_si128((__m128i*)p, _mm512_cvtsepi32_epi8(a.v)); }

inline vb vb_load(const uint8_t* p) { return {_mm512_loadu_si512(p)}; }
inline vb vb_low(vb a) { return {_mm512_and_si512(a.v, _mm512_set1_epi8(0x0F))}; }
inline vb vb_high(vb a) { return {_mm512_and_si512(_mm512_srli_epi16(a.v, 4), _mm512_set1_epi8(0x0F))}; }

template <int N> inline vb vb_shl(vb a) { return {_mm512_slli_epi16(a.v, N)}; }  // across byte borders: mask afterwards
template <int N> inline vb vb_shr(vb a) { return {_mm512_srli_epi16(a.v, N)}; }
inline vb vb_or_masked(vb a, vb b, uint8_t mask) { return {_mm512_ternarylogic_epi64(a.v, b.v, _mm512_set1_epi8((char)mask), 0xF8)}; }  // a | (b & mask)
inline vb vb_and(vb a, uint8_t mask) { return {_mm512_and_si512(a.v, _mm512_set1_epi8((char)mask))}; }
inline vb vb_lookup(const uint8_t table[16], vb index) {
  return {_mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table)), index.v)};
}
inline vf vf_load_u8(const uint8_t* p) { return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)))}; }
inline vf vf_load_i8(const uint8_t* p) { return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))}; }

// acc[lane] += sum over 4 of w[lane][i] * x[i]; w < 128, x int8.
inline vi dot4(vi acc, vb w, int32_t x) { return {_mm512_dpbusd_epi32(acc.v, w.v, _mm512_set1_epi32(x))}; }
// The same for Q8 weights, off by kQ8Bias * sum(x).
inline vi dot4_q8(vi acc, vb w, int32_t x) { return dot4(acc, w, x); }

// Pairwise sums in a fixed order, the same on every ISA: lanes i and i + 8, then 4, 2, 1.
inline __m128 fold_to_128(__m512 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  return _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
}
inline float vf_sum(vf a) {
  __m128 c = fold_to_128(a.v);
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
inline float vf_peak(vf a) { return _mm512_reduce_max_ps(a.v); }
inline int32_t vi_sum(vi a) { return _mm512_reduce_add_epi32(a.v); }

// asm: GCC drops calls of functions that only prefetch, for want of an effect.
inline void prefetch(const void* p) { asm volatile("prefetcht0 %0" : : "m"(*(const char*)p)); }

// For rows.inl: a lane has activations of its own.
inline vi vi_load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
inline vi dot4_vector(vi acc, vb w, vb x) { return {_mm512_dpbusd_epi32(acc.v, w.v, x.v)}; }
inline vi dot4_bytes(vi acc, vb w, vb x) { return dot4_vector(acc, w, x); }  // off by kQ8Bias * sum(x)
// 32 bytes: the low nibbles, then the high ones.
inline vb vb_split(const uint8_t* p) {
  const __m256i w = _mm256_loadu_si256((const __m256i*)p), m = _mm256_set1_epi8(0x0F);
  return {_mm512_inserti64x4(_mm512_castsi256_si512(_mm256_and_si256(w, m)), _mm256_and_si256(_mm256_srli_epi16(w, 4), m), 1)};
}
// Lane i = p[i / L]; reads 16 values.
template <int L>
inline vf vf_load_f16_spread(const uint16_t* p) {
  if constexpr (L == 1) return vf_load_f16(p);
  const __m512i index = _mm512_srli_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), L == 2 ? 1 : L == 4 ? 2 : 3);
  return {_mm512_permutexvar_ps(index, vf_load_f16(p).v)};
}
// Nibble K of each lane, less Zero.
template <int K, int Zero>
inline vf vf_nibble(vb w) {
  constexpr float z = Zero;
  const __m512 values = _mm512_setr_ps(0 - z, 1 - z, 2 - z, 3 - z, 4 - z, 5 - z, 6 - z, 7 - z, 8 - z, 9 - z, 10 - z, 11 - z, 12 - z, 13 - z, 14 - z, 15 - z);
  return {_mm512_permutexvar_ps(K ? _mm512_srli_epi32(w.v, 4 * K) : w.v, values)};
}
template <int B>
inline vf vf_byte(vb w) {
  return {_mm512_cvtepi32_ps(_mm512_and_si512(_mm512_srli_epi32(w.v, 8 * B), _mm512_set1_epi32(255)))};
}
inline uint32_t vf_above(vf a, float threshold) { return _mm512_cmp_ps_mask(a.v, _mm512_set1_ps(threshold), _CMP_GT_OQ); }
