#include "program.h"

#include <algorithm>
#include <cmath>

namespace hunch::cuda {

namespace {

constexpr float kLog2E = 1.44269504f;

// Rows [begin, begin + rows) of a matrix that has no pairs.
Matrix rows_of(Matrix m, uint32_t begin, uint32_t rows) {
  m.data += (size_t)begin * m.stride;
  m.rows = rows;
  return m;
}

// The layer before the GPU's first is the CPU's, and with it that layer's MLP input.
bool knows(const DeviceModel& m, uint32_t i, const DevicePredictor& p) { return p.source != PredictorSource::previous || i != m.placement.cpu_layers || i == 0; }

class Builder {
 public:
  Builder(const DeviceModel& model, const SessionBuffers& buffers, const Plan* plan) : m_(model), s_(model.spec), b_(buffers), plan_(plan) {}

  std::vector<Stage> build() {
    if (m_.placement.cpu_layers) {  // the CPU has run these
      Stage begin{};
      begin.host = {nullptr, 0, 0, Join::vector, ++turn_, nullptr, b_.x[at_]};
      push(begin);
      started_ = true;
    }
    for (uint32_t i = m_.placement.cpu_layers; i < s_.layers; i++) layer(i);
    Stage head = residual(m_.output_norm);
    add(head, m_.output, nullptr, b_.logits, Epilogue::logits);
    head.logits = 1;
    push(head);
    Stage end{};
    end.finish = 1;
    push(end);
    return std::move(stages_);
  }

 private:
  const LayerPlan* plan_of(uint32_t i) const { return plan_ && i < plan_->layers.size() ? &plan_->layers[i] : nullptr; }
  MlpRoute route(uint32_t i) const { return mlp_route(m_, plan_, i); }
  const DevicePredictor* mlp_predictor(uint32_t i) const { return i < s_.layers && route(i) == MlpRoute::predicted ? &m_.mlp[i] : nullptr; }
  const DevicePredictor* head_predictor(uint32_t i) const {
    const LayerPlan* p = i < s_.layers ? plan_of(i) : nullptr;
    const bool whole_pieces = i < s_.layers && s_.head_width % piece_columns(m_.layers[i].o.format) == 0;
    return p && p->head_threshold && whole_pieces && i < m_.heads.size() && m_.heads[i].present && knows(m_, i, m_.heads[i]) ? &m_.heads[i] : nullptr;
  }

  // A stage that multiplies the normalised residual stream, to which a branch that is still apart is added.
  Stage residual(const cuda::Norm& norm) {
    Stage s{};
    s.n = s_.width;
    s.norm = norm;
    s.source = started_ ? Source::residual : Source::embedding;
    s.act = (Act)s_.activation;
    s.gated = m_.traits.gated;
    if (!started_) {
      s.embedding = m_.embedding, s.positions = m_.positions;
      s.scale = m_.traits.embedding_scale, s.position_offset = m_.traits.position_offset;
      s.x_out = b_.x[at_];
      started_ = true;
      return s;
    }
    s.x = b_.x[at_];
    if (!branch_ && !fixed_) return s;
    s.branch = branch_, s.branch_fixed = fixed_, s.branch_norm = branch_norm_;
    at_ ^= 1;
    s.x_out = b_.x[at_];
    branch_ = nullptr, fixed_ = nullptr, branch_norm_ = {};
    return s;
  }
  Stage vector(const float* x, uint32_t n, bool relu = false) {
    Stage s{};
    s.source = Source::vector, s.x = x, s.n = n, s.relu = relu;
    s.act = (Act)s_.activation;
    s.gated = m_.traits.gated;
    return s;
  }
  Segment& add(Stage& s, const Matrix& m, const float* bias, float* out, Epilogue e) {
    Segment& g = s.segment[s.segments++];
    g = {m, bias, out, e, 0};
    return g;
  }
  // x += W · vector, or to a branch of its own where a norm comes between.
  void into_residual(Stage& s, const Matrix& m, const float* bias, const cuda::Norm& norm) {
    add(s, m, bias, norm.weight ? b_.branch : b_.x[at_], norm.weight ? Epilogue::store : Epilogue::add);
    if (norm.weight) branch_ = b_.branch, branch_norm_ = norm;
  }
  void push(Stage& s) {
    const auto want = [&](const Matrix& m) {
      if (m.data) (is_float(m.format) ? s.want_float : s.want_quantised) = 1;
    };
    for (uint32_t i = 0; i < s.segments; i++) want(s.segment[i].matrix);
    if (s.neurons) want(s.first);
    const bool branched = s.branch || s.branch_fixed;
    if (s.source == Source::residual && !s.branch && (!s.branch_fixed || !s.branch_norm.weight) && !s.norm.bias && s.n <= kHeld * 4 * kThreads && !s.choose_heads) s.way = Way::normed;
    if (s.source == Source::vector && !s.relu && !branched && !s.norm.weight) s.way = Way::plain;
    if (s.source == Source::attention && !s.kept_heads) s.way = Way::joined;
    stages_.push_back(s);
  }

