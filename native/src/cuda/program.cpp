#include "program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

namespace hunch::cuda {

namespace {

constexpr float kLog2E = 1.44269504f;
constexpr uint32_t kLeastSlot = 2048;  // holds 32 pieces of any format
constexpr uint32_t kOnWay = 32 << 10;  // bytes of a block that keep an H100's memory busy; more of them only make everything else wait

// Rows [begin, begin + rows) of a matrix that has no pairs.
Matrix rows_of(Matrix m, uint32_t begin, uint32_t rows) {
  m.data += (size_t)begin * m.stride;
  m.rows = rows;
  return m;
}

uint32_t row_bytes(const Matrix& m) { return (m.pieces * piece_bytes(m.format) + 15) / 16 * 16; }

// How rows go through a ring with slots of so many bytes, where a block has about `count` of them: what ends first, in cycles of one warp, as the compiled code has
// them: a tile 350, four pieces' products at once 200. Asking takes 150 cycles a tile and, where it has more than one, 100 a copy.
Tiles tiles_for(const Matrix& m, uint32_t count, uint32_t slot) {
  if (!m.data) return {};
  const uint32_t row = row_bytes(m), chunks = (m.pieces + 31) / 32;
  const uint32_t run = m.pair == 0 ? (m.stride == row ? 0u : 1u) : m.pair == row && m.stride == 2 * row ? 0u : m.pair == row ? 2u : 1u;
  count = std::max(1u, count);
  Tiles best{};
  uint64_t least = UINT64_MAX;
  for (uint32_t rows = 1; rows <= 8; rows *= 2)
    for (uint32_t parts = 1; parts <= chunks; parts++) {
      const uint32_t per = (chunks + parts - 1) / parts, piece = std::min(per * 32, m.pieces), bytes = (piece * piece_bytes(m.format) + 15) / 16 * 16;
      if ((chunks + per - 1) / per != parts || bytes * rows > slot) continue;
      const uint64_t copies = parts > 1 ? rows * (side_bytes(m.format) ? 2 : 1) : run == 0 ? 1 : run == 2 ? (rows + 1) / 2 : rows;
      const uint64_t tiles = (uint64_t)(count + rows - 1) / rows * parts, rounds = (tiles + kWarps - 1) / kWarps;
      const uint64_t together = rows > 2 ? 1 : rows == 2 ? 2 : 4, steps = per / together + per % together;  // chunks at once
      const uint64_t computing = rounds * (350 + (rows + 3) / 4 * steps * 200), asking = tiles * (150 + (copies > 1 ? copies * 100 : 0)), cost = std::max(computing, asking) + asking / 8;
      if (cost < least) least = cost, best = {rows, parts, per * 32, row, run, std::max(2u, kSums / kLanes / parts / std::max(2u, rows) * std::max(2u, rows))};
    }
  return best;
}
// The slot size that the model's bytes fill best, of rings with so many bytes.
uint32_t slot_for(const DeviceModel& m, uint32_t room) {
  std::map<uint32_t, double> bytes;  // of a token, by row
  const auto add = [&](const Matrix& x) {
    if (x.data) bytes[row_bytes(x)] += (double)row_bytes(x) * x.rows;
  };
  for (const DeviceLayer& l : m.layers) {
    for (const Matrix& x : l.qkv) add(x);
    add(l.o), add(l.gate_up), add(l.down), add(l.first), add(l.down_rows);
  }
  add(m.output);
  uint32_t best = 0;
  double most = 0;
  for (uint32_t slots = std::min(12u, room / kLeastSlot); slots <= kMaxSlots; slots++) {
    const uint32_t slot = room / slots / 128 * 128;
    if (slot < kLeastSlot) break;
    double full = 0;
    for (const auto& [row, n] : bytes) {
      double used = 0;
      for (uint32_t rows = 1; rows <= 4; rows *= 2)
        if (row * rows <= slot) used = (double)row * rows / slot;
      if (row > slot) used = 0.75 * (double)row / ((row + slot - 1) / slot) / slot;  // parts cost more to ask for
      full += n * used;
    }
    if (full > most * 1.02) most = full, best = slot;
  }
  return best;
}
// Rows that a list chooses: `most` at once.
Tiles chosen_tiles(const Matrix& m, uint32_t most, uint32_t slot) {
  if (!m.data) return {};
  const uint32_t row = row_bytes(m);
  Tiles t = tiles_for(m, most * kWarps, slot);
  if (row * most <= slot) t = {most, 1, (m.pieces + 31) / 32 * 32, row, t.run, kSums / kLanes};
  else if (t.rows > most) t = tiles_for(m, 1, slot), t.rows = 1;
  if (t.run == 0) t.run = 1;
  return t;
}
// The layer before the GPU's first is the CPU's, and with it that layer's MLP input.
bool knows(const DeviceModel& m, uint32_t i, const DevicePredictor& p) { return p.source != PredictorSource::previous || i != m.placement.cpu_layers || i == 0; }

class Builder {
 public:
  Builder(const DeviceModel& model, const SessionBuffers& buffers, const Token& layout, const Plan* plan)
      : m_(model), s_(model.spec), b_(buffers), plan_(plan), slot_(layout.slot_bytes), blocks_(model.memory.device().blocks) {}

