// The kernels, once, over the 16-lane vocabulary (vf, vi, vb) that simd_<isa>.h defines.
// A stub file includes its simd header and this file inside a namespace of its own, then calls make_table().

// ---- elementary functions -------------------------------------------------------------------------------------------

// exp(x), relative error below 2e-7 on [-87, 88]; clamped outside. Cody-Waite reduction and the Cephes polynomial.
inline vf vf_exp(vf x) {
  x = vf_min(vf_max(x, vf_set1(-87.3f)), vf_set1(88.3f));
  const vi n = vi_round(vf_mul(x, vf_set1(1.44269504088896341f)));
  const vf fn = vf_from_vi(n);
  vf r = vf_fma(fn, vf_set1(-0.693359375f), x);
  r = vf_fma(fn, vf_set1(2.12194440e-4f), r);
  vf p = vf_set1(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set1(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set1(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set1(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set1(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set1(5.0000001201e-1f));
  p = vf_fma(vf_mul(p, r), r, vf_add(r, vf_set1(1.0f)));
  return vf_scale2(p, n);
}
inline float exp_scalar(float x) {
  float t[16];
  vf_store(t, vf_exp(vf_set1(x)));
  return t[0];
}

// A tail shorter than 16 goes through a padded copy, so that it rounds as a full vector does.
struct Tail {
  float t[16];
  vf load(const float* p, uint32_t n, float fill) {
    for (uint32_t i = 0; i < 16; i++) t[i] = i < n ? p[i] : fill;
    return vf_load(t);
  }
  void store(float* p, uint32_t n, vf a) {
    vf_store(t, a);
    for (uint32_t i = 0; i < n; i++) p[i] = t[i];
  }
};

// ---- activations ----------------------------------------------------------------------------------------------------

void quantize(const float* x, uint32_t n, int8_t* q, float* d, int32_t* sum) {
  for (uint32_t b = 0; b < n / kQuantBlock; b++, x += 32, q += 32) {
    const vf a = vf_load(x), c = vf_load(x + 16);
    const float peak = vf_peak(vf_max(vf_abs(a), vf_abs(c)));
    const vf inverse = vf_set1(peak > 0 ? 127.0f / peak : 0.0f);
    const vi low = vi_round(vf_mul(a, inverse)), high = vi_round(vf_mul(c, inverse));
    vi_store_i8(q, low);
    vi_store_i8(q + 16, high);
    d[b] = peak / 127.0f;
    sum[2 * b] = vi_sum(low);
    sum[2 * b + 1] = vi_sum(high);
  }
}

void rms_norm(const float* x, const float* w, uint32_t n, float epsilon, float* out) {
  Tail tail;
  vf sum = vf_zero();
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) sum = vf_fma(vf_load(x + i), vf_load(x + i), sum);
  if (i < n) {
    const vf a = tail.load(x + i, n - i, 0);
    sum = vf_fma(a, a, sum);
  }
  const vf scale = vf_set1(1.0f / std::sqrt(vf_sum(sum) / (float)n + epsilon));
  for (i = 0; i + 16 <= n; i += 16) vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), scale), vf_load(w + i)));
  for (; i < n; i++) {
    float t[16];
    vf_store(t, scale);
    out[i] = x[i] * t[0] * w[i];
  }
}

void layer_norm(const float* x, const float* w, const float* b, uint32_t n, float epsilon, float* out) {
  Tail tail;
  vf sum = vf_zero();
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) sum = vf_add(sum, vf_load(x + i));
  if (i < n) sum = vf_add(sum, tail.load(x + i, n - i, 0));
  const float mean = vf_sum(sum) / (float)n;
  vf squares = vf_zero();
  for (i = 0; i < n; i += 16) {
    const vf a = vf_sub(n - i < 16 ? tail.load(x + i, n - i, mean) : vf_load(x + i), vf_set1(mean));
    squares = vf_fma(a, a, squares);
  }
  const float scale = 1.0f / std::sqrt(vf_sum(squares) / (float)n + epsilon);
  for (i = 0; i < n; i++) out[i] = (x[i] - mean) * scale * w[i] + b[i];
}

inline vf sigmoid(vf x) { return vf_div(vf_set1(1), vf_add(vf_set1(1), vf_exp(vf_sub(vf_zero(), x)))); }