  // What the CPU needs for its neurons of the layer whose MLP comes next.
  void post(Stage& s, const float* x, uint32_t n, uint32_t as) { s.host.post = x, s.host.post_n = n, s.host.post_as = as, s.host.turn = turn_; }

  void layer(uint32_t i) {
    const DeviceLayer& l = m_.layers[i];
    if (m_.split(i)) turn_++;
    const uint32_t hw = s_.head_width, q_rows = s_.heads * hw, kv_rows = s_.kv_heads * hw;
    const DevicePredictor *p = mlp_predictor(i), *hp = head_predictor(i);

    if (hp && hp->source == PredictorSource::attention) {  // must be known before the queries are
      Stage early = residual(l.attention_norm);
      add(early, hp->a, nullptr, b_.head_hidden[i & 1], Epilogue::store);
      push(early);
    }
    Stage a = residual(l.attention_norm);
    if (hp) {
      a.choose_heads = 1;
      a.heads = {hp->head_b, hp->bias, b_.head_hidden[i & 1], b_.thresholds + 3 * i + 2, hp->rank, hp->relu};
      a.kept_heads = b_.kept;
      a.heads_counted = b_.counted + s_.layers + i;
    }
    if (l.attention_parts == 1 && !hp) {
      add(a, l.qkv[0], l.qkv_bias, b_.qkv, Epilogue::store);
    } else if (l.attention_parts == 1) {
      add(a, rows_of(l.qkv[0], 0, q_rows), l.qkv_bias, b_.qkv, Epilogue::store).by_heads = 1;
      add(a, rows_of(l.qkv[0], q_rows, 2 * kv_rows), l.qkv_bias ? l.qkv_bias + q_rows : nullptr, b_.qkv + q_rows, Epilogue::store);
    } else {
      const uint32_t from[3] = {0, q_rows, q_rows + kv_rows};
      for (uint32_t k = 0; k < 3; k++) add(a, l.qkv[k], l.qkv_bias ? l.qkv_bias + from[k] : nullptr, b_.qkv + from[k], Epilogue::store).by_heads = hp && k == 0;
    }
    if (p && p->source == PredictorSource::attention) add(a, p->a, nullptr, b_.mlp_hidden[i & 1], Epilogue::store);
    push(a);

    const bool names = p && p->source != PredictorSource::same, early = names && l.hot > 0;
    Stage t = early ? vector(b_.mlp_hidden[i & 1], p->rank, p->relu) : Stage{};
    t.attention = 1;
    t.most_splits = early ? std::max(1u, b_.max_splits / 2) : b_.max_splits;  // half of the blocks score neurons meanwhile
    t.qkv = b_.qkv;
    if (names && m_.split(i)) post(t, b_.mlp_hidden[i & 1], p->rank, 0);
    const size_t cache = (size_t)(i - m_.placement.cpu_layers) * s_.kv_heads * b_.context * hw;
    t.keys = b_.keys + cache, t.values = b_.values + cache;
    t.q_norm = l.q_norm, t.k_norm = l.k_norm;
    if (m_.traits.rope != RopeStyle::none) t.cosine = l.windowed ? b_.window_cosine : b_.cosine, t.sine = l.windowed ? b_.window_sine : b_.sine;
    t.rope_width = s_.rope_width, t.neox = m_.traits.rope == RopeStyle::neox;
    t.window = l.windowed ? s_.window : 0;
    t.query_scale = (s_.attention_scale > 0 ? s_.attention_scale : 1.0f / std::sqrt((float)hw)) * kLog2E;
    if (hp) t.kept_heads = b_.kept;
    t.clear = b_.fixed, t.clear_n = s_.width;
    if (early) {
      t.behind_attention = 1;
      t.lists = b_.lists, t.thresholds = b_.thresholds + 3 * i;
      add(t, p->b, p->bias, nullptr, Epilogue::score);
    }
    // The weights of the MLP, as far as half of the cache holds them; the ring takes the output projection by itself.
    const Matrix& next = route(i) == MlpRoute::dense && l.down.data ? l.gate_up : l.first;
    if (route(i) == MlpRoute::dense) {
      t.ahead = next.data;
      t.ahead_rows = next.pair ? next.rows / 2 : next.rows, t.ahead_stride = next.stride;
      t.ahead_bytes = m_.memory.device().l2_bytes / 3;
    }
    push(t);

    Stage o{};
    o.source = Source::attention, o.n = q_rows, o.window = t.window, o.most_splits = t.most_splits;
    if (hp) o.kept_heads = b_.kept;
    into_residual(o, l.o, l.o_bias, l.post_attention_norm);
    push(o);

    mlp(i, l, p);
  }

