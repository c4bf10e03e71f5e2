#include "tiny_model.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

namespace hunch {

std::filesystem::path temporary_path() {
  static const unsigned process = std::random_device{}();
  static unsigned count = 0;
  return std::filesystem::temp_directory_path() / ("hunch-test-" + std::to_string(process) + "-" + std::to_string(count++) + ".bin");
}

std::vector<int32_t> random_tokens(uint32_t count, uint32_t vocabulary, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = (int32_t)random.below(vocabulary);
  return ids;
}

void TinyModel::add(const std::string& name, TensorType type, uint32_t cols, uint32_t rows, double deviation, double centre) {
  std::vector<uint8_t> raw = random_weights(type, rows, cols, deviation, random_);
  if (centre != 0)  // norms: float types only
    for (uint32_t c = 0; c < cols; c++) {
      const float f = (float)(centre + oracle::dequantise(type, raw.data(), cols).value[c]);
      const uint16_t h = type == TensorType::F16 ? oracle::to_half(f) : (uint16_t)(std::bit_cast<uint32_t>(f) >> 16);
      if (type == TensorType::F32) std::memcpy(&raw[4 * c], &f, 4);
      else std::memcpy(&raw[2 * c], &h, 2);
    }
  Matrix m{cols, oracle::block_columns(type) > 1, {}};
  for (uint32_t r = 0; r < rows; r++) m.rows.push_back(oracle::dequantise(type, raw.data() + r * oracle::row_bytes(type, cols), cols).value);
  const bool is_vector = name.find("norm") != std::string::npos || name.find(".bias") != std::string::npos || name.find("rope") != std::string::npos;
  if (!is_vector) {
    parameters += (uint64_t)rows * cols;
    const bool read = name == "output.weight" || (name == "token_embd.weight" && o_.tied) || name.starts_with("blk.");
    if (read) bytes_per_token += raw.size();
  }
  file_.resize((file_.size() + 31) / 32 * 32);
  std::vector<uint64_t> shape = {cols};
  if (!is_vector) shape.push_back(rows);
  spec.tensors.push_back({name, type, shape, file_.size()});
  file_.insert(file_.end(), raw.begin(), raw.end());
  tensors_[name] = std::move(m);
}

// As an MLP stored by neuron does it: activations unrounded; a quantised matrix's columns at 8 bits, d = max|w| / 127 in half precision.
std::vector<double> TinyModel::multiply_by_neuron(const std::string& name, const std::vector<double>& x) const {
  const Matrix& m = tensors_.at(name + ".weight");
  std::vector<double> out = has(name + ".bias") ? vector(name + ".bias") : std::vector<double>(m.rows.size(), 0.0);
  for (uint32_t n = 0; n < m.cols; n++)
    for (uint32_t block = 0; block < m.rows.size(); block += 32) {
      const uint32_t end = std::min<uint32_t>(block + 32, (uint32_t)m.rows.size());
      float peak = 0;
      for (uint32_t i = block; i < end; i++) peak = std::max(peak, std::fabs((float)m.rows[i][n]));
      const double d = oracle::from_half(oracle::to_half(peak / 127));
      for (uint32_t i = block; i < end; i++)
        out[i] += x[n] * (m.quantised ? d * (peak > 0 ? (double)std::lrintf((float)m.rows[i][n] * (127 / peak)) : 0.0) : m.rows[i][n]);
    }
  return out;
}

TinyModel::TinyModel(const TinyOptions& o) : path(temporary_path()), o_(o), random_(o.seed) {
  const bool opt = o.architecture == "opt", gemma = o.architecture == "gemma3", qwen2 = o.architecture == "qwen2", qwen3 = o.architecture == "qwen3";
  spec.path = path.string();
  spec.architecture = o.architecture;
  spec.layers = o.layers, spec.width = o.width, spec.ffn_width = o.ffn_width, spec.vocabulary = o.vocabulary;
  spec.heads = o.heads, spec.kv_heads = o.kv_heads, spec.head_width = o.head_width;
  spec.trained_context = o.trained_context;
  spec.norm_epsilon = 1e-5f;
  spec.activation = o.activation;
  spec.rope_width = o.rope_width ? o.rope_width : o.head_width;
  spec.rope.base = 10000, spec.window_rope.base = 500;
  spec.window = o.window, spec.window_pattern = o.window_pattern;

  file_.assign(100, 0xEE);  // a header that nobody reads
  const double gain = 1.2;
  const auto matrix = [&](const std::string& name, uint32_t cols, uint32_t rows) { add(name, o.matrices, cols, rows, gain / std::sqrt((double)cols)); };
  const auto bias = [&](const std::string& name, uint32_t n) { add(name + ".bias", o.norms, n, 1, 0.3); };
  const auto norm = [&](const std::string& name, uint32_t n) {
    add(name + ".weight", o.norms, n, 1, 0.2, 1);
    if (opt) bias(name, n);
  };
  const uint32_t q_rows = o.heads * o.head_width, kv_rows = o.kv_heads * o.head_width;
  add("token_embd.weight", o.embedding, o.width, o.vocabulary, 0.3);
  if (opt) add("position_embd.weight", TensorType::F16, o.width, o.trained_context + 2, 0.2);
  for (uint32_t l = 0; l < o.layers; l++) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    norm(blk + "attn_norm", o.width);
    matrix(blk + "attn_q.weight", o.width, q_rows);
    matrix(blk + "attn_k.weight", o.width, kv_rows);
    matrix(blk + "attn_v.weight", o.width, kv_rows);
    matrix(blk + "attn_output.weight", q_rows, o.width);
    norm(blk + "ffn_norm", o.width);
    if (!opt) matrix(blk + "ffn_gate.weight", o.width, o.ffn_width);
    matrix(blk + "ffn_up.weight", o.width, o.ffn_width);
    if (o.down_by_neuron) matrix(blk + "ffn_down_t.weight", o.width, o.ffn_width);
    else matrix(blk + "ffn_down.weight", o.ffn_width, o.width);
    if (qwen2 || opt) bias(blk + "attn_q", q_rows), bias(blk + "attn_k", kv_rows), bias(blk + "attn_v", kv_rows);
    if (opt) bias(blk + "attn_output", o.width), bias(blk + "ffn_up", o.ffn_width), bias(blk + "ffn_down", o.width);
    if (qwen3 || gemma) norm(blk + "attn_q_norm", o.head_width), norm(blk + "attn_k_norm", o.head_width);
    if (gemma || l >= o.post_norms_from) norm(blk + "post_attention_norm", o.width), norm(blk + "post_ffw_norm", o.width);
  }
  norm("output_norm", o.width);
  if (o.rope_factors) add("rope_freqs.weight", TensorType::F32, spec.rope_width / 2, 1, 0.5, 3);
  if (!o.tied) add("output.weight", o.embedding, o.width, o.vocabulary, 0.3);
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(file_.data()), (std::streamsize)file_.size());
}