struct Silu { static vf of(vf x) { return vf_mul(x, sigmoid(x)); } };
struct Relu { static vf of(vf x) { return vf_max(x, vf_zero()); } };
// The tanh form (Hendrycks 2016), which is what GGUF models with "gelu" mean: 0.5 x (1 + tanh u) = x sigmoid(2u).
struct Gelu {
  static vf of(vf x) {
    const vf cube = vf_mul(vf_mul(x, x), x);
    const vf u = vf_mul(vf_set1(0.7978845608f), vf_fma(vf_set1(0.044715f), cube, x));
    return vf_mul(x, sigmoid(vf_add(u, u)));
  }
};

template <class Act>
void gate(float* g, const float* up, uint32_t n) {
  Tail a, b;
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store(g + i, vf_mul(Act::of(vf_load(g + i)), vf_load(up + i)));
  if (i < n) a.store(g + i, n - i, vf_mul(Act::of(a.load(g + i, n - i, 0)), b.load(up + i, n - i, 0)));
}

template <class Act>
void activate(float* x, uint32_t n) {
  Tail tail;
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store(x + i, Act::of(vf_load(x + i)));
  if (i < n) tail.store(x + i, n - i, Act::of(tail.load(x + i, n - i, 0)));
}

void add(float* x, const float* y, uint32_t n) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store(x + i, vf_add(vf_load(x + i), vf_load(y + i)));
  for (; i < n; i++) x[i] += y[i];
}

void rope_none(float*, uint32_t, const float*, const float*) {}

void rope_neox(float* x, uint32_t rope_width, const float* cosine, const float* sine) {
  const uint32_t half = rope_width / 2;
  for (uint32_t i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cosine[i] - b * sine[i];
    x[i + half] = a * sine[i] + b * cosine[i];
  }
}

void rope_interleaved(float* x, uint32_t rope_width, const float* cosine, const float* sine) {
  for (uint32_t i = 0; i < rope_width / 2; i++) {
    const float a = x[2 * i], b = x[2 * i + 1];
    x[2 * i] = a * cosine[i] - b * sine[i];
    x[2 * i + 1] = a * sine[i] + b * cosine[i];
  }
}

void scale(float* x, uint32_t n, float factor) {
  const vf f = vf_set1(factor);
  Tail tail;
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store(x + i, vf_mul(vf_load(x + i), f));
  if (i < n) tail.store(x + i, n - i, vf_mul(tail.load(x + i, n - i, 0), f));
}

void to_f16(const float* x, uint32_t n, uint16_t* out) {
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store_f16(out + i, vf_load(x + i));
  for (; i < n; i++) out[i] = f32_to_f16(x[i]);
}

// ---- matrix times activations ---------------------------------------------------------------------------------------

// Bytes that a sequential read should be asked for ahead of use: tuned in lab/gemv.cpp on 1 and 2 threads.
#ifndef HUNCH_PREFETCH
#define HUNCH_PREFETCH 8192
#endif
constexpr size_t kPrefetchAhead = HUNCH_PREFETCH;
inline void prefetch_ahead(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) prefetch(p + kPrefetchAhead + i);
}

// A block is 16 rows x 32 columns: 8 vectors, q[v] = columns 4v … 4v+3 of the 16 rows. packing.h gives the layouts.
inline void load_nibbles(const uint8_t* p, vb q[8]) {
  for (int v = 0; v < 4; v++) {
    const vb w = vb_load(p + 64 * v);
    q[v] = vb_low(w);
    q[v + 4] = vb_high(w);
  }
}
// Adds bit v of every byte of a 64-byte plane to q[v], as 16.
inline void add_bit_plane(const uint8_t* p, vb q[8]) {
  const vb plane = vb_load(p);
  q[0] = vb_or_masked(q[0], vb_shl<4>(plane), 0x10);
  q[1] = vb_or_masked(q[1], vb_shl<3>(plane), 0x10);
  q[2] = vb_or_masked(q[2], vb_shl<2>(plane), 0x10);
  q[3] = vb_or_masked(q[3], vb_shl<1>(plane), 0x10);
  q[4] = vb_or_masked(q[4], plane, 0x10);
  q[5] = vb_or_masked(q[5], vb_shr<1>(plane), 0x10);
  q[6] = vb_or_masked(q[6], vb_shr<2>(plane), 0x10);
  q[7] = vb_or_masked(q[7], vb_shr<3>(plane), 0x10);
}
// Adds the two bits 2(v % 4) of plane v / 4 to q[v], as 16 and 32.
inline void add_bit_pairs(const uint8_t* p, vb q[8]) {
  for (int h = 0; h < 2; h++) {
    const vb plane = vb_load(p + 64 * h);
    q[4 * h] = vb_or_masked(q[4 * h], vb_shl<4>(plane), 0x30);
    q[4 * h + 1] = vb_or_masked(q[4 * h + 1], vb_shl<2>(plane), 0x30);
    q[4 * h + 2] = vb_or_masked(q[4 * h + 2], plane, 0x30);
    q[4 * h + 3] = vb_or_masked(q[4 * h + 3], vb_shr<2>(plane), 0x30);
  }
}