  std::vector<Stage> build() {
    if (m_.placement.cpu_layers) {  // the CPU has run these
      Stage begin{};
      begin.host = {nullptr, 0, 0, ++turn_, b_.x[at_]};
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
    return p && p->head_threshold && whole_pieces && row_bytes(m_.layers[i].o) <= slot_ && i < m_.heads.size() && m_.heads[i].present && knows(m_, i, m_.heads[i]) ? &m_.heads[i] : nullptr;
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
    if (!branch_) return s;
    s.branch = branch_, s.branch_norm = branch_norm_;
    at_ ^= 1;
    s.x_out = b_.x[at_];
    branch_ = nullptr, branch_norm_ = {};
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
    g = {m, tiles_for(m, m.rows / blocks_, slot_), bias, out, e, 0};
    return g;
  }
  void by_heads(Segment& g) { g.by_heads = 1, g.tiles = chosen_tiles(g.matrix, g.tiles.rows, slot_); }
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
    const bool plain = s.source != Source::none && s.segments && !s.scores.matrix.data && s.choose_heads != 2 && !s.neurons && !s.sum_partials && !s.host.answer && !s.finish && !s.logits;
    s.kind = s.attention ? Kind::attention : plain ? Kind::plain : Kind::other;
    if (s.source == Source::residual && !s.branch && !s.norm.bias && s.n <= kHeld * 4 * kThreads) s.way = Way::normed;
    if (s.source == Source::vector && !s.relu && !s.norm.weight) s.way = Way::plain;
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
      // Before the barrier where another one lies between: the MLP before takes two stages.
      const bool known = hp->source == PredictorSource::previous && i > 0 && route(i - 1) == MlpRoute::dense && m_.layers[i - 1].down.data;
      a.choose_heads = known ? 2 : 1;
      a.heads = {hp->head_b, hp->bias, b_.head_hidden[i & 1], b_.thresholds + 3 * i + 2, hp->rank, hp->relu};
      a.kept_heads = 1;
      a.heads_counted = b_.counted + s_.layers + i;
    }
    // Queries whose heads are chosen come last: their rows are known last.
    if (l.attention_parts == 1 && !hp) {
      add(a, l.qkv[0], l.qkv_bias, b_.qkv, Epilogue::store);
    } else if (l.attention_parts == 1) {
      add(a, rows_of(l.qkv[0], q_rows, 2 * kv_rows), l.qkv_bias ? l.qkv_bias + q_rows : nullptr, b_.qkv + q_rows, Epilogue::store);
    } else {
      const uint32_t from[3] = {0, q_rows, q_rows + kv_rows};
      for (uint32_t k = hp ? 1 : 0; k < 3; k++) add(a, l.qkv[k], l.qkv_bias ? l.qkv_bias + from[k] : nullptr, b_.qkv + from[k], Epilogue::store);
    }
    if (p && p->source == PredictorSource::attention) add(a, p->a, nullptr, b_.mlp_hidden[i & 1], Epilogue::store);
    if (hp) by_heads(add(a, rows_of(l.qkv[0], 0, q_rows), l.qkv_bias, b_.qkv, Epilogue::store));
    push(a);

