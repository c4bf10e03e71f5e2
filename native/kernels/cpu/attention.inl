// Flash attention over one KV head. Part of kernels.inl.

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