// Types with f16 scales per block: value = d * (q - zero) + m.
struct Q4_0 {
  static constexpr size_t scale_bytes = 32, quant_bytes = 256;
  static constexpr int zero = 8;
  static constexpr bool has_min = false;
  static void load(const uint8_t* p, vb q[8]) { load_nibbles(p, q); }
  static vi dot(vi acc, vb w, int32_t x) { return dot4(acc, w, x); }
};
struct Q4_1 : Q4_0 {
  static constexpr size_t scale_bytes = 64;
  static constexpr int zero = 0;
  static constexpr bool has_min = true;
};
struct Q5_0 : Q4_0 {
  static constexpr size_t quant_bytes = 320;
  static constexpr int zero = 16;
  static void load(const uint8_t* p, vb q[8]) {
    load_nibbles(p, q);
    add_bit_plane(p + 256, q);
  }
};
struct Q5_1 : Q5_0 {
  static constexpr size_t scale_bytes = 64;
  static constexpr int zero = 0;
  static constexpr bool has_min = true;
};
struct Q8_0 {
  static constexpr size_t scale_bytes = 32, quant_bytes = 512;
  static constexpr int zero = kQ8Bias;
  static constexpr bool has_min = false;
  static void load(const uint8_t* p, vb q[8]) {
    for (int v = 0; v < 8; v++) q[v] = vb_load(p + 64 * v);
  }
  static vi dot(vi acc, vb w, int32_t x) { return dot4_q8(acc, w, x); }
};
// Nibbles name one of 16 values, here with 128 added as Q8 has.
struct IQ4_NL : Q8_0 {
  static constexpr size_t quant_bytes = 256;
  static void load(const uint8_t* p, vb q[8]) {
    load_nibbles(p, q);
    for (int v = 0; v < 8; v++) q[v] = vb_lookup(kIq4Values, q[v]);
  }
};

template <class W, int T>
inline void block_tile(const uint8_t* group, uint32_t cols, const Activations& x, uint32_t t0, vf out[T]) {
  const uint32_t blocks = cols / kQuantBlock;
  const uint8_t* scales = group;
  const uint8_t* quants = group + (blocks * W::scale_bytes + 63) / 64 * 64;
  const int8_t* xq = x.q + (size_t)t0 * cols;
  const float* xd = x.d + (size_t)t0 * blocks;
  const int32_t* xsum = x.sum + (size_t)t0 * blocks * 2;
  vf acc[T];
  for (int t = 0; t < T; t++) acc[t] = vf_zero();
  for (uint32_t b = 0; b < blocks; b++, scales += W::scale_bytes, quants += W::quant_bytes, xq += 32) {
    if (T == 1) prefetch_ahead(group + b * (W::scale_bytes + W::quant_bytes), W::scale_bytes + W::quant_bytes);
    vb q[8];
    W::load(quants, q);
    const vf d = vf_load_f16((const uint16_t*)scales);
    vf m;
    if constexpr (W::has_min) m = vf_load_f16((const uint16_t*)scales + 16);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      int32_t x4[8];
      std::memcpy(x4, xq + (size_t)t * cols, 32);
      const size_t at = (size_t)t * blocks + b;
      const int32_t total = xsum[2 * at] + xsum[2 * at + 1];
      vi s0 = vi_set1(W::zero ? -W::zero * total : 0), s1 = vi_set1(0);
#pragma GCC unroll 4
      for (int v = 0; v < 4; v++) {
        s0 = W::dot(s0, q[v], x4[v]);
        s1 = W::dot(s1, q[v + 4], x4[v + 4]);
      }
      acc[t] = vf_fma(vf_from_vi(vi_add(s0, s1)), vf_mul(d, vf_set1(xd[at])), acc[t]);
      if constexpr (W::has_min) acc[t] = vf_fma(m, vf_set1(xd[at] * (float)total), acc[t]);
    }
  }
  for (int t = 0; t < T; t++) out[t] = acc[t];
}