  // First factors of the next layer's predictors, which read this MLP's input.
  void look_ahead(Stage& s, uint32_t next) {
    if (const DevicePredictor* p = mlp_predictor(next); p && p->source == PredictorSource::previous) add(s, p->a, nullptr, b_.mlp_hidden[next & 1], Epilogue::store);
    if (const DevicePredictor* p = head_predictor(next); p && p->source == PredictorSource::previous) add(s, p->a, nullptr, b_.head_hidden[next & 1], Epilogue::store);
  }
  void neurons(Stage& s, uint32_t i, const DeviceLayer& l, uint32_t kind) {
    s.neurons = kind;
    s.early_list = kind == 2 || (kind == 3 && m_.mlp[i].source != PredictorSource::same);
    s.first = l.first, s.up = l.up, s.down = l.down_rows;
    s.up_bias = l.up_bias, s.down_bias = l.down_bias;
    s.thresholds = b_.thresholds + 3 * i;
    s.lists = b_.lists;
    s.sums = b_.fixed;
    s.neurons_counted = b_.counted + i;
    if (m_.split(i)) s.host.join = Join::sums, s.host.sums = b_.fixed, s.host.turn = turn_;
    fixed_ = b_.fixed, branch_norm_ = l.post_ffn_norm;
  }

  void mlp(uint32_t i, const DeviceLayer& l, const DevicePredictor* p) {
    const MlpRoute r = route(i);
    if (r == MlpRoute::dense && l.down.data) {
      Stage d = residual(l.ffn_norm);
      add(d, l.gate_up, l.up_bias, b_.hidden, m_.traits.gated ? Epilogue::gate : Epilogue::activate);
      look_ahead(d, i + 1);
      push(d);
      Stage e = vector(b_.hidden, s_.ffn_width);
      into_residual(e, l.down, l.down_bias, l.post_ffn_norm);
      push(e);
      return;
    }
    const float* input = b_.x[at_];
    if (r == MlpRoute::dense || l.hot == 0) {
      Stage d = residual(l.ffn_norm);
      if (m_.split(i)) post(d, input, s_.width, 1);
      look_ahead(d, i + 1);
      neurons(d, i, l, 2);
      push(d);
      return;
    }
    if (r == MlpRoute::predicted && p->source != PredictorSource::same) {
      Stage d = residual(l.ffn_norm);
      if (m_.split(i)) post(d, input, s_.width, 1);
      look_ahead(d, i + 1);
      neurons(d, i, l, 3);
      push(d);
      return;
    }
    Stage d = residual(l.ffn_norm);
    if (m_.split(i)) post(d, input, s_.width, 1);
    if (r == MlpRoute::exact) {
      Matrix gates = l.first;
      if (gates.pair) gates.pair = 0, gates.rows /= 2;
      add(d, gates, nullptr, nullptr, Epilogue::select);
      d.lists = b_.lists, d.thresholds = b_.thresholds + 3 * i;
      d.up_bias = l.up_bias;
      look_ahead(d, i + 1);
      push(d);
    } else {
      add(d, p->a, nullptr, b_.mlp_hidden[i & 1], Epilogue::store);
      look_ahead(d, i + 1);
      push(d);
      Stage score = vector(b_.mlp_hidden[i & 1], p->rank, p->relu);
      score.lists = b_.lists, score.thresholds = b_.thresholds + 3 * i;
      add(score, p->b, p->bias, nullptr, Epilogue::score);
      push(score);
    }
    Stage e = residual(l.ffn_norm);
    neurons(e, i, l, r == MlpRoute::exact ? 1 : 3);
    push(e);
  }

