// A calibration on disk.
#include <algorithm>
#include <new>

#include "calibration.h"

namespace hunch {

static void save_sum(StateWriter& to, const GramSum& g) {
  to.value(g.tokens);
  to.vector(g.sum);
  to.vector(g.shift);
  to.vector(g.gram);
}
// Into a sum of the right shape.
static bool restore_sum(StateReader& from, GramSum& g) {
  return from.value(g.tokens) && from.vector(g.sum, g.sum.size()) && from.vector(g.shift, g.shift.size()) && from.vector(g.gram, g.gram.size());
}

static void save_predictors(StateWriter& to, const std::vector<std::optional<LowRankPredictor>>& list) {
  to.value((uint64_t)list.size());
  for (const auto& p : list) {
    to.value((uint8_t)p.has_value());
    if (!p) continue;
    to.value(p->source);
    to.value(p->rank);
    to.value((uint8_t)p->relu);
    to.vector(p->a);
    to.vector(p->b);
    to.vector(p->bias);
  }
}
static bool restore_predictors(StateReader& from, const ModelSpec& m, uint32_t rows, std::vector<std::optional<LowRankPredictor>>& list) {
  uint64_t count = 0;
  if (!from.value(count) || (count != 0 && count != m.layers)) return false;
  list.resize((size_t)count);
  for (size_t i = 0; i < list.size(); i++) {
    uint8_t present = 0, relu = 0;
    if (!from.value(present)) return false;
    if (!present) continue;
    LowRankPredictor& p = list[i].emplace();
    if (!from.value(p.source) || !from.value(p.rank) || !from.value(relu) || !from.vector(p.a) || !from.vector(p.b) || !from.vector(p.bias)) return false;
    p.relu = relu;
    if (p.source > PredictorSource::same || (i == 0 && p.source == PredictorSource::previous) || !check_predictor(p, m.width, rows, "").ok()) return false;
  }
  return true;
}

// What tells whether fine-tuning may go on.
static void save_options(StateWriter& to, const FitOptions& o) {
  to.value((uint8_t)o.source);
  to.value(o.rank);
  to.value((uint8_t)o.relu);
  to.value(o.dropped_mass);
}
static bool restore_options(StateReader& from, FitOptions& o) {
  uint8_t source = 0, relu = 0;
  if (!from.value(source) || !from.value(o.rank) || !from.value(relu) || !from.value(o.dropped_mass) || source > (uint8_t)PredictorSource::same) return false;
  o.source = (PredictorSource)source;
  o.relu = relu;
  return true;
}

void CalibrationState::save(StateWriter& to) const {
  to.vector(sources);
  to.value((uint8_t)heads);
  to.value(tokens);
  to.value(runs);
  for (const LayerSums& l : layers) {
    save_sum(to, l.mlp);
    save_sum(to, l.attention);
    for (const auto* v : {&l.by_previous, &l.by_attention, &l.heads_by_input}) to.vector(*v);
    for (const auto* v : {&l.gate, &l.gate_square, &l.mass, &l.head, &l.head_square}) to.vector(*v);
    for (const auto* v : {&l.active, &l.count, &l.head_count}) to.vector(*v);
  }
  samples.save(to);
  held_out.save(to);
  save_options(to, fit);
  to.value(fit_tokens);
  to.vector(gates);
  save_predictors(to, fitted.mlp);
  save_predictors(to, fitted.heads);
  to.value((uint64_t)tuners.size());
  for (const FineTuner& t : tuners) t.save(to);
}

bool CalibrationState::restore(StateReader& from, const ModelSpec& m) {
  uint8_t with_heads = 0;
  if (!from.vector(sources) || sources.empty() || !from.value(with_heads) || !from.value(tokens) || !from.value(runs)) return false;
  for (PredictorSource s : sources)
    if (s > PredictorSource::same) return false;
  shape(m, {.sources = sources, .heads = with_heads != 0});
  for (LayerSums& l : layers) {
    if (!restore_sum(from, l.mlp) || !restore_sum(from, l.attention)) return false;
    for (auto* v : {&l.by_previous, &l.by_attention, &l.heads_by_input})
      if (!from.vector(*v, v->size())) return false;
    for (auto* v : {&l.gate, &l.gate_square, &l.mass, &l.head, &l.head_square})
      if (!from.vector(*v, v->size())) return false;
    for (auto* v : {&l.active, &l.count, &l.head_count})
      if (!from.vector(*v, v->size())) return false;
  }
  const SampleShape shape{m.layers, m.width, m.ffn_width, m.heads};
  uint64_t count = 0;
  if (!samples.restore(from, shape) || !held_out.restore(from, shape) || !restore_options(from, fit) || !from.value(fit_tokens) || !from.vector(gates) ||
      (!gates.empty() && gates.size() != m.layers) || !restore_predictors(from, m, m.ffn_width, fitted.mlp) ||
      !restore_predictors(from, m, m.heads, fitted.heads) || !from.value(count) || (count != 0 && (count != m.layers || gates.empty() || !reads(fit.source))))
    return false;
  tuners.resize((size_t)count);
  for (FineTuner& t : tuners)
    if (!t.restore(from, m.width, m.ffn_width)) return false;
  return true;
}

Status Calibration::save(const std::string& path) const try {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  StateWriter to;
  if (Status s = to.open(path); !s.ok()) return s;
  to.value(c.fingerprint());
  c.state.save(to);
  return to.commit();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "Not enough memory to save the calibration. Close other programs.");
}

Status Calibration::restore(const std::string& path) try {
  Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  StateReader from;
  if (Status s = from.open(path); !s.ok()) return s;
  uint64_t model = 0;
  if (!from.value(model) || model != c.fingerprint()) return Status::error("bad-request", path + " was saved for another model.");
  CalibrationState state;
  if (!state.restore(from, c.spec()) || !from.finish()) return Status::error("bad-request", path + " is damaged. Calibrate again.");
  c.state = std::move(state);
  return Status::fine();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "Not enough memory to restore the calibration. Close other programs.");
}

}  // namespace hunch
