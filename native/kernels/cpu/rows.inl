// Rows of weights stored one after another (src/rows.h gives their layout): dot products with chosen rows, and sums of chosen rows. A lane
// is a block of 32 columns, so a row needs one horizontal sum and each lane its own scale. Part of kernels.inl.

// Blocks of quants come in chunks of 16, 8, 4 and 2; in a chunk of C blocks a block has 16 / C lanes.
template <class F>
inline void each_chunk(uint32_t blocks, F&& f) {
  uint32_t b = 0;
  for (; b + 16 <= blocks; b += 16) f(std::integral_constant<int, 16>{}, b);
  if (blocks - b >= 8) f(std::integral_constant<int, 8>{}, b), b += 8;
  if (blocks - b >= 4) f(std::integral_constant<int, 4>{}, b), b += 4;
  for (; b < blocks; b += 2) f(std::integral_constant<int, 2>{}, b);
}
inline uint32_t padded_blocks(uint32_t cols) { return (cols / kQuantBlock + 1) / 2 * 2; }

struct Nibbles {
  static constexpr uint32_t block_bytes = 16;
  static constexpr int zero = 8;
  static constexpr bool has_min = false;
};
struct NibblesMin : Nibbles {
  static constexpr int zero = 0;
  static constexpr bool has_min = true;
};
struct Bytes {
  static constexpr uint32_t block_bytes = 32;
  static constexpr int zero = 128;
  static constexpr bool has_min = false;
};
struct BytesMin : Bytes {
  static constexpr int zero = 0;
  static constexpr bool has_min = true;
};

// The C / 2 vectors of a chunk.
template <class W, int C>
inline void load_chunk(const uint8_t* p, vb q[8]) {
  if constexpr (W::block_bytes == 32) {
    for (int v = 0; v < C / 2; v++) q[v] = vb_load(p + 64 * v);
  } else if constexpr (C == 2) {
    q[0] = vb_split(p);
  } else {
    for (int v = 0; v < C / 4; v++) {
      const vb w = vb_load(p + 64 * v);
      q[v] = vb_low(w);
      q[v + C / 4] = vb_high(w);
    }
  }
}

template <class W>
inline float dot_row(const uint8_t* row, uint32_t cols, const RowInput& x) {
  const uint32_t blocks = padded_blocks(cols);
  const uint16_t* scales = (const uint16_t*)row;
  const uint8_t* quants = row + (size_t)blocks * (W::has_min ? 4 : 2);
  const int8_t* xq = x.q;
  const int32_t* offset = W::zero == 128 ? x.offset_bytes : x.offset_nibbles;
  vf acc = vf_zero();
  uint32_t chunk = 0;
  each_chunk(blocks, [&](auto size, uint32_t b) {
    constexpr int C = decltype(size)::value, L = 16 / C;
    vb q[8];
    load_chunk<W, C>(quants, q);
    const size_t at = (size_t)chunk++ * 16;
    vi sum = W::zero ? vi_load(offset + at) : vi_set1(0);
    for (int v = 0; v < C / 2; v++)
      sum = W::zero == 128 ? dot4_bytes(sum, q[v], vb_load((const uint8_t*)xq + 64 * v)) : dot4_vector(sum, q[v], vb_load((const uint8_t*)xq + 64 * v));
    acc = vf_fma(vf_from_vi(sum), vf_mul(vf_load_f16_spread<L>(scales + b), vf_load(x.d + at)), acc);
    if constexpr (W::has_min) acc = vf_fma(vf_load_f16_spread<L>(scales + blocks + b), vf_load(x.sum + at), acc);
    xq += 32 * C;
    quants += W::block_bytes * C;
  });
  return vf_sum(acc);
}

template <class W>
  requires requires { W::bytes; }