TinyModel::~TinyModel() {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
}

std::vector<double> TinyModel::multiply(const std::string& name, const std::vector<double>& x) const {
  const Matrix& m = tensors_.at(name + ".weight");
  const std::vector<double> in = m.quantised ? oracle::quantised_activations(x) : x;
  std::vector<double> out;
  for (const std::vector<double>& row : m.rows) {
    double sum = 0;
    for (uint32_t c = 0; c < m.cols; c++) sum += row[c] * in[c];
    out.push_back(sum);
  }
  if (has(name + ".bias"))
    for (size_t i = 0; i < out.size(); i++) out[i] += vector(name + ".bias")[i];
  return out;
}

std::vector<double> TinyModel::norm(const std::string& name, const std::vector<double>& x) const {
  const std::vector<double>& w = vector(name + ".weight");
  return has(name + ".bias") ? oracle::layer_norm(x, w, vector(name + ".bias"), spec.norm_epsilon) : oracle::rms_norm(x, w, spec.norm_epsilon);
}

void TinyModel::rotate(double* head, size_t position, bool windowed) const {
  const RopeStyle style = o_.architecture == "llama" ? RopeStyle::interleaved : o_.architecture == "opt" ? RopeStyle::none : RopeStyle::neox;
  if (!o_.rope_factors) return oracle::rope(style, head, spec.rope_width, (double)position, windowed ? spec.window_rope.base : spec.rope.base);
  for (uint32_t i = 0; i < spec.rope_width / 2; i++) {  // llama 3: each frequency has a divisor
    const double angle = (double)position * std::pow((double)spec.rope.base, -2.0 * i / spec.rope_width) / vector("rope_freqs.weight")[i];
    const double a = head[2 * i], b = head[2 * i + 1];
    head[2 * i] = a * std::cos(angle) - b * std::sin(angle);
    head[2 * i + 1] = a * std::sin(angle) + b * std::cos(angle);
  }
}

