#include "trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace hunch {

bool all_finite(const float* x, size_t n) {
  float sum = 0;  // 0 · x is NaN exactly where x is not finite
  for (size_t i = 0; i < n; i++) sum += 0 * x[i];
  return sum == 0;
}

static Status wrong(const std::string& what) { return Status::error("bad-request", what); }

Status check_predictor(const LowRankPredictor& p, uint32_t width, uint32_t rows, const std::string& what) {
  if (p.rank == 0 || p.a.size() != (size_t)p.rank * width || p.b.size() != (size_t)rows * p.rank || (!p.bias.empty() && p.bias.size() != rows))
    return wrong(what + " does not have the model's shape of " + std::to_string(width) + " inputs and " + std::to_string(rows) + " rows.");
  if (!all_finite(p.a.data(), p.a.size()) || !all_finite(p.b.data(), p.b.size()) || !all_finite(p.bias.data(), p.bias.size()))
    return wrong(what + " holds values that are not numbers.");
  return Status::fine();
}

void GramSum::add(const LinearAlgebra& la, const float* x, uint32_t n) {
  if (n == 0) return;
  if (tokens == 0)
    for (uint32_t i = 0; i < width; i++) {
      double mean = 0;
      for (uint32_t t = 0; t < n; t++) mean += x[(size_t)t * width + i];
      shift[i] = (float)(mean / n);
    }
  shifted_.resize((size_t)n * width);
  for (uint32_t t = 0; t < n; t++)
    for (uint32_t i = 0; i < width; i++) {
      const float v = x[(size_t)t * width + i] - shift[i];
      shifted_[(size_t)t * width + i] = v;
      sum[i] += v;
    }
  if (!gram.empty()) la.add_gram(n, width, shifted_.data(), gram.data());
  tokens += n;
}

std::vector<float> GramSum::mean() const {
  std::vector<float> m(width);
  for (uint32_t i = 0; i < width; i++) m[i] = (float)(shift[i] + sum[i] / (double)std::max<uint64_t>(tokens, 1));
  return m;
}

std::vector<float> GramSum::covariance() const {
  std::vector<float> c(gram.size());
  const double n = (double)std::max<uint64_t>(tokens, 1);
  for (uint32_t i = 0; i < width; i++)
    for (uint32_t j = 0; j <= i; j++) c[(size_t)i * width + j] = (float)(gram[(size_t)i * width + j] / n - sum[i] / n * (sum[j] / n));
  return c;
}

namespace {

// l with l lᵀ = covariance + ridge, in floats.
bool factor_covariance(const LinearAlgebra& la, const std::vector<float>& xx, uint32_t n, float ridge, std::vector<float>& l) {
  // Each input by its own deviation: the ridge then means the same for all, and the numbers stay near one.
  std::vector<double> deviation(n), c((size_t)n * n);
  double highest = 0;
  for (uint32_t i = 0; i < n; i++) highest = std::max(highest, (double)xx[(size_t)i * n + i]);
  for (uint32_t i = 0; i < n; i++) deviation[i] = std::sqrt(std::max((double)xx[(size_t)i * n + i], highest * 1e-12 + 1e-30));
  for (uint32_t i = 0; i < n; i++) {
    for (uint32_t j = 0; j < i; j++) c[(size_t)i * n + j] = xx[(size_t)i * n + j] / (deviation[i] * deviation[j]);
    c[(size_t)i * n + i] = 1 + ridge;
  }
  if (!la.cholesky(n, c.data())) return false;
  l.assign(c.size(), 0);
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j <= i; j++) l[(size_t)i * n + j] = (float)(deviation[i] * c[(size_t)i * n + j]);
  return true;
}

// splitmix64 (Steele 2014) into -1 … 1: a fixed start, so that the same moments give the same predictor.
void fill_random(std::vector<float>& x) {
  uint64_t state = 1;
  for (float& v : x) {
    uint64_t z = state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    v = (float)((double)((z ^ z >> 31) >> 11) * 0x1p-52 - 1);
  }
}

