// Fitting to what a Calibration has captured, and judging what came out.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <new>

#include "background.h"
#include "calibration.h"
#include "rows.h"

namespace hunch {

namespace {

using Clock = std::chrono::steady_clock;
constexpr uint32_t kMinibatch = 256, kRound = 32;  // tokens a step; steps between two looks at the held-out loss
constexpr uint32_t kJudged = 1024;                 // held-out tokens that the loss is taken over
constexpr uint64_t kScores = 8u << 20;             // held-out scores that are looked at together, at most
constexpr double kActiveWeight = 30;                // of an active neuron beside one that is not
constexpr uint64_t kFewest = 64;                   // tokens without which there is nothing to fit

Status no_memory() { return Status::error("out-of-memory", "Not enough memory to calibrate. Close other programs, or keep fewer samples."); }

float activation(Activation act, float gate) {
  if (act == Activation::silu) return gate / (1 + std::exp(-gate));
  if (act == Activation::gelu) return 0.5f * gate * (1 + std::tanh(0.7978845608f * (gate + 0.044715f * gate * gate * gate)));
  return std::max(gate, 0.0f);
}

// The positive gate whose activation is `value` >= 0.
float gate_of(Activation act, float value) {
  float low = 0, high = value + 2;
  for (int i = 0; i < 40; i++) {
    const float middle = (low + high) / 2;
    (activation(act, middle) > value ? high : low) = middle;
  }
  return value > 0 ? high : 0;
}

// [n][n] from its lower triangle.
void mirror(std::vector<float>& a, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < i; j++) a[(size_t)j * n + i] = a[(size_t)i * n + j];
}

// Products [p][q] of two inputs counted from their shifts: their covariance.
std::vector<float> cross(const std::vector<float>& products, const std::vector<double>& a, const std::vector<double>& b, uint64_t tokens) {
  std::vector<float> out(products.size());
  const double n = (double)tokens;
  for (size_t i = 0; i < a.size(); i++)
    for (size_t j = 0; j < b.size(); j++) out[i * b.size() + j] = (float)(products[i * b.size() + j] / n - a[i] / n * (b[j] / n));
  return out;
}

bool same_fit(const FitOptions& a, const FitOptions& b) { return a.source == b.source && a.rank == b.rank && a.relu == b.relu && a.dropped_mass == b.dropped_mass; }

// A hidden ReLU keeps what the closed form found as relu(z) - relu(-z).
LowRankPredictor with_relu(const LowRankPredictor& p, uint32_t rows) {
  LowRankPredictor out = p;
  out.rank = 2 * p.rank;
  out.relu = true;
  for (float v : p.a) out.a.push_back(-v);
  out.b.resize((size_t)rows * out.rank);
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t j = 0; j < p.rank; j++) {
      out.b[(size_t)r * out.rank + j] = p.b[(size_t)r * p.rank + j];
      out.b[(size_t)r * out.rank + p.rank + j] = -p.b[(size_t)r * p.rank + j];
    }
  return out;
}

}  // namespace

const GramSum& Calibration::Impl::input_sums(uint32_t layer, PredictorSource source) const {
  if (source == PredictorSource::attention) return state.layers[layer].attention;
  return state.layers[source == PredictorSource::same ? layer : layer - 1].mlp;
}

Status Calibration::Impl::gate_rows(uint32_t layer, std::vector<float>& out) const {
  const NeuronRows& rows = engine.model.layers[layer].rows;
  out.resize((size_t)rows.neurons * rows.width);
  for (uint32_t n = 0; n < rows.neurons; n++)
    if (Status s = first_row(engine.model, layer, n, out.data() + (size_t)n * rows.width); !s.ok()) return s;
  return Status::fine();
}

