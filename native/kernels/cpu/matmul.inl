// Packed weights times activations, one kernel per family of types. Part of kernels.inl; layouts: src/packing.h.

// Bytes that a sequential read should be asked for ahead of use: tuned in lab/gemv.cpp on 1 and 2 threads.
constexpr size_t kPrefetchAhead = 8192;
inline void prefetch_ahead(const uint8_t* p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) prefetch(p + kPrefetchAhead + i);
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

// Low-bit copies (src/screen.h): value = d * (2 q + 1 - 2^bits), loaded as 2 q. Bit fields of byte 4r+b run through the vectors.
struct Screen1 : Q4_0 {
  static constexpr size_t quant_bytes = 64;
  static constexpr int zero = 1;
  static void load(const uint8_t* p, vb q[8]) {
    const vb w = vb_load(p);
    q[0] = vb_and(vb_shl<1>(w), 2);
    q[1] = vb_and(w, 2);
    q[2] = vb_and(vb_shr<1>(w), 2);
    q[3] = vb_and(vb_shr<2>(w), 2);
    q[4] = vb_and(vb_shr<3>(w), 2);
    q[5] = vb_and(vb_shr<4>(w), 2);
    q[6] = vb_and(vb_shr<5>(w), 2);
    q[7] = vb_and(vb_shr<6>(w), 2);
  }
};
struct Screen2 : Q4_0 {
  static constexpr size_t quant_bytes = 128;
  static constexpr int zero = 3;
  static void load(const uint8_t* p, vb q[8]) {
    for (int h = 0; h < 2; h++) {
      const vb w = vb_load(p + 64 * h);
      q[4 * h] = vb_and(vb_shl<1>(w), 6);
      q[4 * h + 1] = vb_and(vb_shr<1>(w), 6);
      q[4 * h + 2] = vb_and(vb_shr<3>(w), 6);
      q[4 * h + 3] = vb_and(vb_shr<5>(w), 6);
    }
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
    if (T == 1 || t0 == 0) prefetch_ahead(group + b * (W::scale_bytes + W::quant_bytes), W::scale_bytes + W::quant_bytes);
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

// The same for one token and some of the blocks: the others' inputs are zeros, which would add nothing.
template <class W>
inline vf listed_blocks(const uint8_t* group, size_t group_bytes, const MatmulArgs& a) {
  const uint8_t* quants = group + (a.cols / kQuantBlock * W::scale_bytes + 63) / 64 * 64;
  vf acc = vf_zero();
  for (uint32_t i = 0; i < a.block_count; i++) {
    const uint32_t b = a.blocks[i];
    const uint8_t *scales = group + b * W::scale_bytes, *p = quants + (size_t)b * W::quant_bytes;
    for (size_t l = 0; l < W::quant_bytes; l += 64) prefetch(p + 2 * group_bytes + l);
    prefetch(scales + 2 * group_bytes);
    vb q[8];
    W::load(p, q);
    const int32_t total = a.x.sum[2 * b] + a.x.sum[2 * b + 1];
    int32_t x4[8];
    std::memcpy(x4, a.x.q + (size_t)b * 32, 32);
    vi s0 = vi_set1(W::zero ? -W::zero * total : 0), s1 = vi_set1(0);
    for (int v = 0; v < 4; v++) {
      s0 = W::dot(s0, q[v], x4[v]);
      s1 = W::dot(s1, q[v + 4], x4[v + 4]);
    }
    acc = vf_fma(vf_from_vi(vi_add(s0, s1)), vf_mul(vf_load_f16((const uint16_t*)scales), vf_set1(a.x.d[b])), acc);
    if constexpr (W::has_min) acc = vf_fma(vf_load_f16((const uint16_t*)scales + 16), vf_set1(a.x.d[b] * (float)total), acc);
  }
  return acc;
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
      if (T == 1 || t0 == 0) prefetch_ahead(group + i * (W::super_bytes / 8), W::super_bytes / 8);
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
    if (T == 1 || t0 == 0) prefetch_ahead(group + (size_t)c * 16 * W::bytes, 4 * 16 * W::bytes);
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
  if constexpr (requires { W::scale_bytes; })
    if (a.blocks && a.tokens == 1) {
      for (uint32_t g = 0; g < a.groups; g++)
        put(a.out + g * 16, listed_blocks<W>(a.weights + (size_t)g * a.group_bytes, a.group_bytes, a), a.rows - g * 16 < 16 ? a.rows - g * 16 : 16, a.add);
      return;
    }
  constexpr int kTile = requires { W::super_bytes; } ? kSuperTile : requires { W::quant_bytes; } ? kQuantTile : kFloatTile;
  for (uint32_t g = 0; g < a.groups; g++) {
    const uint8_t* group = a.weights + (size_t)g * a.group_bytes;
    uint32_t t = 0;
    for (; t + kTile <= a.tokens; t += kTile) tile<W, kTile>(a, group, g * 16, t);
    if constexpr (kTile > 4)
      if (t + 4 <= a.tokens) tile<W, 4>(a, group, g * 16, t), t += 4;
    for (; t + 2 <= a.tokens; t += 2) tile<W, 2>(a, group, g * 16, t);
    for (; t < a.tokens; t++) tile<W, 1>(a, group, g * 16, t);
  }
}