// k [rows][cols] ≈ v diag(s) uᵀ: v [rows][rank] orthonormal, m [rank][cols] = vᵀ k, strength [rank] = s², by randomised subspace iteration (Halko 2011).
bool leading(const LinearAlgebra& la, const std::vector<float>& k, uint32_t rows, uint32_t cols, uint32_t rank, std::vector<float>& v, std::vector<float>& m,
             std::vector<double>& strength) {
  const uint32_t p = std::min({rank + 16, rows, cols});
  std::vector<float> z((size_t)cols * p), y((size_t)rows * p), b((size_t)p * cols), square((size_t)p * p);
  fill_random(z);
  for (int i = 0; i < 6; i++) {
    la.multiply(false, false, rows, p, cols, k.data(), z.data(), false, y.data());
    la.orthonormalise(rows, p, y.data());
    la.multiply(true, false, cols, p, rows, k.data(), y.data(), false, z.data());
    if (i < 5) la.orthonormalise(cols, p, z.data());
  }
  la.multiply(true, false, p, cols, rows, y.data(), k.data(), false, b.data());
  la.multiply(false, true, p, p, cols, b.data(), b.data(), false, square.data());
  std::vector<double> symmetric(square.begin(), square.end()), values(p);
  if (!la.eigen(p, symmetric.data(), values.data())) return false;
  std::vector<float> turn((size_t)p * rank);  // the strongest first
  strength.resize(rank);
  for (uint32_t j = 0; j < rank; j++) {
    strength[j] = std::max(values[p - 1 - j], 0.0);
    for (uint32_t i = 0; i < p; i++) turn[(size_t)i * rank + j] = (float)symmetric[(size_t)i * p + (p - 1 - j)];
  }
  v.resize((size_t)rows * rank);
  m.resize((size_t)rank * cols);
  la.multiply(false, false, rows, rank, p, y.data(), turn.data(), false, v.data());
  la.multiply(true, false, rank, cols, p, turn.data(), b.data(), false, m.data());
  return true;
}

double dot(const float* a, const float* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
  return sum;
}

// Of y = b a x with what `leading` found in rows scaled by `scale`: a with hidden values of unit variance, b, and how much variance of each row they explain.
void compose(const std::vector<float>& v, const std::vector<double>& strength, const std::vector<float>& scale, uint32_t rows, uint32_t rank,
             std::vector<float>& m, uint32_t width, LowRankPredictor& out, std::vector<double>& explained) {
  out.b.resize((size_t)rows * rank);
  explained.assign(rows, 0);
  const double least = strength.empty() ? 0 : strength[0] * 1e-10 + 1e-30;
  for (uint32_t j = 0; j < rank; j++) {
    const double s = std::sqrt(std::max(strength[j], least));
    for (uint32_t i = 0; i < width; i++) m[(size_t)j * width + i] = (float)(m[(size_t)j * width + i] / s);
    for (uint32_t r = 0; r < rows; r++) {
      const double w = v[(size_t)r * rank + j] * s / scale[r];
      out.b[(size_t)r * rank + j] = (float)w;
      explained[r] += w * w;
    }
  }
  out.a = std::move(m);
  out.rank = rank;
  out.relu = false;
}

}  // namespace

Status fit_closed_form(const LinearAlgebra& la, const Moments& m, const ClosedForm& o, LowRankPredictor& out) {
  const size_t w = m.width, rows = m.rows;
  if (o.rank == 0) return wrong("A predictor needs a rank of at least 1.");
  if (!(o.ridge > 0) || !std::isfinite(o.ridge) || !std::isfinite(o.threshold)) return wrong("The ridge must be above 0 and the threshold a number.");
  if (w == 0 || rows == 0 || m.xx.size() != w * w || m.yx.size() != rows * w || m.x.size() != w || m.y.size() != rows || m.y_variance.size() != rows)
    return wrong("The moments do not have the shape that they say.");
  for (const std::vector<float>* part : {&m.xx, &m.yx, &m.x, &m.y, &m.y_variance})
    if (!all_finite(part->data(), part->size())) return wrong("The moments hold values that are not numbers.");

  double typical = 0;
  for (float v : m.y_variance) typical += std::max(v, 0.0f);
  typical = std::sqrt(typical / (double)rows) + 1e-20;
  std::vector<float> scale(rows, 1), l, k(m.yx), v, a;
  if (o.scale_rows)
    for (size_t r = 0; r < rows; r++) scale[r] = (float)(1 / (std::sqrt(std::max(m.y_variance[r], 0.0f)) + 1e-3 * typical));
  std::vector<double> strength, explained;
  if (!factor_covariance(la, m.xx, m.width, o.ridge, l)) return wrong("The captured inputs have no covariance to fit. Capture more text.");
  for (size_t r = 0; r < rows; r++)
    for (size_t i = 0; i < w; i++) k[r * w + i] *= scale[r];
  la.divide_lower(m.rows, m.width, l.data(), true, k.data());
  const uint32_t rank = std::min({o.rank, m.rows, m.width});
  if (!leading(la, k, m.rows, m.width, rank, v, a, strength)) return wrong("The fit of a predictor did not converge. Capture more text.");
  la.divide_lower(rank, m.width, l.data(), false, a.data());
  compose(v, strength, scale, m.rows, rank, a, m.width, out, explained);

  out.bias.resize(rows);
  for (size_t r = 0; r < rows; r++) out.bias[r] = m.y[r];
  std::vector<float> centre(rank);
  for (uint32_t j = 0; j < rank; j++) centre[j] = (float)dot(&out.a[j * w], m.x.data(), w);
  for (size_t r = 0; r < rows; r++) {
    float* b = &out.b[r * rank];
    if (o.as_logit) {
      // y given x is normal around its prediction: P(y > threshold) = Φ((prediction - threshold) / deviation), and a logit is 1.702 of that.
      const double variance = std::max(m.y_variance[r], 0.0f), error = std::sqrt(std::max(variance - explained[r], 0.0025 * variance)) + 1e-3 * typical;
      const float by = (float)(1.702 / error);
      for (uint32_t j = 0; j < rank; j++) b[j] *= by;
      out.bias[r] = std::clamp((out.bias[r] - o.threshold) * by, -60.0f, 60.0f);
    }
    out.bias[r] -= (float)dot(b, centre.data(), rank);
  }
  return Status::fine();
}

