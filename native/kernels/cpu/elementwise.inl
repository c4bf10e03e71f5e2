// Kernels over one vector: norms, activations, rotary positions, quantisation, logits. Part of kernels.inl.

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

inline vf clamp_q8(vf x) { return vf_min(vf_max(x, vf_set1(-127)), vf_set1(127)); }

void quantize(const float* x, uint32_t n, int8_t* q, float* d, int32_t* sum) {
  for (uint32_t b = 0; b < n / kQuantBlock; b++, x += 32, q += 32) {
    const vf a = vf_load(x), c = vf_load(x + 16);
    const float peak = vf_peak(vf_max(vf_abs(a), vf_abs(c)));
    const vf inverse = vf_set1(peak > 0 ? 127.0f / peak : 0.0f);
    // Clamped for the sake of hostile models only: NaN and infinity must not become integers that overflow later sums.
    const vi low = vi_round(clamp_q8(vf_mul(a, inverse))), high = vi_round(clamp_q8(vf_mul(c, inverse)));
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

struct Same { static vf of(vf x) { return x; } };

template <class Act, class UpAct = Same>
void gate(float* g, const float* up, uint32_t n) {
  Tail a, b;
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16) vf_store(g + i, vf_mul(Act::of(vf_load(g + i)), UpAct::of(vf_load(up + i))));
  if (i < n) a.store(g + i, n - i, vf_mul(Act::of(a.load(g + i, n - i, 0)), UpAct::of(b.load(up + i, n - i, 0))));
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
