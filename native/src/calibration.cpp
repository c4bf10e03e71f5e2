#include "calibration.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "background.h"
#include "rows.h"

namespace hunch {

namespace {

constexpr uint64_t kTapBytes = 160ull << 20;  // of one pass, at most
constexpr uint32_t kHeldOutEvery = 10;

Status no_memory() { return Status::error("out-of-memory", "Not enough memory to calibrate. Close other programs, or keep fewer samples."); }

// Quantiles 0, 5 … 100 % from counts by magnitude code.
std::vector<float> quantiles(const std::vector<uint64_t>& count) {
  uint64_t total = 0, below = 0;
  for (uint64_t n : count) total += n;
  std::vector<float> out;
  uint32_t code = 0;
  for (uint32_t i = 0; i <= 20; i++) {
    const uint64_t wanted = std::max<uint64_t>(1, total * i / 20);
    while (code < 255 && below + count[code] < wanted) below += count[code++];
    out.push_back(total ? magnitude_of((uint8_t)code) : 0);
  }
  return out;
}

}  // namespace

uint8_t code_above(float threshold) {
  return threshold > 0 ? magnitude_code(std::nextafter(threshold, INFINITY)) : 1;
}

bool CalibrationState::reads(PredictorSource source) const { return std::find(sources.begin(), sources.end(), source) != sources.end(); }
bool CalibrationState::keeps_attention(uint32_t layer) const {
  return reads(PredictorSource::attention) || (layer == 0 && (heads || reads(PredictorSource::previous)));
}
bool CalibrationState::keeps_mlp(uint32_t layer, uint32_t count) const {
  return reads(PredictorSource::same) || (layer + 1 < count && (heads || reads(PredictorSource::previous)));
}

void CalibrationState::shape(const ModelSpec& m, const CalibrationOptions& options) {
  sources = options.sources;
  heads = options.heads;
  layers.resize(m.layers);
  const size_t square = (size_t)m.width * m.width;
  for (uint32_t i = 0; i < m.layers; i++) {
    LayerSums& l = layers[i];
    l.mlp = GramSum(m.width, keeps_mlp(i, m.layers));
    if (keeps_attention(i)) l.attention = GramSum(m.width);
    if (i > 0 && reads(PredictorSource::previous)) l.by_previous.resize(square);
    if (reads(PredictorSource::attention) || (i == 0 && reads(PredictorSource::previous))) l.by_attention.resize(square);
    l.gate.resize(m.ffn_width);
    l.gate_square.resize(m.ffn_width);
    l.active.resize(m.ffn_width);
    l.count.resize(256);
    l.mass.resize(256);
    if (!heads) continue;
    l.heads_by_input.resize((size_t)m.heads * m.width);
    l.head.resize(m.heads);
    l.head_square.resize(m.heads);
    l.head_count.resize(256);
  }
}

Calibration::Calibration(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Calibration::~Calibration() = default;

Status Engine::new_calibration(const CalibrationOptions& o, std::unique_ptr<Calibration>& out) try {
  const ModelSpec& m = impl_->model.spec;
  if (o.sources.empty()) return Status::error("bad-request", "A calibration needs at least one source that predictors will read.");
  for (PredictorSource s : o.sources)
    if (s > PredictorSource::same) return Status::error("bad-request", "A calibration's sources are previous, attention or same.");
  if (o.context_length < 16 || o.context_length > (1u << 20)) return Status::error("bad-request", "The context length must lie between 16 and 1048576.");
  if (impl_->model.positions.present() && o.context_length > m.trained_context)
    return Status::error("bad-request", "This model knows " + std::to_string(m.trained_context) + " positions; the context length may not exceed them.");
  if (o.threads > 256) return Status::error("bad-request", "threads must lie between 0 and 256.");
  for (const Layer& l : impl_->model.layers)
    if (!l.rows.present())
      return Status::error("bad-request", "This model was loaded without its neurons apart, so there is nothing to predict. Load it with them (byNeuron).");
  auto impl = std::make_unique<Calibration::Impl>(shared_from_this(), *impl_, o);
  impl->threads = o.threads ? o.threads : std::max(1u, physical_cores() / 2);
  impl->state.sources = o.sources;
  impl->state.heads = o.heads;
  uint64_t squares = 0;
  for (uint32_t i = 0; i < m.layers; i++)
    squares += impl->state.keeps_mlp(i, m.layers) + impl->state.keeps_attention(i) + impl->state.reads(PredictorSource::previous) + impl->state.reads(PredictorSource::attention);
  if (const uint64_t bytes = squares * m.width * m.width * sizeof(float); bytes > o.moment_bytes)
    return Status::error("out-of-memory", "Calibrating this model takes " + std::to_string(bytes >> 20) + " MB for its sums, more than the " +
                                              std::to_string(o.moment_bytes >> 20) + " MB allowed. Choose fewer sources or a smaller model.");
  impl->state.shape(m, o);
  if (!impl->kv.allocate(m.layers, m.kv_heads, m.head_width, o.context_length)) return no_memory();
  impl->scratch.allocate(impl_->model, o.context_length, impl_->pool.size());
  impl->scratch.screens = &impl_->screens;
  const uint64_t each = (uint64_t)m.layers * (2ull * m.width + m.ffn_width + m.heads) * sizeof(float);
  impl->batch = (uint32_t)std::clamp<uint64_t>(kTapBytes / each / kRun * kRun, kRun, kBatch);
  impl->plan.layers.resize(m.layers);
  for (LayerPlan& l : impl->plan.layers) l.mlp = MlpRoute::exact;
  out.reset(new Calibration(std::move(impl)));
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

uint64_t Calibration::Impl::fingerprint() const {
  uint64_t sum = 0xCBF29CE484222325ull;  // FNV-1a
  const auto mix = [&](const void* p, size_t n) {
    for (size_t i = 0; i < n; i++) sum = (sum ^ static_cast<const uint8_t*>(p)[i]) * 0x100000001B3ull;
  };
  const ModelSpec& m = spec();
  for (uint32_t v : {m.layers, m.width, m.ffn_width, m.heads, m.kv_heads, m.vocabulary, (uint32_t)m.activation}) mix(&v, sizeof v);
  // The norms' weights tell one fine-tuned model from another, and are few.
  for (const Layer& l : engine.model.layers)
    for (const Norm* n : {&l.attention_norm, &l.ffn_norm}) mix(n->weight.data(), n->weight.size() * sizeof(float));
  for (const TensorInfo& t : m.tensors) mix(&t.type, sizeof t.type);
  return sum;
}

Status Calibration::capture(std::span<const int32_t> tokens, const std::atomic<bool>& cancel) try {
  Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  if (tokens.size() < 2) return Status::error("bad-request", "A window needs at least two tokens.");
  if (tokens.size() > c.kv.context())
    return Status::error("context-overflow", "The window has " + std::to_string(tokens.size()) + " tokens; this calibration holds " + std::to_string(c.kv.context()) + ".");
  for (int32_t id : tokens)
    if (id < 0 || (uint32_t)id >= c.spec().vocabulary) return Status::error("bad-request", "Token " + std::to_string(id) + " is not in the model's vocabulary.");
  c.tap.resize(c.spec(), c.batch);
  c.scratch.tap = &c.tap;
  for (uint32_t at = 0; at < tokens.size(); at += c.batch) {
    const uint32_t n = (uint32_t)std::min<size_t>(c.batch, tokens.size() - at);
    {
      std::lock_guard turn(c.engine.turn);
      if (!forward(c.engine.model, c.engine.pool, c.kv, c.scratch, tokens.subspan(at, n), at, &c.plan, Logits::none, cancel)) {
        if (c.engine.model.store && c.engine.model.store->failed()) return c.engine.model.store->take_failure();
        return Status::error("cancelled", "Calibrating was cancelled.");
      }
    }
    if (Status s = c.add_batch(at == 0, n); !s.ok()) return s;
  }
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

Status Calibration::Impl::add_batch(uint32_t first, uint32_t n) {
  if (n <= first) return Status::fine();
  const ModelSpec& m = spec();
  const auto finite = [&](const std::vector<float>& v, uint32_t layer, uint32_t cols) {
    return all_finite(v.data() + ((size_t)layer * tap.tokens + first) * cols, (size_t)(n - first) * cols);
  };
  for (uint32_t i = 0; i < m.layers; i++)
    if (!finite(tap.attention_in, i, m.width) || !finite(tap.mlp_in, i, m.width) || !finite(tap.first, i, m.ffn_width) || !finite(tap.heads, i, m.heads))
      return Status::error("model-invalid", "The model's activations are not numbers in layer " + std::to_string(i) + ". The file is probably damaged: download it again.");

  n -= first;
  std::vector<SampleRun> runs((n + kRun - 1) / kRun);
  for (size_t r = 0; r < runs.size(); r++) {
    runs[r].tokens = std::min(kRun, n - (uint32_t)r * kRun);
    runs[r].layers.resize(m.layers);
  }
  // The sums of all inputs first: products of two layers' inputs read both.
  Status status = in_background(threads, m.layers, [&](uint32_t i) {
    LayerSums& l = state.layers[i];
    const size_t at = ((size_t)i * tap.tokens + first) * m.width;
    l.mlp.add(la, tap.mlp_in.data() + at, n);
    if (l.attention.width) l.attention.add(la, tap.attention_in.data() + at, n);
  });
  if (status.ok()) status = in_background(threads, m.layers, [&](uint32_t i) { add_layer(i, first, n, runs); });
  if (!status.ok()) return status;
  state.tokens += n;
  for (SampleRun& r : runs) {
    if (state.runs++ % kHeldOutEvery == kHeldOutEvery / 2) state.held_out.offer(std::move(r), options.held_out_tokens);
    else state.samples.push(std::move(r), options.sample_bytes);
  }
  return Status::fine();
}

void Calibration::Impl::add_layer(uint32_t i, uint32_t first, uint32_t n, std::vector<SampleRun>& runs) {
  const ModelSpec& m = spec();
  LayerSums& l = state.layers[i];
  const std::vector<float>& here = l.mlp.shifted();
  if (!l.by_previous.empty()) la.multiply(true, false, m.width, m.width, n, here.data(), state.layers[i - 1].mlp.shifted().data(), true, l.by_previous.data());
  if (!l.by_attention.empty()) la.multiply(true, false, m.width, m.width, n, here.data(), l.attention.shifted().data(), true, l.by_attention.data());

  std::vector<uint8_t> codes((size_t)n * m.ffn_width);
  const Activation act = m.activation == Activation::drelu ? Activation::relu : m.activation;
  std::vector<float> value(m.ffn_width);
  for (uint32_t t = 0; t < n; t++) {
    const float* gate = tap.first.data() + ((size_t)i * tap.tokens + first + t) * m.ffn_width;
    std::copy_n(gate, m.ffn_width, value.data());
    engine.model.kernels->activate[(int)act](value.data(), m.ffn_width);
    uint8_t* code = codes.data() + (size_t)t * m.ffn_width;
    for (uint32_t r = 0; r < m.ffn_width; r++) {
      const float v = std::fabs(value[r]);
      code[r] = magnitude_code(v);
      l.count[code[r]]++;
      l.active[r] += code[r] != 0;
      l.mass[code[r]] += v;
      l.gate[r] += gate[r];
      l.gate_square[r] += (double)gate[r] * gate[r];
    }
  }
  std::vector<float> relative((size_t)n * m.heads);
  if (state.heads) {
    for (uint32_t t = 0; t < n; t++) {
      const float* norms = tap.heads.data() + ((size_t)i * tap.tokens + first + t) * m.heads;
      double mean = 0;
      for (uint32_t h = 0; h < m.heads; h++) mean += norms[h];
      mean = mean / m.heads + 1e-20;
      for (uint32_t h = 0; h < m.heads; h++) {
        const float v = (float)(norms[h] / mean);
        relative[(size_t)t * m.heads + h] = v;
        l.head[h] += v;
        l.head_square[h] += (double)v * v;
        l.head_count[magnitude_code(v)]++;
      }
    }
    const std::vector<float>& input = i ? state.layers[i - 1].mlp.shifted() : l.attention.shifted();
    la.multiply(true, false, m.heads, m.width, n, relative.data(), input.data(), true, l.heads_by_input.data());
  }
  for (size_t r = 0; r < runs.size(); r++) {
    SampleRun::LayerPart& part = runs[r].layers[i];
    const uint32_t count = runs[r].tokens;
    const size_t token = r * kRun, at = ((size_t)i * tap.tokens + first + token) * m.width;
    if (state.keeps_mlp(i, m.layers)) part.mlp_in.put(tap.mlp_in.data() + at, count, m.width);
    if (state.keeps_attention(i)) part.attention_in.put(tap.attention_in.data() + at, count, m.width);
    part.activity.put(codes.data() + token * m.ffn_width, count, m.ffn_width);
    if (state.heads) part.heads.assign(relative.begin() + (ptrdiff_t)(token * m.heads), relative.begin() + (ptrdiff_t)((token + count) * m.heads));
  }
}

CalibrationStatistics Calibration::statistics() const {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  CalibrationStatistics s;
  s.tokens = c.state.tokens;
  s.sample_tokens = c.state.samples.tokens();
  s.held_out_tokens = c.state.held_out.tokens();
  for (const LayerSums& l : c.state.layers) {
    LayerStatistics& to = s.layers.emplace_back();
    uint64_t total = 0;
    for (uint64_t n : l.count) total += n;
    to.density = total ? (double)(total - l.count[0]) / (double)total : 0;
    to.gate_quantiles = quantiles(l.count);
    for (uint64_t n : l.active) to.frequency.push_back(s.tokens ? (float)((double)n / (double)s.tokens) : 0);
    if (c.state.heads) to.head_quantiles = quantiles(l.head_count);
  }
  return s;
}

GateThreshold Calibration::Impl::gate_threshold(uint32_t layer, float share) const {
  const LayerSums& l = state.layers[layer];
  double mass = 0, dropped = 0;
  uint64_t total = 0, gone = 0;
  for (uint32_t i = 0; i < 256; i++) mass += l.mass[i], total += l.count[i];
  uint32_t code = 1;  // the first that stays
  while (code < 255 && dropped + l.mass[code] <= share * mass) {
    dropped += l.mass[code];
    gone += l.count[code++];
  }
  const uint64_t active = total - l.count[0];
  GateThreshold g;
  g.threshold = code > 1 ? std::nextafter(magnitude_of((uint8_t)code), 0.0f) : 0;
  g.density = total ? (float)((double)(active - gone) / (double)total) : 0;
  g.dropped_neurons = active ? (float)((double)gone / (double)active) : 0;
  g.dropped_mass = mass > 0 ? (float)(dropped / mass) : 0;
  return g;
}

Status Calibration::gate_thresholds(float mass, std::vector<GateThreshold>& out) const {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  if (!(mass >= 0 && mass <= 1)) return Status::error("bad-request", "The share of the mass must lie between 0 and 1.");
  if (c.state.tokens == 0) return Status::error("bad-request", "Nothing has been captured yet.");
  out.clear();
  for (uint32_t i = 0; i < c.spec().layers; i++) out.push_back(c.gate_threshold(i, mass));
  return Status::fine();
}

}  // namespace hunch