Status Calibration::Impl::moments(uint32_t layer, PredictorSource source, Moments& m) const {
  const LayerSums& l = state.layers[layer];
  const GramSum& input = input_sums(layer, source);
  const uint64_t n = state.tokens;
  m.width = spec().width, m.rows = spec().ffn_width;
  m.xx = input.covariance();
  m.x = input.mean();
  std::vector<float> c;
  if (source == PredictorSource::same) c = m.xx, mirror(c, m.width);
  else c = cross(source == PredictorSource::attention ? l.by_attention : l.by_previous, l.mlp.sum, input.sum, n);
  // A gate is linear in its own input, so its covariance with any other vector follows from the inputs'.
  std::vector<float> gate;
  if (Status s = gate_rows(layer, gate); !s.ok()) return s;
  m.yx.resize((size_t)m.rows * m.width);
  la.multiply(false, false, m.rows, m.width, m.width, gate.data(), c.data(), false, m.yx.data());
  for (uint32_t r = 0; r < m.rows; r++) {
    const double mean = l.gate[r] / (double)n;
    m.y.push_back((float)mean);
    m.y_variance.push_back((float)std::max(0.0, l.gate_square[r] / (double)n - mean * mean));
  }
  return Status::fine();
}

Moments Calibration::Impl::head_moments(uint32_t layer) const {
  const LayerSums& l = state.layers[layer];
  const GramSum& input = input_sums(layer, source_of(layer, PredictorSource::previous));
  Moments m;
  m.width = spec().width, m.rows = spec().heads;
  m.xx = input.covariance();
  m.x = input.mean();
  m.yx = cross(l.heads_by_input, l.head, input.sum, state.tokens);
  for (uint32_t h = 0; h < m.rows; h++) {
    const double mean = l.head[h] / (double)state.tokens;
    m.y.push_back((float)mean);
    m.y_variance.push_back((float)std::max(0.0, l.head_square[h] / (double)state.tokens - mean * mean));
  }
  return m;
}

Status Calibration::Impl::closed_form(const FitOptions& o, uint32_t layer, LowRankPredictor& out) const {
  const PredictorSource source = source_of(layer, o.source);
  ClosedForm form;
  form.rank = o.relu ? std::max(1u, o.rank / 2) : o.rank;
  form.threshold = gate_of(spec().activation, gate_threshold(layer, o.dropped_mass).threshold);
  Moments m;
  if (Status s = moments(layer, source, m); !s.ok()) return s;
  if (Status s = fit_closed_form(la, m, form, out); !s.ok()) return s;
  if (o.relu) out = with_relu(out, spec().ffn_width);
  out.source = source;
  return Status::fine();
}

bool Calibration::Impl::read_sample(const Samples& from, uint32_t i, uint32_t layer, PredictorSource source, float* x, uint8_t* codes) const {
  const auto [run, token] = from.at(i);
  const SampleRun::LayerPart& here = run->layers[layer];
  const QuantisedRows& input = source == PredictorSource::attention ? here.attention_in : source == PredictorSource::same ? here.mlp_in : run->layers[layer - 1].mlp_in;
  if (!input.present()) return false;
  input.get(token, spec().width, x);
  here.activity.get(token, spec().ffn_width, codes);
  return true;
}

// By magnitude code: > 0 active, and how much it counts; < 0 not. Strong neurons count more, as what they add to the layer's output does, and
// all active ones many times: predictors are used where they miss one in a hundred or less, so that is where they must be good.
static std::vector<float> target_weights(const LayerSums& l, uint8_t active_from) {
  double mass = 0;
  uint64_t count = 0;
  for (uint32_t i = active_from; i < 256; i++) mass += l.mass[i], count += l.count[i];
  const double mean = count ? mass / (double)count : 1;
  std::vector<float> w(256, -1.0f);
  for (uint32_t i = active_from; i < 256; i++) w[i] = (float)(kActiveWeight * (0.5 + std::min(magnitude_of((uint8_t)i) / (mean + 1e-20), 6.0)));
  return w;
}