  const DeviceModel& m_;
  const ModelSpec& s_;
  const SessionBuffers& b_;
  const Plan* plan_;
  std::vector<Stage> stages_;
  uint32_t at_ = 0, turn_ = 0;
  bool started_ = false;
  const float* branch_ = nullptr;
  const long long* fixed_ = nullptr;
  cuda::Norm branch_norm_{};
};

}  // namespace

MlpRoute mlp_route(const DeviceModel& m, const Plan* plan, uint32_t i) {
  const LayerPlan* p = plan && i < plan->layers.size() ? &plan->layers[i] : nullptr;
  if (!p || p->mlp == MlpRoute::dense || !m.layers[i].by_neuron) return MlpRoute::dense;
  if (p->mlp == MlpRoute::predicted && i < m.mlp.size() && m.mlp[i].present && knows(m, i, m.mlp[i])) return MlpRoute::predicted;
  return MlpRoute::exact;  // screened too: a low-bit copy of the gate only says which gates to read, and here all are
}

std::vector<Stage> build_program(const DeviceModel& model, const SessionBuffers& b, const Plan* plan) { return Builder(model, b, plan).build(); }

std::vector<float> thresholds_of(const DeviceModel& model, const Plan* plan) {
  std::vector<float> out((size_t)model.spec.layers * 3, 0.0f);
  for (uint32_t i = 0; plan && i < model.spec.layers && i < plan->layers.size(); i++) {
    const LayerPlan& p = plan->layers[i];
    out[3 * i] = p.gate_threshold, out[3 * i + 1] = p.score_threshold, out[3 * i + 2] = p.head_threshold.value_or(-INFINITY);
  }
  return out;
}

bool same_routes(const Plan* a, const Plan* b) {
  if (!a || !b) return a == b;
  if (a->layers.size() != b->layers.size()) return false;
  for (size_t i = 0; i < a->layers.size(); i++)
    if (a->layers[i].mlp != b->layers[i].mlp || a->layers[i].head_threshold.has_value() != b->layers[i].head_threshold.has_value()) return false;
  return true;
}

Status lay_out(const DeviceModel& model, Token& t) {
  const ModelSpec& s = model.spec;
  uint32_t widest = std::max({s.width, s.heads * s.head_width, 4096u}), floats = widest;  // 4096: the rank of a predictor
  for (const DeviceLayer& l : model.layers)
    if (l.down.data) {
      widest = std::max(widest, s.ffn_width);
      if (is_float(l.down.format)) floats = std::max(floats, s.ffn_width);
    }
  const auto up = [](uint32_t n, uint32_t to) { return (n + to - 1) / to * to; };
  t.max_float = up(floats, 256), t.max_quantised = up(widest, 1024);
  t.at_float = 0;
  t.at_quants = t.max_float * 4;
  t.at_scales = t.at_quants + t.max_quantised;
  t.at_ring = up(t.at_scales + t.max_quantised / 32 * 8, 128);
  t.at_acc = t.at_ring + kWarps * ring_bytes(model.memory.device().deep_ring);
  const uint32_t group = s.heads / s.kv_heads, at_once = group == 1 ? 1 : 4;
  const uint32_t attention = up((group + 1) * s.head_width * 4, 16) + kWarps * at_once * (s.head_width + 2) * 4;
  t.shared_bytes = std::max(t.at_acc + up(s.width, 4) * 4, attention);
  if (t.shared_bytes > model.memory.device().shared_limit)
    return Status::error("model-unsupported", "The model " + s.path + " is too wide for this GPU: a block would need " + std::to_string(t.shared_bytes >> 10) + " KB of shared memory, it has " +
                                                  std::to_string(model.memory.device().shared_limit >> 10) + ". Choose a quantised version, or run on the CPU.");
  return Status::fine();
}

}  // namespace hunch::cuda