inline float dot_row(const uint8_t* row, uint32_t cols, const RowInput& x) {
  vf a = vf_zero(), b = vf_zero();
  uint32_t c = 0;
  for (; c + 32 <= cols; c += 32) {
    a = vf_fma(W::load(row + (size_t)c * W::bytes), vf_load(x.f + c), a);
    b = vf_fma(W::load(row + (size_t)(c + 16) * W::bytes), vf_load(x.f + c + 16), b);
  }
  Tail tail;
  for (; c < cols; c += 16) {  // rows are padded with zeros to 16 columns
    const vf w = W::load(row + (size_t)c * W::bytes);
    a = vf_fma(w, cols - c < 16 ? tail.load(x.f + c, cols - c, 0) : vf_load(x.f + c), a);
  }
  return vf_sum(vf_add(a, b));
}

inline void ask(const Ahead& a, uint32_t i) {
  if (i >= a.n) return;
  const uint8_t* p = a.rows + (size_t)a.list[i] * a.stride;
  for (size_t b = 0; b < a.bytes; b += 64) prefetch(p + b);
}

template <class W>
void dot_rows(const DotRowsArgs& a) {
  if (a.list) {
    for (uint32_t i = 0; i < a.n; i++) ask(a.ahead, i), a.out[i] = dot_row<W>(a.rows + (size_t)a.list[i] * a.stride, a.cols, a.x);
    return;
  }
  for (uint32_t i = 0; i < a.n; i++) {
    const uint8_t* row = a.rows + (size_t)i * a.stride;
    prefetch_ahead(row, a.stride);
    ask(a.ahead, i);
    a.out[i] = dot_row<W>(row, a.cols, a.x);
  }
}

// acc += by[i] * row, for N rows at once: every sum runs over the rows in their order, whatever N.
template <class W, int N>
inline void add_some(const uint8_t* const row[N], const float* by, uint32_t cols, float* acc) {
  const uint32_t blocks = padded_blocks(cols);
  size_t quants = (size_t)blocks * (W::has_min ? 4 : 2);
  each_chunk(blocks, [&](auto size, uint32_t b) {
    constexpr int C = decltype(size)::value, L = 16 / C;
    vf d[N], m[N];
    for (int n = 0; n < N; n++) {
      d[n] = vf_mul(vf_set1(by[n]), vf_load_f16_spread<L>((const uint16_t*)row[n] + b));
      if constexpr (W::has_min) m[n] = vf_mul(vf_set1(by[n]), vf_load_f16_spread<L>((const uint16_t*)row[n] + blocks + b));
    }
    const auto add = [&](float* to, const auto& value) {
      vf sum = vf_load(to);
#pragma GCC unroll 4
      for (int n = 0; n < N; n++) {
        if constexpr (W::has_min) sum = vf_add(sum, vf_fma(value(n), d[n], m[n]));
        else sum = vf_fma(value(n), d[n], sum);
      }
      vf_store(to, sum);
    };
    constexpr bool nibbles = W::block_bytes == 16 && C > 2;  // two of them, a nibble each, from one load
    for (int v = 0; v < (nibbles ? C / 4 : C / 2); v++) {
      vb q[N];
      for (int n = 0; n < N; n++) {
        const uint8_t* p = row[n] + quants + 64 * v;
        if constexpr (W::block_bytes == 16 && C == 2) q[n] = vb_split(p);
        else q[n] = vb_load(p);
      }
      float* to = acc + 64 * v;
      if constexpr (nibbles) {
        float* high = to + 16 * C;  // C / 4 vectors further
        add(to, [&](int n) { return vf_nibble<0, W::zero>(q[n]); });
        add(to + 16, [&](int n) { return vf_nibble<2, W::zero>(q[n]); });
        add(to + 32, [&](int n) { return vf_nibble<4, W::zero>(q[n]); });
        add(to + 48, [&](int n) { return vf_nibble<6, W::zero>(q[n]); });
        add(high, [&](int n) { return vf_nibble<1, W::zero>(q[n]); });
        add(high + 16, [&](int n) { return vf_nibble<3, W::zero>(q[n]); });
        add(high + 32, [&](int n) { return vf_nibble<5, W::zero>(q[n]); });
        add(high + 48, [&](int n) { return vf_nibble<7, W::zero>(q[n]); });
      } else {
        const vf zero = vf_set1(W::zero);
        add(to, [&](int n) { return vf_sub(vf_byte<0>(q[n]), zero); });
        add(to + 16, [&](int n) { return vf_sub(vf_byte<1>(q[n]), zero); });
        add(to + 32, [&](int n) { return vf_sub(vf_byte<2>(q[n]), zero); });
        add(to + 48, [&](int n) { return vf_sub(vf_byte<3>(q[n]), zero); });
      }
    }
    quants += W::block_bytes * C;
    acc += 32 * C;
  });
}

