// 16-lane vocabulary of kernels.inl on AVX2 + FMA + F16C: every vector is a pair. Included inside the ISA's namespace.

struct vf { __m256 a, b; };
struct vi { __m256i a, b; };
struct vb { __m256i a, b; };

constexpr int kQ8Bias = 0;

inline vf vf_zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
inline vf vf_set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline vf vf_load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline void vf_store(float* p, vf x) { _mm256_storeu_ps(p, x.a), _mm256_storeu_ps(p + 8, x.b); }
inline vf vf_add(vf x, vf y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline vf vf_sub(vf x, vf y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline vf vf_mul(vf x, vf y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline vf vf_div(vf x, vf y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline vf vf_fma(vf x, vf y, vf z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline vf vf_max(vf x, vf y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline vf vf_min(vf x, vf y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline vf vf_abs(vf x) {
  const __m256 m = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  return {_mm256_and_ps(x.a, m), _mm256_and_ps(x.b, m)};
}
inline vf vf_from_vi(vi x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
inline vi vi_round(vf x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
inline vi vi_set1(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
inline vi vi_add(vi x, vi y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
// Two steps, so that 2^e stays representable for e in [-252, 254].
inline __m256 scale2_half(__m256 x, __m256i e) {
  const __m256i e0 = _mm256_srai_epi32(e, 1), e1 = _mm256_sub_epi32(e, e0), bias = _mm256_set1_epi32(127);
  x = _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e0, bias), 23)));
  return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(e1, bias), 23)));
}
inline vf vf_scale2(vf x, vi e) { return {scale2_half(x.a, e.a), scale2_half(x.b, e.b)}; }
inline vf vf_load_f16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)), _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
inline void vf_store_f16(uint16_t* p, vf x) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
inline __m256 bf16_half(const uint16_t* p) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p)), 16));
}
inline vf vf_load_bf16(const uint16_t* p) { return {bf16_half(p), bf16_half(p + 8)}; }
inline void vi_store_i8(int8_t* p, vi x) {
  __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xD8);
  _mm_storeu_si128((__m128i*)p, _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1)));
}

inline vb vb_load(const uint8_t* p) {
  return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 32))};
}
inline vb vb_low(vb x) {
  const __m256i m = _mm256_set1_epi8(0x0F);
  return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
inline vb vb_high(vb x) {
  const __m256i m = _mm256_set1_epi8(0x0F);
  return {_mm256_and_si256(_mm256_srli_epi16(x.a, 4), m), _mm256_and_si256(_mm256_srli_epi16(x.b, 4), m)};
}

template <int N> inline vb vb_shl(vb x) { return {_mm256_slli_epi16(x.a, N), _mm256_slli_epi16(x.b, N)}; }  // across byte borders: mask afterwards
template <int N> inline vb vb_shr(vb x) { return {_mm256_srli_epi16(x.a, N), _mm256_srli_epi16(x.b, N)}; }
inline vb vb_or_masked(vb x, vb y, uint8_t mask) {  // x | (y & mask)
  const __m256i m = _mm256_set1_epi8((char)mask);
  return {_mm256_or_si256(x.a, _mm256_and_si256(y.a, m)), _mm256_or_si256(x.b, _mm256_and_si256(y.b, m))};
}
inline vb vb_and(vb x, uint8_t mask) {
  const __m256i m = _mm256_set1_epi8((char)mask);
  return {_mm256_and_si256(x.a, m), _mm256_and_si256(x.b, m)};
}
inline vb vb_lookup(const uint8_t table[16], vb index) {
  const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
  return {_mm256_shuffle_epi8(t, index.a), _mm256_shuffle_epi8(t, index.b)};
}
inline vf vf_load_u8(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}
inline vf vf_load_i8(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p))),
          _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(p + 8))))};
}