FineTuner Calibration::Impl::start_tuner(const LowRankPredictor& from, uint32_t layer, const FitOptions& o) const {
  const GramSum& input = input_sums(layer, source_of(layer, o.source));
  const std::vector<float> c = input.covariance();
  std::vector<float> deviation(input.width);
  for (uint32_t i = 0; i < input.width; i++) deviation[i] = std::sqrt(std::max(c[(size_t)i * input.width + i], 0.0f));
  // Where active neurons weigh more, the best score is higher by the logarithm of that.
  const LayerSums& l = state.layers[layer];
  const std::vector<float> weight = target_weights(l, code_above(gate_threshold(layer, o.dropped_mass).threshold));
  double sum = 0, count = 0;
  for (uint32_t i = 0; i < 256; i++)
    if (weight[i] > 0) sum += weight[i] * (double)l.count[i], count += (double)l.count[i];
  LowRankPredictor start = from;
  for (float& b : start.bias) b += count > 0 ? (float)std::log(sum / count) : 0;
  FineTuner tuner(start, spec().width, spec().ffn_width, input.mean(), std::move(deviation), {});
  tuner.random = layer + 1;
  return tuner;
}

double Calibration::Impl::held_out_loss(uint32_t layer) {
  const uint32_t n = std::min(state.held_out.tokens(), kJudged), width = spec().width, rows = spec().ffn_width;
  const std::vector<float> weight = target_weights(state.layers[layer], code_above(state.gates[layer].threshold));
  const PredictorSource source = source_of(layer, state.fit.source);
  std::vector<float> x((size_t)kMinibatch * width), target((size_t)kMinibatch * rows);
  std::vector<uint8_t> codes(rows);
  double sum = 0;
  for (uint32_t at = 0; at < n; at += kMinibatch) {
    const uint32_t some = std::min(kMinibatch, n - at);
    for (uint32_t t = 0; t < some; t++) {
      if (!read_sample(state.held_out, at + t, layer, source, x.data() + (size_t)t * width, codes.data())) return 0;
      for (uint32_t r = 0; r < rows; r++) target[(size_t)t * rows + r] = weight[codes[r]];
    }
    sum += state.tuners[layer].loss(la, x.data(), target.data(), some) * some;
  }
  return n ? sum / n : 0;
}

void Calibration::Impl::tune(uint32_t layer, uint64_t steps, const std::function<float()>& along, const std::atomic<bool>& cancel) {
  FineTuner& tuner = state.tuners[layer];
  const uint32_t width = spec().width, rows = spec().ffn_width, n = std::min(kMinibatch, state.samples.tokens());
  const std::vector<float> weight = target_weights(state.layers[layer], code_above(state.gates[layer].threshold));
  const PredictorSource source = source_of(layer, state.fit.source);
  std::vector<float> x((size_t)n * width), target((size_t)n * rows);
  std::vector<uint8_t> codes(rows);
  for (uint64_t i = 0; i < steps && !cancel; i++) {
    const float done = along();
    if (done >= 1) return;
    for (uint32_t t = 0; t < n; t++) {
      const uint32_t token = (uint32_t)(next_random(tuner.random) % state.samples.tokens());
      if (!read_sample(state.samples, token, layer, source, x.data() + (size_t)t * width, codes.data())) return;
      for (uint32_t r = 0; r < rows; r++) target[(size_t)t * rows + r] = weight[codes[r]];
    }
    tuner.step(la, x.data(), target.data(), n, done);
  }
}