    const bool names = p && p->source != PredictorSource::same;
    Stage t{};
    t.attention = 1;
    t.most_splits = b_.max_splits;
    t.qkv = b_.qkv;
    if (names && m_.split(i)) post(t, b_.mlp_hidden[i & 1], p->rank, 0);
    const size_t cache = (size_t)(i - m_.placement.cpu_layers) * s_.kv_heads * b_.context * hw;
    t.keys = b_.keys + cache, t.values = b_.values + cache;
    t.q_norm = l.q_norm, t.k_norm = l.k_norm;
    if (m_.traits.rope != RopeStyle::none) t.cosine = l.windowed ? b_.window_cosine : b_.cosine, t.sine = l.windowed ? b_.window_sine : b_.sine;
    t.rope_width = s_.rope_width, t.neox = m_.traits.rope == RopeStyle::neox;
    t.window = l.windowed ? s_.window : 0;
    t.query_scale = query_scale(s_);
    t.kept_heads = hp != nullptr;
    push(t);

    Stage o{};
    o.source = Source::attention, o.n = q_rows, o.window = t.window, o.most_splits = t.most_splits;
    o.kept_heads = hp != nullptr;
    // What a predictor said two stages ago becomes the blocks' lists while they wait for attention.
    if (names && l.hot > 0) {
      o.scores = scores(i, *p, true);
      o.thresholds = b_.thresholds + 3 * i;
    }
    into_residual(o, l.o, l.o_bias, l.post_attention_norm);
    if (hp) o.segment[0].tiles = chosen_tiles(l.o, 1, slot_);
    push(o);

    mlp(i, l, p);
  }

  Scores scores(uint32_t i, const DevicePredictor& p, bool early) const {
    return {p.b, tiles_for(p.b, p.b.rows / blocks_, slot_), p.bias, b_.mlp_hidden[i & 1], p.rank, p.relu, early};
  }
  // First factors of the next layer's predictors, which read this MLP's input.
  void look_ahead(Stage& s, uint32_t next) {
    if (const DevicePredictor* p = mlp_predictor(next); p && p->source == PredictorSource::previous) add(s, p->a, nullptr, b_.mlp_hidden[next & 1], Epilogue::store);
    if (const DevicePredictor* p = head_predictor(next); p && p->source == PredictorSource::previous) add(s, p->a, nullptr, b_.head_hidden[next & 1], Epilogue::store);
  }
  void neurons(Stage& s, uint32_t i, const DeviceLayer& l, uint32_t kind) {
    s.neurons = kind;
    s.first = l.first, s.up = l.up, s.down = l.down_rows;
    s.first_tiles = chosen_tiles(l.first, (l.first.pair ? 2 : 1) * (kind == 2 && row_bytes(l.first) * (l.first.pair ? 4 : 2) <= slot_ ? 2 : 1), slot_), s.up_tiles = chosen_tiles(l.up, 1, slot_), s.down_tiles = chosen_tiles(l.down_rows, kDownRows, slot_);
    s.down_tiles.pass = UINT32_MAX;  // they leave no sums
    s.up_bias = l.up_bias;
    s.thresholds = b_.thresholds + 3 * i;
    s.partials = b_.partials;
    s.neurons_counted = b_.counted + i;
    if (m_.split(i)) s.host.answer = b_.partials + (size_t)blocks_ * s_.width, s.host.turn = turn_;
  }
  // The neurons' stage is complete: the sum of its parts follows, of which the CPU's is the last.
  void push_neurons(Stage& s, uint32_t i, const DeviceLayer& l) {
    push(s);
    Stage sum{};
    sum.sum_partials = blocks_ + (m_.split(i) ? 1 : 0), sum.partials = b_.partials, sum.down_bias = l.down_bias;
    const bool apart = l.post_ffn_norm.weight;
    sum.x_out = apart ? b_.branch : b_.x[at_], sum.into_residual = !apart;
    push(sum);
    if (apart) branch_ = b_.branch, branch_norm_ = l.post_ffn_norm;
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
      push_neurons(d, i, l);
      return;
    }
    if (r == MlpRoute::predicted && p->source != PredictorSource::same) {
      Stage d = residual(l.ffn_norm);
      if (m_.split(i)) post(d, input, s_.width, 1);
      look_ahead(d, i + 1);
      neurons(d, i, l, 3);
      push_neurons(d, i, l);
      return;
    }
    Stage d = residual(l.ffn_norm);
    if (m_.split(i)) post(d, input, s_.width, 1);
    if (r == MlpRoute::exact) {
      look_ahead(d, i + 1);
      Matrix gates = l.first;
      if (gates.pair) gates.pair = 0, gates.rows /= 2;
      add(d, gates, nullptr, nullptr, Epilogue::select);
      neurons(d, i, l, 1);
      push_neurons(d, i, l);
      return;
    }
    add(d, p->a, nullptr, b_.mlp_hidden[i & 1], Epilogue::store);
    look_ahead(d, i + 1);
    push(d);
    Stage e = residual(l.ffn_norm);
    e.scores = scores(i, *p, false);
    neurons(e, i, l, 3);
    push_neurons(e, i, l);
  }

