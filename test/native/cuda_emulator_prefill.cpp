// The prompt's kernels (native/kernels/cuda/prefill.h) in plain loops.
#include <algorithm>
#include <limits>

#include "../../native/kernels/cuda/prefill.h"
#include "cuda_emulator.h"
#include "cuda_emulator_math.h"
#include "half.h"

namespace hunch::cuda {

namespace {

// Each token's launch knows how many there are only by its grid.
void embed(const EmbedLaunch& t, unsigned tokens) {
  for (unsigned i = 0; i < tokens; i++) {
    const std::vector<float> row = row_values(t.embedding, (uint32_t)t.tokens[i]);
    const std::vector<float> place = t.positions.data ? row_values(t.positions, t.position + i) : std::vector<float>(t.width, 0.0f);
    for (uint32_t c = 0; c < t.width; c++) t.x[(size_t)i * t.width + c] = row[c] * t.scale + place[c];
  }
}

void norm(const NormLaunch& t, unsigned tokens) {
  for (unsigned i = 0; i < tokens; i++) {
    float* x = t.x + (size_t)i * t.n;
    if (t.branch) {
      std::vector<float> branch(t.n, 0.0f);
      for (uint32_t part = 0; part < t.parts; part++)
        for (uint32_t c = 0; c < t.n; c++) branch[c] += t.branch[((size_t)part * tokens + i) * t.n + c];
      normalise(t.branch_norm, t.epsilon, branch);
      for (uint32_t c = 0; c < t.n; c++) x[c] += branch[c];
    }
    std::vector<float> y(x, x + t.n);
    normalise(t.norm, t.epsilon, y);
    float peak = 0;
    for (float v : y) peak = std::max(peak, std::fabs(v));
    int exponent = 0;
    std::frexp(peak, &exponent);  // peak in [2^(exponent - 1), 2^exponent)
    t.scale[i] = std::ldexp(1.0f, std::max(exponent, -99) - 14);
    for (uint32_t c = 0; c < t.n; c++) t.out[(size_t)i * t.n + c] = f32_to_f16(y[c] / t.scale[i]);
  }
}

void multiply(const MultiplyLaunch& g, bool turned, uint32_t part, uint32_t parts) {
  const uint32_t all = turned ? g.w.rows : g.w.cols, steps = (all + kTileColumns - 1) / kTileColumns;
  const uint32_t begin = steps * part / parts * kTileColumns, end = std::min(all, steps * (part + 1) / parts * kTileColumns);
  const uint32_t columns = turned ? g.w.rows : g.w.cols, rows = turned ? g.w.cols : g.w.rows;
  std::vector<float> w((size_t)rows * columns);
  for (uint32_t r = 0; r < g.w.rows; r++) {
    const std::vector<float> row = row_values(g.w, r);
    for (uint32_t c = 0; c < g.w.cols; c++) w[turned ? (size_t)c * columns + r : (size_t)r * columns + c] = row[c];
  }
  std::vector<float> x(columns), v(rows);
  for (uint32_t i = 0; i < g.tokens; i++) {
    for (uint32_t c = 0; c < columns; c++) x[c] = f16_to_f32(g.x[(size_t)i * columns + c]) * (g.scale ? g.scale[i] : 1);
    for (uint32_t r = 0; r < rows; r++) {
      double sum = 0;
      for (uint32_t c = begin; c < end; c++) sum += (double)w[(size_t)r * columns + c] * x[c];
      v[r] = (float)sum;
    }
    float* out = g.out + ((size_t)part * g.tokens + i) * g.out_stride;
    for (uint32_t r = 0; r < rows && g.epilogue != Epilogue::logits; r++) {
      if (g.epilogue == Epilogue::gate) {
        out[r / 2] = through(g.act, v[r], v[r + 1] + (g.bias ? g.bias[r / 2] : 0));
        r++;
        continue;
      }
      const float y = v[r] + (g.bias && part == 0 ? g.bias[r] : 0);
      out[r] = g.epilogue == Epilogue::activate ? activated(g.act, y) : y;
    }
    for (uint32_t part = 0; g.epilogue == Epilogue::logits && part * kScoreRows < rows; part++) {
      const size_t at = (size_t)part * g.tokens + i;
      const auto begin = v.begin() + part * kScoreRows, end = v.begin() + std::min(rows, (part + 1) * kScoreRows), best = std::max_element(begin, end);
      g.best[at] = *best, g.best_id[at] = (int32_t)(best - v.begin()), g.sum[at] = 0;
      for (auto p = begin; p < end; p++) g.sum[at] += std::exp(*p - *best);
    }
    if (g.epilogue == Epilogue::logits) g.target[i] = v[(size_t)g.targets[i]];
  }
}

void turn(const TurnLaunch& t) {
  const uint32_t hw = t.head_width, group = t.heads / t.kv_heads, half = t.rope_width / 2, all = t.heads + 2 * t.kv_heads;
  for (uint32_t i = 0; i < t.tokens; i++)
    for (uint32_t h = 0; h < all; h++) {
      const float* from = t.qkv + ((size_t)i * all + h) * hw;
      std::vector<float> v(from, from + hw);
      const bool query = h < t.heads, value = h >= t.heads + t.kv_heads;
      if (!value) {
        normalise(query ? t.q_norm : t.k_norm, t.epsilon, v);
        for (uint32_t k = 0; t.cosine && k < half; k++) {
          const size_t at = (size_t)(t.position + i) * half + k;
          float &a = v[t.neox ? k : 2 * k], &b = v[t.neox ? k + half : 2 * k + 1];
          const float p = a, q = b;
          a = p * t.cosine[at] - q * t.sine[at], b = p * t.sine[at] + q * t.cosine[at];
        }
      }
      uint16_t* to = query ? t.queries + (((size_t)(h / group) * t.tokens + i) * group + h % group) * hw
                           : (value ? t.values : t.keys) + ((size_t)((h - t.heads) % t.kv_heads) * t.context + t.position + i) * hw;
      for (uint32_t d = 0; d < hw; d++) to[d] = f32_to_f16(query ? v[d] * t.query_scale : v[d]);
    }
}

void attend(const AttendLaunch& t) {
  const uint32_t hw = t.head_width, group = t.heads / t.kv_heads;
  for (uint32_t i = 0; i < t.tokens; i++)
    for (uint32_t h = 0; h < t.heads; h++) {
      const uint32_t kv = h / group, upto = t.position + i, from = t.window && upto + 1 > t.window ? upto + 1 - t.window : 0;
      const uint16_t* q = t.queries + (((size_t)kv * t.tokens + i) * group + h % group) * hw;
      const uint16_t *keys = t.keys + (size_t)kv * t.context * hw, *values = t.values + (size_t)kv * t.context * hw;
      std::vector<double> scores, sum(hw, 0.0);
      double top = -std::numeric_limits<double>::infinity(), total = 0;
      for (uint32_t p = from; p <= upto; p++) {
        double s = 0;
        for (uint32_t d = 0; d < hw; d++) s += (double)f16_to_f32(q[d]) * f16_to_f32(keys[(size_t)p * hw + d]);
        scores.push_back(s);
        top = std::max(top, s);
      }
      for (uint32_t p = from; p <= upto; p++) {
        const double w = std::exp2(scores[p - from] - top);
        total += w;
        for (uint32_t d = 0; d < hw; d++) sum[d] += w * f16_to_f32(values[(size_t)p * hw + d]);
      }
      for (uint32_t d = 0; d < hw; d++) t.out[((size_t)i * t.heads + h) * hw + d] = f32_to_f16((float)(sum[d] / total));
    }
}

void score(const ScoreLaunch& t) {
  for (uint32_t i = 0; i < t.tokens; i++) {
    uint32_t best = 0;
    for (uint32_t part = 1; part < t.parts; part++)
      if (t.best[(size_t)part * t.tokens + i] > t.best[(size_t)best * t.tokens + i]) best = part;
    const float top = t.best[(size_t)best * t.tokens + i];
    double sum = 0;
    for (uint32_t part = 0; part < t.parts; part++) sum += t.sum[(size_t)part * t.tokens + i] * std::exp((double)t.best[(size_t)part * t.tokens + i] - top);
    t.nll[i] = (float)(std::log(sum) + top - t.target[i]);
    t.greedy[i] = t.best_id[(size_t)best * t.tokens + i] == t.targets[i];
  }
}

}  // namespace

bool run_prefill_kernel(const std::string& name, unsigned x, unsigned y, unsigned z, const void* argument) {
  constexpr const char* formats[kFormats] = {"f32", "f16", "bf16", "nibbles", "nibbles_min", "fives", "bytes", "sixes"};
  if (name == "hunch_embed") return embed(*static_cast<const EmbedLaunch*>(argument), x), true;
  if (name == "hunch_norm") return norm(*static_cast<const NormLaunch*>(argument), x), true;
  if (name == "hunch_turn") {
    const TurnLaunch& t = *static_cast<const TurnLaunch*>(argument);
    turn(t);
    return x == t.tokens && y * (kRowThreads / 32) >= t.heads + 2 * t.kv_heads;
  }
  if (name == "hunch_score") return score(*static_cast<const ScoreLaunch*>(argument)), x == static_cast<const ScoreLaunch*>(argument)->tokens;
  if (name.starts_with("hunch_attend_")) {
    const AttendLaunch& t = *static_cast<const AttendLaunch*>(argument);
    attend(t);
    return name == "hunch_attend_" + std::to_string(padded_head(t.head_width)) && x * kQueryRows >= t.tokens * (t.heads / t.kv_heads) && y == t.kv_heads;
  }
  for (bool turned : {false, true}) {
    const MultiplyLaunch& g = *static_cast<const MultiplyLaunch*>(argument);
    const std::string kind = turned ? "hunch_turned_" : "hunch_multiply_";
    if (!name.starts_with(kind)) continue;
    for (unsigned part = 0; part < z; part++) multiply(g, turned, part, z);
    return name == kind + formats[(uint32_t)g.w.format] && (z == 1 || g.epilogue == Epilogue::store) && x * kTileTokens >= g.tokens && y * kTileRows >= (turned ? g.w.cols : g.w.rows);
  }
  return false;
}

}  // namespace hunch::cuda