Status Calibration::fit(const FitOptions& o, const std::function<void(const FitProgress&)>& progress, const std::atomic<bool>& cancel, Predictors& out) try {
  Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  CalibrationState& s = c.state;
  const uint32_t layers = c.spec().layers;
  const auto begin = Clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  if (!s.reads(o.source)) return Status::error("bad-request", "This calibration did not listen to the input that these predictors read. Make one with this source.");
  if (o.rank < 1 || o.rank > 4096 || o.head_rank > 4096) return Status::error("bad-request", "A predictor's rank must lie between 1 and 4096.");
  if (o.head_rank && !s.heads) return Status::error("bad-request", "This calibration did not listen to the heads. Make one that does.");
  if (!(o.dropped_mass >= 0 && o.dropped_mass < 1)) return Status::error("bad-request", "The share of the mass to drop must lie between 0 and 1.");
  if (!(o.fine_tune_seconds >= 0 && o.fine_tune_seconds < 1e7)) return Status::error("bad-request", "The time for fine-tuning must lie between 0 and 10,000,000 seconds.");
  if (s.tokens < kFewest || s.held_out.tokens() == 0)
    return Status::error("bad-request", "Only " + std::to_string(s.tokens) + " tokens have been captured. Capture more text first, a few thousand tokens at least.");
  if (o.dropped_mass == 0 && c.spec().activation != Activation::relu && c.spec().activation != Activation::drelu)
    return Status::error("bad-request", "This model's neurons are never zero, so which ones to predict must be said: choose a share of the mass to drop.");
  const bool fine_tuning = o.fine_tune_seconds > 0 || o.fine_tune_steps > 0;
  if (fine_tuning && s.samples.tokens() == 0) return Status::error("bad-request", "No samples have been kept to fine-tune on. Allow more memory for them and capture again.");

  const auto cancelled = [] { return Status::error("cancelled", "Calibrating was cancelled."); };
  const bool go_on = fine_tuning && s.tuners.size() == layers && same_fit(o, s.fit);
  std::vector<Status> each(layers);
  if (!go_on) {
    std::vector<GateThreshold> gates;
    for (uint32_t i = 0; i < layers; i++) gates.push_back(c.gate_threshold(i, o.dropped_mass));
    Predictors made;
    made.mlp.resize(layers);
    made.heads.resize(layers);
    std::atomic<uint32_t> done{0};
    Status status = in_background(c.threads, layers, [&](uint32_t i) {
      if (cancel) return;
      LowRankPredictor p;
      if (each[i] = c.closed_form(o, i, p); each[i].ok()) made.mlp[i] = std::move(p);
      if (o.head_rank && each[i].ok()) {
        ClosedForm form;
        form.rank = o.head_rank;
        form.as_logit = false;
        if (each[i] = fit_closed_form(c.la, c.head_moments(i), form, p); each[i].ok()) {
          p.source = c.source_of(i, PredictorSource::previous);
          made.heads[i] = std::move(p);
        }
      }
      done++;
    });
    for (uint32_t i = 0; i < layers && status.ok(); i++) status = each[i];
    if (!status.ok()) return status;
    if (cancel) return cancelled();
    if (fine_tuning) {
      std::vector<FineTuner> tuners;
      for (uint32_t i = 0; i < layers; i++) tuners.push_back(c.start_tuner(*made.mlp[i], i, o));
      s.tuners = std::move(tuners);
      s.fit = o;
    }
    round_as_packed(made);
    s.fitted = std::move(made);
    s.gates = std::move(gates);
  } else if (s.tokens != s.fit_tokens) {
    for (FineTuner& t : s.tuners) t.resume();
  }
  const auto report = [&](double fraction, double loss) {
    if (!progress) return;
    FitProgress p{fraction, seconds(), loss, 0, 0};
    for (const FineTuner& t : s.tuners) {
      p.done_layers += t.stopped();
      p.steps = p.steps ? std::min(p.steps, t.steps()) : t.steps();
    }
    progress(p);
  };
  if (!fine_tuning) {
    report(1, 0);
    out = s.fitted;
    return Status::fine();
  }

  s.fit_tokens = s.tokens;
  std::vector<uint64_t> left(layers, o.fine_tune_steps ? o.fine_tune_steps : ~0ull);
  std::vector<double> loss(layers, 0);
  Status status = in_background(c.threads, layers, [&](uint32_t i) {
    if (cancel || s.tuners[i].stopped()) return;
    loss[i] = c.held_out_loss(i);
    s.tuners[i].judge(loss[i]);  // where it starts from is the first to beat
  });
  const auto mean_loss = [&] {
    double sum = 0;
    for (const FineTuner& t : s.tuners) sum += t.best_loss();
    return sum / layers;
  };
  const auto along_of = [&](uint32_t i) {
    const double time = o.fine_tune_seconds > 0 ? seconds() / o.fine_tune_seconds : 0;
    const double steps = o.fine_tune_steps ? 1 - (double)left[i] / (double)o.fine_tune_steps : 0;
    return (float)std::max(time, steps);
  };
  const auto working = [&](uint32_t i) { return left[i] > 0 && !s.tuners[i].stopped() && along_of(i) < 1; };
  report(0, mean_loss());
  for (bool any = true; any && status.ok() && !cancel;) {
    status = in_background(c.threads, layers, [&](uint32_t i) {
      if (!working(i) || cancel) return;
      const uint64_t before = s.tuners[i].steps();
      c.tune(i, std::min<uint64_t>(kRound, left[i]), [&] { return along_of(i); }, cancel);
      left[i] -= std::min(left[i], s.tuners[i].steps() - before);
      s.tuners[i].judge(c.held_out_loss(i));
    });
    any = false;
    double fraction = 1;
    for (uint32_t i = 0; i < layers; i++) {
      if (working(i)) any = true, fraction = std::min(fraction, (double)along_of(i));
    }
    report(any ? fraction : 1, mean_loss());
  }
  for (uint32_t i = 0; i < layers; i++) {
    const PredictorSource source = c.source_of(i, o.source);
    s.fitted.mlp[i] = s.tuners[i].best();
    s.fitted.mlp[i]->source = source;
    round_as_packed(*s.fitted.mlp[i]);
  }
  if (!status.ok()) return status;
  out = s.fitted;
  return cancel ? cancelled() : Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

void Calibration::Impl::held_out_scores(uint32_t layer, const LowRankPredictor& p, uint8_t active_from, std::vector<float>& scores, std::vector<float>& mass) const {
  const uint32_t width = spec().width, rows = spec().ffn_width, n = (uint32_t)std::min<uint64_t>(state.held_out.tokens(), std::max<uint64_t>(1, kScores / rows));
  scores.assign((size_t)n * rows, 0);
  mass.assign((size_t)n * rows, 0);
  std::vector<float> x((size_t)kMinibatch * width), hidden;
  std::vector<uint8_t> codes(rows);
  for (uint32_t at = 0; at < n; at += kMinibatch) {
    const uint32_t some = std::min(kMinibatch, n - at);
    for (uint32_t t = 0; t < some; t++) {
      if (!read_sample(state.held_out, at + t, layer, p.source, x.data() + (size_t)t * width, codes.data())) {
        scores.clear();
        return;
      }
      for (uint32_t r = 0; r < rows; r++)
        if (codes[r] >= active_from) mass[(size_t)(at + t) * rows + r] = std::max(magnitude_of(codes[r]), 1e-6f);
    }
    predict(la, p, width, rows, x.data(), some, hidden, scores.data() + (size_t)at * rows);
  }
}

Status Calibration::judge(const Predictors& predictors, float recall, bool by_mass, std::vector<ScoreThreshold>& out) const try {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  const uint32_t layers = c.spec().layers;
  if (!(recall >= 0 && recall <= 1)) return Status::error("bad-request", "The recall must lie between 0 and 1.");
  if (c.state.held_out.tokens() == 0) return Status::error("bad-request", "Nothing has been captured to judge by.");
  if (predictors.mlp.size() != layers)
    return Status::error("bad-request", "There are predictors for " + std::to_string(predictors.mlp.size()) + " layers; the model has " + std::to_string(layers) + ".");
  for (uint32_t i = 0; i < layers; i++) {
    if (!predictors.mlp[i]) continue;
    const std::string what = "The predictor of layer " + std::to_string(i);
    if (Status s = check_predictor(*predictors.mlp[i], c.spec().width, c.spec().ffn_width, what); !s.ok()) return s;
    if (i == 0 && predictors.mlp[i]->source == PredictorSource::previous) return Status::error("bad-request", what + " reads the layer before, which it does not have.");
  }
  std::vector<ScoreThreshold> all(layers);
  std::atomic<bool> missing{false};
  Status status = in_background(c.threads, layers, [&](uint32_t i) {
    if (!predictors.mlp[i]) return;
    std::vector<float> scores, mass;
    c.held_out_scores(i, *predictors.mlp[i], c.state.gates.empty() ? 1 : code_above(c.state.gates[i].threshold), scores, mass);
    if (scores.empty()) {
      missing = true;
      return;
    }
    const Operating at = threshold_for(scores, mass, recall, by_mass);
    all[i] = {at.threshold, at.density, at.recall, at.mass_recall};
  });
  if (!status.ok()) return status;
  if (missing) return Status::error("bad-request", "This calibration did not listen to the input that these predictors read. Make one with this source.");
  out = std::move(all);
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

Status Calibration::fitted(Predictors& out) const try {
  std::lock_guard lock(impl_->mutex);
  if (impl_->state.fitted.mlp.empty()) return Status::error("bad-request", "No predictors have been fitted yet.");
  out = impl_->state.fitted;
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

Status Calibration::thresholds(float recall, bool by_mass, std::vector<ScoreThreshold>& out) const {
  Predictors predictors;
  if (Status s = fitted(predictors); !s.ok()) return s;
  return judge(predictors, recall, by_mass, out);
}

Status Calibration::head_thresholds(float share, std::vector<ScoreThreshold>& out) const try {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  const uint32_t layers = c.spec().layers, width = c.spec().width, heads = c.spec().heads, n = c.state.held_out.tokens();
  if (!(share >= 0 && share <= 1)) return Status::error("bad-request", "The share of the norms must lie between 0 and 1.");
  if (c.state.fitted.heads.empty() || !c.state.fitted.heads[0]) return Status::error("bad-request", "No predictors of heads have been fitted yet.");
  std::vector<ScoreThreshold> all;
  std::vector<float> x(width), hidden, scores((size_t)n * heads), norms((size_t)n * heads);
  std::vector<uint8_t> codes(c.spec().ffn_width);
  for (uint32_t i = 0; i < layers; i++) {
    const LowRankPredictor& p = *c.state.fitted.heads[i];
    for (uint32_t t = 0; t < n; t++) {
      const auto [run, token] = c.state.held_out.at(t);
      if (run->layers[i].heads.empty() || !c.read_sample(c.state.held_out, t, i, p.source, x.data(), codes.data()))
        return Status::error("bad-request", "The samples of this calibration hold no heads. Capture again.");
      std::copy_n(run->layers[i].heads.data() + (size_t)token * heads, heads, norms.data() + (size_t)t * heads);
      predict(c.la, p, width, heads, x.data(), 1, hidden, scores.data() + (size_t)t * heads);
    }
    const Operating at = threshold_for(scores, norms, share, true);
    all.push_back({at.threshold, at.density, at.mass_recall, at.mass_recall});
  }
  out = std::move(all);
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

Status Calibration::factor_gates(uint32_t rank, bool weighted, Predictors& out) const try {
  const Impl& c = *impl_;
  std::lock_guard lock(c.mutex);
  const uint32_t layers = c.spec().layers;
  if (weighted && (!c.state.reads(PredictorSource::same) || c.state.tokens < kFewest))
    return Status::error("bad-request", "To weight the gates, capture some text with the source `same` first.");
  Predictors made;
  made.mlp.resize(layers);
  made.heads.resize(layers);
  std::vector<Status> each(layers);
  Status status = in_background(c.threads, layers, [&](uint32_t i) {
    const Layer& l = c.engine.model.layers[i];
    std::vector<float> gate;
    if (each[i] = c.gate_rows(i, gate); !each[i].ok()) return;
    Moments m;
    if (weighted) m.xx = c.state.layers[i].mlp.covariance(), m.x = c.state.layers[i].mlp.mean();
    LowRankPredictor p;
    each[i] = factor_gate(c.la, gate.data(), c.spec().ffn_width, c.spec().width, !l.rows.gated && !l.up_bias.empty() ? l.up_bias.data() : nullptr,
                          weighted ? &m : nullptr, rank, p);
    if (each[i].ok()) made.mlp[i] = std::move(p);
  });
  for (uint32_t i = 0; i < layers && status.ok(); i++) status = each[i];
  if (!status.ok()) return status;
  round_as_packed(made);
  out = std::move(made);
  return status;
} catch (const std::bad_alloc&) {
  return no_memory();
}

}  // namespace hunch
