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

inline void prefetch(const void* p) { _mm_prefetch((const char*)p, _MM_HINT_T0); }