// K-quants: superblocks of 256 columns with f16 d (and dmin) and small integer scales per 32 or 16 columns.
struct Q4_K {
  static constexpr size_t head_bytes = 64 + 256, quant_bytes = 256, super_bytes = head_bytes + 8 * quant_bytes;
  static constexpr bool has_min = true;
  static void load(const uint8_t* p, vb q[8]) { load_nibbles(p, q); }
};
struct Q5_K : Q4_K {
  static constexpr size_t quant_bytes = 320, super_bytes = head_bytes + 8 * quant_bytes;
  static void load(const uint8_t* p, vb q[8]) {
    load_nibbles(p, q);
    add_bit_plane(p + 256, q);
  }
};
struct Q6_K {
  static constexpr size_t head_bytes = 32 + 256 + 32, quant_bytes = 384, super_bytes = head_bytes + 8 * quant_bytes;
  static constexpr bool has_min = false;
  static void load(const uint8_t* p, vb q[8]) {
    load_nibbles(p, q);
    add_bit_pairs(p + 256, q);
  }
};

template <class W, int T>
inline void super_tile(const uint8_t* group, uint32_t cols, const Activations& x, uint32_t t0, vf out[T]) {
  const uint32_t blocks = cols / kQuantBlock;
  const int8_t* xq = x.q + (size_t)t0 * cols;
  const float* xd = x.d + (size_t)t0 * blocks;
  const int32_t* xsum = x.sum + (size_t)t0 * blocks * 2;
  vf acc[T];
  for (int t = 0; t < T; t++) acc[t] = vf_zero();
  for (uint32_t b = 0; b < blocks; group += W::super_bytes) {
    const vf d = vf_load_f16((const uint16_t*)group);
    vf scaled[T], mins[T];  // sums over the superblock, before d and dmin
    for (int t = 0; t < T; t++) scaled[t] = mins[t] = vf_zero();
    const uint8_t* small = group + (W::has_min ? 64 : 32);
    const uint8_t* quants = group + W::head_bytes;
    for (int i = 0; i < 8; i++, b++, quants += W::quant_bytes) {
      if (T == 1) prefetch_ahead(group + i * (W::super_bytes / 8), W::super_bytes / 8);
      vb q[8];
      W::load(quants, q);
      const vf s0 = W::has_min ? vf_load_u8(small + 16 * i) : vf_load_i8(small + 32 * i);
      const vf s1 = W::has_min ? vf_load_u8(small + 128 + 16 * i) : vf_load_i8(small + 32 * i + 16);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        int32_t x4[8];
        std::memcpy(x4, xq + (size_t)t * cols + (size_t)b * 32, 32);
        const size_t at = (size_t)t * blocks + b;
        const vf dx = vf_set1(xd[at]);
        const int32_t low = xsum[2 * at], high = xsum[2 * at + 1];
        vi a0 = vi_set1(W::has_min ? 0 : -32 * low), a1 = vi_set1(W::has_min ? 0 : -32 * high);
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
          a0 = dot4(a0, q[v], x4[v]);
          a1 = dot4(a1, q[v + 4], x4[v + 4]);
        }
        if constexpr (W::has_min) {
          scaled[t] = vf_fma(vf_mul(vf_from_vi(vi_add(a0, a1)), s0), dx, scaled[t]);
          mins[t] = vf_fma(s1, vf_set1(xd[at] * (float)(low + high)), mins[t]);
        } else {
          scaled[t] = vf_fma(vf_fma(vf_from_vi(a0), s0, vf_mul(vf_from_vi(a1), s1)), dx, scaled[t]);
        }
      }
    }
    for (int t = 0; t < T; t++) {
      acc[t] = vf_fma(d, scaled[t], acc[t]);
      if constexpr (W::has_min) acc[t] = vf_sub(acc[t], vf_mul(vf_load_f16((const uint16_t*)group + 16), mins[t]));
    }
  }
  for (int t = 0; t < T; t++) out[t] = acc[t];
}