// Pairs are summed in 16 bits: w <= 127 keeps 2 * 127 * 127 below the limit.
inline __m256i dot4_half(__m256i acc, __m256i w, __m256i x) {
  return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
}
inline vi dot4(vi acc, vb w, int32_t x) {
  const __m256i xs = _mm256_set1_epi32(x);
  return {dot4_half(acc.a, w.a, xs), dot4_half(acc.b, w.b, xs)};
}
// Q8 weights come with 128 added; taken back by the sign bit, then |w| * (sign(w) x) fits maddubs: 2 * 128 * 127 < 2^15.
inline vi dot4_q8(vi acc, vb w, int32_t x) {
  const __m256i xs = _mm256_set1_epi32(x), flip = _mm256_set1_epi8((char)0x80);
  const __m256i wa = _mm256_xor_si256(w.a, flip), wb = _mm256_xor_si256(w.b, flip);
  return {dot4_half(acc.a, _mm256_abs_epi8(wa), _mm256_sign_epi8(xs, wa)),
          dot4_half(acc.b, _mm256_abs_epi8(wb), _mm256_sign_epi8(xs, wb))};
}

// Pairwise sums in a fixed order, the same on every ISA: lanes i and i + 8, then 4, 2, 1.
inline float vf_sum(vf x) {
  const __m256 b = _mm256_add_ps(x.a, x.b);
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
inline float vf_peak(vf x) {
  const __m256 b = _mm256_max_ps(x.a, x.b);
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
inline int32_t vi_sum(vi x) {
  const __m256i b = _mm256_add_epi32(x.a, x.b);
  __m128i c = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  c = _mm_add_epi32(c, _mm_shuffle_epi32(c, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(c, _mm_shuffle_epi32(c, 0xB1)));
}

// asm: GCC drops calls of functions that only prefetch, for want of an effect.
inline void prefetch(const void* p) { asm volatile("prefetcht0 %0" : : "m"(*(const char*)p)); }

// For rows.inl: a lane has activations of its own.
inline vi vi_load(const int32_t* p) { return {_mm256_loadu_si256((const __m256i*)p), _mm256_loadu_si256((const __m256i*)(p + 8))}; }
inline vi dot4_vector(vi acc, vb w, vb x) { return {dot4_half(acc.a, w.a, x.a), dot4_half(acc.b, w.b, x.b)}; }
inline __m256i dot4_bytes_half(__m256i acc, __m256i w, __m256i x) {
  w = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
  return dot4_half(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}
inline vi dot4_bytes(vi acc, vb w, vb x) { return {dot4_bytes_half(acc.a, w.a, x.a), dot4_bytes_half(acc.b, w.b, x.b)}; }
// 32 bytes: the low nibbles, then the high ones.
inline vb vb_split(const uint8_t* p) {
  const __m256i w = _mm256_loadu_si256((const __m256i*)p), m = _mm256_set1_epi8(0x0F);
  return {_mm256_and_si256(w, m), _mm256_and_si256(_mm256_srli_epi16(w, 4), m)};
}
// Lane i = p[i / L]; reads 16 values.
template <int L>
inline vf vf_load_f16_spread(const uint16_t* p) {
  if constexpr (L == 1) return vf_load_f16(p);
  constexpr int shift = L == 2 ? 1 : L == 4 ? 2 : 3;
  const __m256 low = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_permutevar8x32_ps(low, _mm256_srli_epi32(index, shift)),
          _mm256_permutevar8x32_ps(low, _mm256_srli_epi32(_mm256_add_epi32(index, _mm256_set1_epi32(8)), shift))};
}
// Nibble K of each lane, less Zero.
template <int K, int Zero>
inline __m256 nibble_half(__m256i w) {
  const __m256i q = _mm256_and_si256(_mm256_srli_epi32(w, 4 * K), _mm256_set1_epi32(15));
  return _mm256_cvtepi32_ps(Zero ? _mm256_sub_epi32(q, _mm256_set1_epi32(Zero)) : q);
}
template <int K, int Zero>
inline vf vf_nibble(vb w) { return {nibble_half<K, Zero>(w.a), nibble_half<K, Zero>(w.b)}; }
template <int B>
inline vf vf_byte(vb w) {
  const __m256i m = _mm256_set1_epi32(255);
  return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w.a, 8 * B), m)), _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(w.b, 8 * B), m))};
}
inline uint32_t vf_above(vf x, float threshold) {
  const __m256 t = _mm256_set1_ps(threshold);
  return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x.a, t, _CMP_GT_OQ)) | (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(x.b, t, _CMP_GT_OQ)) << 8;
}