  const DeviceModel& m_;
  const ModelSpec& s_;
  const SessionBuffers& b_;
  const Plan* plan_;
  const uint32_t slot_, blocks_;
  std::vector<Stage> stages_;
  uint32_t at_ = 0, turn_ = 0;
  bool started_ = false;
  const float* branch_ = nullptr;
  cuda::Norm branch_norm_{};
};

}  // namespace

MlpRoute mlp_route(const DeviceModel& m, const Plan* plan, uint32_t i) {
  const LayerPlan* p = plan && i < plan->layers.size() ? &plan->layers[i] : nullptr;
  if (!p || p->mlp == MlpRoute::dense || !m.layers[i].by_neuron) return MlpRoute::dense;
  if (p->mlp == MlpRoute::predicted && i < m.mlp.size() && m.mlp[i].present && knows(m, i, m.mlp[i])) return MlpRoute::predicted;
  return MlpRoute::exact;  // screened too: a low-bit copy of the gate only says which gates to read, and here all are
}

std::vector<Stage> build_program(const DeviceModel& model, const SessionBuffers& b, const Token& layout, const Plan* plan) { return Builder(model, b, layout, plan).build(); }

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

float query_scale(const ModelSpec& s) { return (s.attention_scale > 0 ? s.attention_scale : 1.0f / std::sqrt((float)s.head_width)) * kLog2E; }

Status lay_out(const DeviceModel& model, Token& t) {
  const ModelSpec& s = model.spec;
  uint32_t floats = std::max({s.width, s.heads * s.head_width, 4096u}), quantised = 4096;  // 4096: the rank of a predictor
  const auto count = [&](const Matrix& m) {
    if (m.data && !is_float(m.format)) quantised = std::max(quantised, m.cols);
  };
  for (const DeviceLayer& l : model.layers) {
    for (const Matrix& m : l.qkv) count(m);
    count(l.o), count(l.gate_up), count(l.down), count(l.first);
    if (l.down.data && is_float(l.down.format)) floats = std::max(floats, s.ffn_width);
  }
  count(model.output);
  const auto up = [](uint32_t n, uint32_t to) { return (n + to - 1) / to * to; };
  t.max_float = up(floats, 256), t.max_quantised = up(quantised, 1024);
  t.at_float = 0;
  t.at_quants = t.max_float * 4;
  t.at_scales = t.at_quants + t.max_quantised;
  const uint32_t group = s.heads / s.kv_heads;
  t.group = group;
  t.width_log = std::countr_zero(power_above((s.head_width + 7) / 8));
  const uint32_t attention = up((group + 1) * s.head_width * 4 + 4 * kMaxHeadWidth, 16) + kWarps * (group == 1 ? 1 : 4) * (s.head_width + 8) * 4;
  t.at_ring = up(std::max(t.at_scales + t.max_quantised / 32 * 8, attention), 128);  // attention has no vector
  const Device& device = model.memory.device();
  const bool by_neuron = std::any_of(model.layers.begin(), model.layers.end(), [](const DeviceLayer& l) { return l.by_neuron; });
  if (by_neuron && ((s.ffn_width + device.blocks - 1) / device.blocks > kOwn || s.width > kMaxWidth))
    return Status::error("model-unsupported", "The model " + s.path + " has more neurons a layer than this GPU's multiprocessors can choose from. Run it on the CPU.");
  const uint32_t room = device.shared_limit > t.at_ring ? device.shared_limit - t.at_ring : 0;
  if (room < kWarps * kLeastSlot)
    return Status::error("model-unsupported", "The model " + s.path + " is too wide for this GPU: a block would need " + std::to_string((t.at_ring + kWarps * kLeastSlot) >> 10) + " KB of shared memory, it has " +
                                                  std::to_string(device.shared_limit >> 10) + ". Choose a quantised version, or run on the CPU.");
  t.slot_bytes = slot_for(model, room);
  t.slots = std::min(kMaxSlots, room / t.slot_bytes);
  t.shared_bytes = t.at_ring + t.slots * t.slot_bytes;
  t.on_way = kOnWay;
  return Status::fine();
}

}  // namespace hunch::cuda