struct F32 { static constexpr size_t bytes = 4; static vf load(const uint8_t* p) { return vf_load((const float*)p); } };
struct F16 { static constexpr size_t bytes = 2; static vf load(const uint8_t* p) { return vf_load_f16((const uint16_t*)p); } };
struct BF16 { static constexpr size_t bytes = 2; static vf load(const uint8_t* p) { return vf_load_bf16((const uint16_t*)p); } };

// Float weights: [cols][16 rows]. Four running sums hide the latency of the multiply-add.
template <class W, int T>
inline void float_tile(const uint8_t* group, uint32_t cols, const Activations& x, uint32_t t0, vf out[T]) {
  const float* xf = x.f + (size_t)t0 * cols;
  vf acc[T][4];
  for (int t = 0; t < T; t++)
    for (int s = 0; s < 4; s++) acc[t][s] = vf_zero();
  uint32_t c = 0;
  for (; c + 4 <= cols; c += 4) {
    if (T == 1) prefetch_ahead(group + (size_t)c * 16 * W::bytes, 4 * 16 * W::bytes);
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++) {
      const vf w = W::load(group + (size_t)(c + s) * 16 * W::bytes);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) acc[t][s] = vf_fma(w, vf_set1(xf[(size_t)t * cols + c + s]), acc[t][s]);
    }
  }
  for (; c < cols; c++) {
    const vf w = W::load(group + (size_t)c * 16 * W::bytes);
    for (int t = 0; t < T; t++) acc[t][0] = vf_fma(w, vf_set1(xf[(size_t)t * cols + c]), acc[t][0]);
  }
  for (int t = 0; t < T; t++) out[t] = vf_add(vf_add(acc[t][0], acc[t][1]), vf_add(acc[t][2], acc[t][3]));
}

inline void put(float* out, vf value, uint32_t rows, bool add) {
  Tail tail;
  if (rows >= 16) vf_store(out, add ? vf_add(vf_load(out), value) : value);
  else tail.store(out, rows, add ? vf_add(tail.load(out, rows, 0), value) : value);
}

template <class W, int T>
inline void tile(const MatmulArgs& a, const uint8_t* group, uint32_t row, uint32_t t0) {
  vf out[T];
  if constexpr (requires { W::super_bytes; }) super_tile<W, T>(group, a.cols, a.x, t0, out);
  else if constexpr (requires { W::quant_bytes; }) block_tile<W, T>(group, a.cols, a.x, t0, out);
  else float_tile<W, T>(group, a.cols, a.x, t0, out);
  const uint32_t rows = a.rows - row < 16 ? a.rows - row : 16;
  for (int t = 0; t < T; t++) put(a.out + (t0 + t) * a.out_stride + row, out[t], rows, a.add);
}

// One group's weights stay in L1 while the token tiles pass over them.
template <class W>
void matmul(const MatmulArgs& a) {
  constexpr int kTile = requires { W::super_bytes; } ? kSuperTile : requires { W::quant_bytes; } ? kQuantTile : kFloatTile;
  for (uint32_t g = 0; g < a.groups; g++) {
    const uint8_t* group = a.weights + (size_t)g * a.group_bytes;
    uint32_t t = 0;
    for (; t + kTile <= a.tokens; t += kTile) tile<W, kTile>(a, group, g * 16, t);
    for (; t + 2 <= a.tokens; t += 2) tile<W, 2>(a, group, g * 16, t);
    for (; t < a.tokens; t++) tile<W, 1>(a, group, g * 16, t);
  }
}

// ---- attention ------------------------------------------------------------------------------------------------------

// K and V of a head lie in line: the next chunk is asked for while this one is used.
constexpr size_t kAttentionAhead = 4096;

// Fills the lanes of positions first … first + 15 that lie outside [from, limit).
inline void mask(float* p, uint32_t first, uint32_t from, uint32_t limit, float fill) {
  if (from > first)
    for (uint32_t i = 0; i < 16 && first + i < from; i++) p[i] = fill;
  if (limit < first + 16)
    for (uint32_t i = limit > first ? limit - first : 0; i < 16; i++) p[i] = fill;
}