Status factor_gate(const LinearAlgebra& la, const float* gate, uint32_t rows, uint32_t width, const float* bias, const Moments* moments, uint32_t rank,
                   LowRankPredictor& out) {
  if (rank == 0 || rows == 0 || width == 0) return wrong("A factorisation needs a rank, rows and columns.");
  if (!all_finite(gate, (size_t)rows * width) || (bias && !all_finite(bias, rows))) return wrong("The gate holds values that are not numbers.");
  if (moments && (moments->xx.size() != (size_t)width * width || moments->x.size() != width || !all_finite(moments->xx.data(), moments->xx.size())))
    return wrong("The moments do not belong to this gate.");
  std::vector<float> k(gate, gate + (size_t)rows * width), l, v, a, scale(rows, 1);
  if (moments) {
    if (!factor_covariance(la, moments->xx, width, 1e-3f, l)) return wrong("The captured inputs have no covariance to fit. Capture more text.");
    std::vector<float> product(k.size());
    la.multiply(false, false, rows, width, width, k.data(), l.data(), false, product.data());
    k = std::move(product);
  }
  rank = std::min({rank, rows, width});
  std::vector<double> strength, explained;
  if (!leading(la, k, rows, width, rank, v, a, strength)) return wrong("The factorisation of a gate did not converge.");
  if (moments) la.divide_lower(rank, width, l.data(), false, a.data());
  compose(v, strength, scale, rows, rank, a, width, out, explained);
  out.bias.clear();
  if (!moments && !bias) return Status::fine();
  out.bias.assign(rows, 0);
  for (uint32_t r = 0; r < rows; r++) {
    if (bias) out.bias[r] = bias[r];
    if (!moments) continue;  // gate · mean + b a (x - mean)
    out.bias[r] += (float)dot(gate + (size_t)r * width, moments->x.data(), width);
    for (uint32_t j = 0; j < rank; j++) out.bias[r] -= (float)(out.b[(size_t)r * rank + j] * dot(&out.a[(size_t)j * width], moments->x.data(), width));
  }
  return Status::fine();
}

void predict(const LinearAlgebra& la, const LowRankPredictor& p, uint32_t width, uint32_t rows, const float* x, uint32_t tokens,
             std::vector<float>& hidden, float* scores) {
  hidden.resize((size_t)tokens * p.rank);
  la.multiply(false, true, tokens, p.rank, width, x, p.a.data(), false, hidden.data());
  if (p.relu)
    for (float& h : hidden) h = std::max(h, 0.0f);
  for (uint32_t t = 0; t < tokens; t++) {
    if (p.bias.empty()) std::fill_n(scores + (size_t)t * rows, rows, 0.0f);
    else std::copy_n(p.bias.data(), rows, scores + (size_t)t * rows);
  }
  la.multiply(false, true, tokens, rows, p.rank, hidden.data(), p.b.data(), true, scores);
}

Operating operating_at(const std::vector<float>& scores, const std::vector<float>& mass, float threshold) {
  size_t named = 0, active = 0, hit = 0;
  double total = 0, kept = 0;
  for (size_t i = 0; i < scores.size(); i++) {
    const bool yes = scores[i] > threshold;
    named += yes;
    if (!(mass[i] > 0)) continue;
    active++;
    total += mass[i];
    if (yes) hit++, kept += mass[i];
  }
  return {threshold, active ? (float)((double)hit / (double)active) : 1, total > 0 ? (float)(kept / total) : 1,
          scores.empty() ? 0 : (float)((double)named / (double)scores.size())};
}

Operating threshold_for(const std::vector<float>& scores, const std::vector<float>& mass, float recall, bool by_mass) {
  std::vector<std::pair<float, float>> active;  // score, weight
  double total = 0;
  for (size_t i = 0; i < scores.size(); i++)
    if (mass[i] > 0) {
      active.emplace_back(scores[i], by_mass ? mass[i] : 1);
      total += active.back().second;
    }
  if (active.empty()) {  // nothing to miss: name nothing
    const float highest = scores.empty() ? 0 : *std::max_element(scores.begin(), scores.end());
    return operating_at(scores, mass, highest);
  }
  std::sort(active.begin(), active.end());
  // As many of the lowest are left out as may be; the threshold lies just below the next.
  const double spare = total * (1 - (double)std::clamp(recall, 0.0f, 1.0f));
  double left = 0;
  size_t i = 0;
  while (i + 1 < active.size() && left + active[i].second <= spare) left += active[i++].second;
  return operating_at(scores, mass, std::nextafter(active[i].first, -INFINITY));
}

}  // namespace hunch