std::vector<std::vector<double>> TinyModel::forward(const std::vector<int32_t>& tokens) const {
  using Vector = std::vector<double>;
  const uint32_t hw = o_.head_width;
  std::vector<Vector> xs;
  for (size_t t = 0; t < tokens.size(); t++) {
    Vector x = tensors_.at("token_embd.weight").rows[(size_t)tokens[t]];
    if (o_.architecture == "gemma3")
      for (double& v : x) v *= std::sqrt((double)o_.width);
    if (o_.architecture == "opt")
      for (uint32_t i = 0; i < o_.width; i++) x[i] += tensors_.at("position_embd.weight").rows[t + 2][i];
    xs.push_back(std::move(x));
  }
  for (uint32_t l = 0; l < o_.layers; l++) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    const bool windowed = o_.window && o_.window_pattern && (l + 1) % o_.window_pattern != 0;
    std::vector<std::vector<Vector>> keys(o_.kv_heads), values(o_.kv_heads);  // [kv head][position][hw], rounded to f16 as the cache is
    for (size_t t = 0; t < xs.size(); t++) {
      const Vector in = norm(blk + "attn_norm", xs[t]);
      Vector q = multiply(blk + "attn_q", in), k = multiply(blk + "attn_k", in), v = multiply(blk + "attn_v", in);
      const auto heads = [&](Vector& all, uint32_t count, const std::string& name) {
        for (uint32_t h = 0; h < count; h++) {
          Vector one(all.begin() + h * hw, all.begin() + (h + 1) * hw);
          if (has(name + ".weight")) one = norm(name, one);
          rotate(one.data(), t, windowed);
          std::copy(one.begin(), one.end(), all.begin() + h * hw);
        }
      };
      heads(q, o_.heads, blk + "attn_q_norm");
      heads(k, o_.kv_heads, blk + "attn_k_norm");
      for (double& x : k) x = oracle::from_half(oracle::to_half(x));
      for (double& x : v) x = oracle::from_half(oracle::to_half(x));
      for (uint32_t h = 0; h < o_.kv_heads; h++) {
        keys[h].emplace_back(k.begin() + h * hw, k.begin() + (h + 1) * hw);
        values[h].emplace_back(v.begin() + h * hw, v.begin() + (h + 1) * hw);
      }
      Vector joined;
      const size_t from = windowed && t + 1 > o_.window ? t + 1 - o_.window : 0;
      for (uint32_t h = 0; h < o_.heads; h++) {
        Vector query(q.begin() + h * hw, q.begin() + (h + 1) * hw);
        for (double& x : query) x /= std::sqrt((double)hw);
        const uint32_t kv = h / (o_.heads / o_.kv_heads);
        const Vector out = oracle::attend(query, keys[kv], values[kv], t + 1, from);
        joined.insert(joined.end(), out.begin(), out.end());
      }
      Vector branch = multiply(blk + "attn_output", joined);
      if (has(blk + "post_attention_norm.weight")) branch = norm(blk + "post_attention_norm", branch);
      for (uint32_t i = 0; i < o_.width; i++) xs[t][i] += branch[i];
      const Vector mlp = norm(blk + "ffn_norm", xs[t]);
      Vector up = multiply(blk + "ffn_up", mlp);
      const bool gated = has(blk + "ffn_gate.weight");
      const Vector gate = gated ? multiply(blk + "ffn_gate", mlp) : Vector();
      for (uint32_t i = 0; i < o_.ffn_width; i++) up[i] = gated ? oracle::activation(o_.activation, gate[i]) * (o_.activation == Activation::drelu ? std::max(up[i], 0.0) : up[i]) : oracle::activation(o_.activation, up[i]);
      Vector down(o_.width, 0.0);
      if (o_.down_by_neuron) {
        const auto& by_neuron = tensors_.at(blk + "ffn_down_t.weight").rows;
        for (uint32_t n = 0; n < o_.ffn_width; n++)
          for (uint32_t i = 0; i < o_.width; i++) down[i] += by_neuron[n][i] * up[n];
      } else if (o_.activation == Activation::relu || o_.activation == Activation::drelu || o_.by_neuron) {
        down = multiply_by_neuron(blk + "ffn_down", up);
      } else {
        down = multiply(blk + "ffn_down", up);
      }
      if (has(blk + "post_ffw_norm.weight")) down = norm(blk + "post_ffw_norm", down);
      for (uint32_t i = 0; i < o_.width; i++) xs[t][i] += down[i];
    }
  }
  std::vector<Vector> logits;
  for (const Vector& x : xs) logits.push_back(multiply(o_.tied ? "token_embd" : "output", norm("output_norm", x)));
  return logits;
}

}  // namespace hunch