template <int N>
void attend_n(AttendArgs& a) {
  float p[N][kAttentionChunk];
  const uint32_t vectors = (a.end - a.begin + 15) / 16, hw = a.head_width;
  vf peak[N];
  for (int j = 0; j < N; j++) peak[j] = vf_set1(-INFINITY);
  for (uint32_t b = 0; b < vectors; b++) {
    const uint16_t* k = a.k + (size_t)(a.begin / 16 + b) * hw * 16;
    vf s0[N], s1[N];
    for (int j = 0; j < N; j++) s0[j] = s1[j] = vf_zero();
    uint32_t d = 0;
    for (; d + 2 <= hw; d += 2) {
      prefetch((const uint8_t*)(k + d * 16) + kAttentionAhead);
      const vf k0 = vf_load_f16(k + d * 16), k1 = vf_load_f16(k + d * 16 + 16);
#pragma GCC unroll 8
      for (int j = 0; j < N; j++) {
        s0[j] = vf_fma(k0, vf_set1(a.q[j][d]), s0[j]);
        s1[j] = vf_fma(k1, vf_set1(a.q[j][d + 1]), s1[j]);
      }
    }
    if (d < hw) {
      const vf k0 = vf_load_f16(k + d * 16);
      for (int j = 0; j < N; j++) s0[j] = vf_fma(k0, vf_set1(a.q[j][d]), s0[j]);
    }
    const uint32_t first = a.begin + b * 16;
    for (int j = 0; j < N; j++) {
      vf_store(&p[j][b * 16], vf_add(s0[j], s1[j]));
      mask(&p[j][b * 16], first, a.from[j], a.limit[j], -INFINITY);
      peak[j] = vf_max(peak[j], vf_load(&p[j][b * 16]));
    }
  }
  for (int j = 0; j < N; j++) {
    const float m = vf_peak(peak[j]);
    vf total = vf_zero();
    for (uint32_t b = 0; b < vectors; b++) {
      const uint32_t first = a.begin + b * 16;
      vf_store(&p[j][b * 16], vf_exp(vf_sub(vf_load(&p[j][b * 16]), vf_set1(m))));
      mask(&p[j][b * 16], first, a.from[j], a.limit[j], 0);  // exp is clamped: masked positions must be exactly nothing
      total = vf_add(total, vf_load(&p[j][b * 16]));
    }
    a.max[j] = m;
    a.sum[j] = vf_sum(total);
  }
  // Positions past `end` may hold anything, and 0 * NaN is NaN: they are not read.
  const uint32_t count = a.end - a.begin;
  for (uint32_t c = 0; c < a.v_stride; c += 16) {
    const uint16_t* v = a.v + (size_t)a.begin * a.v_stride + c;
    vf acc0[N], acc1[N];
    for (int j = 0; j < N; j++) acc0[j] = acc1[j] = vf_zero();
    uint32_t i = 0;
    for (; i + 2 <= count; i += 2) {
      const vf v0 = vf_load_f16(v + (size_t)i * a.v_stride), v1 = vf_load_f16(v + (size_t)(i + 1) * a.v_stride);
#pragma GCC unroll 8
      for (int j = 0; j < N; j++) {
        acc0[j] = vf_fma(v0, vf_set1(p[j][i]), acc0[j]);
        acc1[j] = vf_fma(v1, vf_set1(p[j][i + 1]), acc1[j]);
      }
    }
    if (i < count) {
      const vf v0 = vf_load_f16(v + (size_t)i * a.v_stride);
      for (int j = 0; j < N; j++) acc0[j] = vf_fma(v0, vf_set1(p[j][i]), acc0[j]);
    }
    for (int j = 0; j < N; j++) vf_store(a.acc + (size_t)j * a.v_stride + c, vf_add(acc0[j], acc1[j]));
  }
}

void attend(AttendArgs& a) {
  switch (a.queries) {
    case 1: return attend_n<1>(a);
    case 2: return attend_n<2>(a);
    case 3: return attend_n<3>(a);
    case 4: return attend_n<4>(a);
    case 5: return attend_n<5>(a);
    case 6: return attend_n<6>(a);
    case 7: return attend_n<7>(a);
    case 8: return attend_n<8>(a);
  }
}