template <class W, int N>
  requires requires { W::bytes; }
inline void add_some(const uint8_t* const row[N], const float* by, uint32_t cols, float* acc) {
  for (uint32_t c = 0; c < cols; c += 16) {
    vf sum = vf_load(acc + c);
    for (int n = 0; n < N; n++) sum = vf_fma(W::load(row[n] + (size_t)c * W::bytes), vf_set1(by[n]), sum);
    vf_store(acc + c, sum);
  }
}

template <class W>
void add_rows(const AddRowsArgs& a) {
  constexpr int kTogether = 4;
  uint32_t i = 0;
  const auto row = [&](uint32_t n) { return a.rows + (size_t)(a.list ? a.list[n] : n) * a.stride; };
  for (; i + kTogether <= a.n; i += kTogether) {
    for (int n = 0; n < kTogether; n++) ask(a.ahead, i + n);
    const uint8_t* const rows[kTogether] = {row(i), row(i + 1), row(i + 2), row(i + 3)};
    add_some<W, kTogether>(rows, a.by + i, a.cols, a.acc);
  }
  for (; i < a.n; i++) {
    ask(a.ahead, i);
    const uint8_t* const rows[1] = {row(i)};
    add_some<W, 1>(rows, a.by + i, a.cols, a.acc);
  }
}

void arrange(const Activations& x, uint32_t cols, const RowBuffer& to) {
  const uint32_t blocks = cols / kQuantBlock;
  uint32_t chunk = 0;
  int8_t* q = to.q;
  each_chunk(padded_blocks(cols), [&](auto size, uint32_t first) {
    constexpr int C = decltype(size)::value, L = 16 / C;
    const size_t at = (size_t)chunk++ * 16;
    for (int i = 0; i < C; i++) {
      const uint32_t b = first + i;
      const bool real = b < blocks;
      for (int w = 0; w < 8; w++) {
        int32_t four = 0;
        if (real) std::memcpy(&four, x.q + (size_t)b * 32 + 4 * w, 4);
        std::memcpy(q + 64 * (w / L) + 4 * (i * L + w % L), &four, 4);
      }
      const int32_t sum = real ? x.sum[2 * b] + x.sum[2 * b + 1] : 0;
      const float d = real ? x.d[b] : 0;
      for (int l = 0; l < L; l++) {
        const size_t lane = at + i * L + l;
        to.d[lane] = d;
        to.sum[lane] = l ? 0 : d * (float)sum;
        to.offset_nibbles[lane] = l ? 0 : -8 * sum;
        to.offset_bytes[lane] = l ? 0 : -kQ8Bias * sum;
      }
    }
    q += 32 * C;
  });
}

uint32_t select(const float* x, uint32_t n, float threshold, bool absolute, uint32_t first, uint32_t* list) {
  uint32_t count = 0;
  Tail tail;
  for (uint32_t i = 0; i < n; i += 16) {
    vf a = n - i < 16 ? tail.load(x + i, n - i, -INFINITY) : vf_load(x + i);
    if (absolute) a = n - i < 16 ? tail.load(x + i, n - i, 0) : a, a = vf_abs(a);
    for (uint32_t above = vf_above(a, threshold); above; above &= above - 1) list[count++] = first + i + (uint32_t)__builtin_ctz(above);
  }
  return count;
}