void attend_fold(float* max, float* sum, float* acc, float max2, float sum2, const float* acc2, uint32_t n) {
  const float m = *max > max2 ? *max : max2;
  const float a = *max == m ? 1.0f : exp_scalar(*max - m), b = max2 == m ? 1.0f : exp_scalar(max2 - m);
  *max = m;
  *sum = *sum * a + sum2 * b;
  const vf va = vf_set1(a), vb = vf_set1(b);
  for (uint32_t i = 0; i < n; i += 16) vf_store(acc + i, vf_fma(vf_load(acc2 + i), vb, vf_mul(vf_load(acc + i), va)));
}

// ---- logits ---------------------------------------------------------------------------------------------------------

float max_of(const float* x, uint32_t n) {
  Tail tail;
  vf m = vf_set1(-INFINITY);
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) m = vf_max(vf_load(x + i), m);
  if (i < n) m = vf_max(tail.load(x + i, n - i, -INFINITY), m);
  return vf_peak(m);
}

double sum_exp(const float* x, uint32_t n, float max) {
  Tail tail;
  const vf m = vf_set1(max);
  double total = 0;
  for (uint32_t begin = 0; begin < n; begin += 1024) {
    const uint32_t end = begin + 1024 < n ? begin + 1024 : n;
    vf sum = vf_zero();
    uint32_t i = begin;
    for (; i + 16 <= end; i += 16) sum = vf_add(sum, vf_exp(vf_sub(vf_load(x + i), m)));
    if (i < end) sum = vf_add(sum, vf_exp(vf_sub(tail.load(x + i, end - i, max - 1000), m)));
    total += vf_sum(sum);
  }
  return total;
}

void fetch(const void* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) prefetch((const uint8_t*)p + i);
}

uint64_t read_all(const uint8_t* p, size_t bytes) {
  vi sum = vi_set1(0);
  for (size_t i = 0; i + 256 <= bytes; i += 256) {
    prefetch_ahead(p + i, 256);
    // dot4 against ones: each byte of the vector is really loaded, at the price of one instruction
    for (int v = 0; v < 4; v++) sum = dot4(sum, vb_low(vb_load(p + i + 64 * v)), 0x01010101);
  }
  return (uint64_t)vf_sum(vf_from_vi(sum));
}

inline Kernels make_table(Isa isa) {
  Kernels k{};
  k.isa = isa;
  k.quantize = quantize;
  k.rms_norm = rms_norm;
  k.matmul[(int)TensorType::F32] = matmul<F32>;
  k.matmul[(int)TensorType::F16] = matmul<F16>;
  k.matmul[(int)TensorType::BF16] = matmul<BF16>;
  k.matmul[(int)TensorType::Q8_0] = matmul<Q8_0>;
  k.matmul[(int)TensorType::Q4_0] = matmul<Q4_0>;
  k.matmul[(int)TensorType::Q4_1] = matmul<Q4_1>;
  k.matmul[(int)TensorType::Q5_0] = matmul<Q5_0>;
  k.matmul[(int)TensorType::Q5_1] = matmul<Q5_1>;
  k.matmul[(int)TensorType::Q4_K] = matmul<Q4_K>;
  k.matmul[(int)TensorType::Q5_K] = matmul<Q5_K>;
  k.matmul[(int)TensorType::Q6_K] = matmul<Q6_K>;
  k.matmul[(int)TensorType::IQ4_NL] = matmul<IQ4_NL>;
  k.layer_norm = layer_norm;
  k.rope[(int)RopeStyle::none] = rope_none;
  k.rope[(int)RopeStyle::interleaved] = rope_interleaved;
  k.rope[(int)RopeStyle::neox] = rope_neox;
  k.activate[(int)Activation::silu] = activate<Silu>;
  k.activate[(int)Activation::gelu] = activate<Gelu>;
  k.activate[(int)Activation::relu] = activate<Relu>;
  k.add = add;
  k.gate[(int)Activation::silu] = gate<Silu>;
  k.gate[(int)Activation::gelu] = gate<Gelu>;
  k.gate[(int)Activation::relu] = gate<Relu>;
  k.attend = attend;
  k.attend_fold = attend_fold;
  k.scale = scale;
  k.to_f16 = to_f16;
  k.max_of = max_of;
  k.sum_exp = sum_exp;
  k.fetch = fetch;
  k.read_all = read_all;
  return k;
}
