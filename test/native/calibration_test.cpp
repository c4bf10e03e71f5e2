// A calibration of tiny models: what it hears, fits, refuses, and keeps.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "samples.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

const std::atomic<bool> never{false};

TinyOptions relu(uint64_t seed = 1) {
  TinyOptions o;
  o.matrices = TensorType::Q8_0, o.activation = Activation::relu, o.layers = 3, o.width = 64, o.ffn_width = 160, o.down_by_neuron = true, o.seed = seed;
  return o;
}

std::shared_ptr<Engine> load(const TinyModel& model, unsigned threads = 2) {
  std::shared_ptr<Engine> engine;
  LoadOptions options;
  options.threads = threads, options.by_neuron = true;
  REQUIRE(Engine::load(model.spec, options, engine).ok());
  return engine;
}

CalibrationOptions listening(std::vector<PredictorSource> sources = {PredictorSource::previous, PredictorSource::attention, PredictorSource::same}) {
  CalibrationOptions o;
  o.sources = std::move(sources), o.heads = true, o.threads = 2, o.context_length = 256;
  return o;
}

std::unique_ptr<Calibration> open(Engine& engine, const CalibrationOptions& options = listening()) {
  std::unique_ptr<Calibration> c;
  REQUIRE(engine.new_calibration(options, c).ok());
  return c;
}

void hear(Calibration& c, uint32_t vocabulary, uint32_t windows = 10, uint64_t seed = 7) {
  for (uint32_t i = 0; i < windows; i++) {
    const auto tokens = random_tokens(200, vocabulary, seed + i);
    REQUIRE(c.capture(tokens, never).ok());
  }
}

FitOptions of(PredictorSource source, uint32_t rank, uint64_t steps = 0) {
  FitOptions o;
  o.source = source, o.rank = rank, o.fine_tune_steps = steps;
  return o;
}

double density(const std::vector<ScoreThreshold>& list) {
  double sum = 0;
  for (const ScoreThreshold& t : list) sum += t.density / (double)list.size();
  return sum;
}

bool equal(const Predictors& a, const Predictors& b) {
  for (auto part : {&Predictors::mlp, &Predictors::heads}) {
    if ((a.*part).size() != (b.*part).size()) return false;
    for (size_t i = 0; i < (a.*part).size(); i++) {
      const auto &p = (a.*part)[i], &q = (b.*part)[i];
      if (p.has_value() != q.has_value()) return false;
      if (p && (p->source != q->source || p->rank != q->rank || !same_bits(p->a, q->a) || !same_bits(p->b, q->b) || !same_bits(p->bias, q->bias))) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("calibration: counts what decode computes") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  const auto tokens = random_tokens(100, o.vocabulary, 3);
  REQUIRE(c->capture(tokens, never).ok());
  const CalibrationStatistics s = c->statistics();
  CHECK(s.tokens == 99);  // without the first
  CHECK(s.sample_tokens + s.held_out_tokens == 99);
  REQUIRE(s.layers.size() == o.layers);

  std::unique_ptr<Session> session;
  REQUIRE(engine->new_session(256, session).ok());
  Plan plan;
  plan.layers.resize(o.layers);
  for (LayerPlan& l : plan.layers) l.mlp = MlpRoute::exact;
  REQUIRE(session->set_plan(&plan).ok());
  std::vector<float> nll;
  REQUIRE(session->score(std::span(tokens).first(2), 0, nll).ok());  // position 0
  session->activity();
  for (size_t n = 2; n <= tokens.size(); n++) {
    std::vector<int32_t> longer(tokens.begin(), tokens.begin() + (ptrdiff_t)n);
    longer.push_back(0);
    REQUIRE(session->score(longer, (uint32_t)(n - 1), nll).ok());
  }
  const Activity counted = session->activity();
  REQUIRE(counted.computed.size() == o.layers);
  for (uint32_t i = 0; i < o.layers; i++) {
    CHECK(s.layers[i].density > 0.1);
    CHECK(s.layers[i].density * 99 * o.ffn_width == doctest::Approx((double)counted.computed[i]).epsilon(1e-9));
    REQUIRE(s.layers[i].frequency.size() == o.ffn_width);
    double often = 0;
    for (float f : s.layers[i].frequency) often += f / o.ffn_width;
    CHECK(often == doctest::Approx(s.layers[i].density).epsilon(1e-4));
    CHECK(*std::max_element(s.layers[i].frequency.begin(), s.layers[i].frequency.end()) > s.layers[i].density * 1.2);
    REQUIRE(s.layers[i].gate_quantiles.size() == 21);
    CHECK(std::is_sorted(s.layers[i].gate_quantiles.begin(), s.layers[i].gate_quantiles.end()));
    CHECK(s.layers[i].head_quantiles.size() == 21);
  }
}

TEST_CASE("calibration: predictors beat chance; full rank from the same input misses next to nothing; more rank is better") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  hear(*c, o.vocabulary);
  std::vector<ScoreThreshold> at;
  double last = 1;
  for (uint32_t rank : {2u, 8u, 24u, 64u}) {
    Predictors p;
    REQUIRE(c->fit(of(PredictorSource::same, rank), {}, never, p).ok());
    REQUIRE(p.mlp.size() == o.layers);
    REQUIRE(c->thresholds(0.97f, false, at).ok());
    CHECK(density(at) < last + 0.01);
    last = density(at);
    for (const ScoreThreshold& t : at) CHECK(t.recall >= 0.97f - 1e-5f);
  }
  double truth = 0;
  for (const LayerStatistics& l : c->statistics().layers) truth += l.density / o.layers;
  CHECK(last < truth * 1.06);
  for (PredictorSource source : {PredictorSource::previous, PredictorSource::attention}) {
    Predictors p;
    REQUIRE(c->fit(of(source, 32), {}, never, p).ok());
    CHECK(p.mlp[0]->source == PredictorSource::attention);  // nothing comes before the first layer
    CHECK(p.mlp[1]->source == source);
    REQUIRE(c->thresholds(0.9f, false, at).ok());
    CHECK(density(at) < 0.85);
    CHECK(engine->set_predictors(p).ok());
    std::vector<ScoreThreshold> higher, mass, again;
    REQUIRE(c->thresholds(0.99f, false, higher).ok());
    REQUIRE(c->thresholds(0.9f, true, mass).ok());
    REQUIRE(c->judge(p, 0.9f, false, again).ok());
    for (uint32_t i = 0; i < o.layers; i++) {
      CHECK(higher[i].threshold <= at[i].threshold);
      CHECK(higher[i].density >= at[i].density);
      CHECK(mass[i].mass_recall >= 0.9f - 1e-5f);
      CHECK(again[i].threshold == at[i].threshold);
    }
  }
}

TEST_CASE("calibration: the gate's own factors, and predictors of heads") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  hear(*c, o.vocabulary, 6);
  for (bool weighted : {false, true}) {
    Predictors p;
    REQUIRE(c->factor_gates(o.width, weighted, p).ok());
    std::vector<ScoreThreshold> at;
    REQUIRE(c->judge(p, 0.97f, false, at).ok());
    for (uint32_t i = 0; i < o.layers; i++) CHECK(at[i].density < c->statistics().layers[i].density * 1.06);
  }
  Predictors p;
  std::vector<ScoreThreshold> at;
  CHECK(c->head_thresholds(0.9f, at).code == "bad-request");
  FitOptions f = of(PredictorSource::attention, 8);
  f.head_rank = 4;
  REQUIRE(c->fit(f, {}, never, p).ok());
  REQUIRE(p.heads[1]);
  CHECK(p.heads[0]->source == PredictorSource::attention);
  CHECK(p.heads[1]->source == PredictorSource::previous);
  CHECK(p.heads[1]->b.size() == (size_t)o.heads * p.heads[1]->rank);
  CHECK(engine->set_predictors(p).ok());
  float last = 0;
  for (float share : {0.5f, 0.9f, 0.99f, 1.0f}) {
    REQUIRE(c->head_thresholds(share, at).ok());
    CHECK(at[1].mass_recall >= share - 1e-5f);
    CHECK(at[1].density >= last);
    last = at[1].density;
  }
  CHECK(last == 1);
}

TEST_CASE("calibration: gate thresholds drop what they say") {
  TinyOptions o = relu();
  o.activation = Activation::silu;
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  std::vector<GateThreshold> gates;
  CHECK(c->gate_thresholds(0.1f, gates).code == "bad-request");  // nothing heard yet
  hear(*c, o.vocabulary, 4);
  float last = -1;
  for (float share : {0.0f, 0.05f, 0.2f, 0.5f}) {
    REQUIRE(c->gate_thresholds(share, gates).ok());
    REQUIRE(gates.size() == o.layers);
    for (const GateThreshold& g : gates) {
      CHECK(g.dropped_mass <= share + 1e-6f);
      CHECK(g.dropped_neurons >= g.dropped_mass);  // the weakest go first
    }
    CHECK(gates[0].threshold >= last);
    last = gates[0].threshold;
  }
  CHECK(c->gate_thresholds(kNan, gates).code == "bad-request");
  // Without true zeros, which neurons to predict must be said.
  Predictors p;
  FitOptions f = of(PredictorSource::same, 16, 4);
  CHECK(c->fit(f, {}, never, p).code == "bad-request");
  f.dropped_mass = 0.2f;
  REQUIRE(c->fit(f, {}, never, p).ok());
  std::vector<ScoreThreshold> at;
  REQUIRE(c->thresholds(0.9f, false, at).ok());
  CHECK(density(at) < 0.98);
}

TEST_CASE("calibration: fine-tuning lowers the loss, and goes on after a restart as if there had been none") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  for (bool hidden_relu : {false, true}) {
    const auto c = open(*engine);
    hear(*c, o.vocabulary);
    std::vector<double> losses;
    std::vector<double> fractions;
    const auto note = [&](const FitProgress& p) { losses.push_back(p.loss), fractions.push_back(p.fraction); };
    FitOptions f = of(PredictorSource::attention, 16, 64);
    f.relu = hidden_relu;
    Predictors first, second, third;
    REQUIRE(c->fit(f, note, never, first).ok());
    REQUIRE(losses.size() >= 3);
    CHECK(losses.back() < losses.front());
    CHECK(std::is_sorted(fractions.begin(), fractions.end()));
    CHECK(fractions.back() == 1);
    CHECK(first.mlp[1]->rank == 16);
    CHECK(first.mlp[1]->relu == hidden_relu);

    const auto path = temporary_path();
    REQUIRE(c->save(path.string()).ok());
    const auto other = open(*engine, listening({PredictorSource::same}));
    REQUIRE(other->restore(path.string()).ok());
    Predictors kept;
    REQUIRE(other->fitted(kept).ok());
    CHECK(equal(kept, first));
    CHECK(other->statistics().tokens == c->statistics().tokens);
    REQUIRE(c->fit(f, {}, never, second).ok());
    REQUIRE(other->fit(f, {}, never, third).ok());
    CHECK(equal(second, third));
    CHECK_FALSE(equal(first, second));
    std::vector<ScoreThreshold> a, b;
    REQUIRE(c->thresholds(0.95f, false, a).ok());
    REQUIRE(other->thresholds(0.95f, false, b).ok());
    for (size_t i = 0; i < a.size(); i++) CHECK(a[i].threshold == b[i].threshold);
    // More text, and on.
    hear(*c, o.vocabulary, 1, 99);
    REQUIRE(c->fit(f, {}, never, second).ok());
    std::filesystem::remove(path);
  }
}

TEST_CASE("calibration: the number of threads changes no bit") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  Predictors one, three;
  for (auto [threads, out] : {std::pair{1u, &one}, std::pair{3u, &three}}) {
    const auto engine = load(model, threads);
    CalibrationOptions options = listening();
    options.threads = threads;
    const auto c = open(*engine, options);
    hear(*c, o.vocabulary, 4);
    REQUIRE(c->fit(of(PredictorSource::previous, 12, 40), {}, never, *out).ok());
  }
  CHECK(equal(one, three));
}

TEST_CASE("calibration: can be cancelled, from its start and while it fine-tunes") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  std::atomic<bool> cancel{true};
  CHECK(c->capture(random_tokens(50, o.vocabulary, 1), cancel).code == "cancelled");
  hear(*c, o.vocabulary, 5);
  Predictors p;
  CHECK(c->fit(of(PredictorSource::same, 8), {}, cancel, p).code == "cancelled");
  CHECK(p.mlp.empty());
  CHECK(c->fitted(p).code == "bad-request");
  cancel = false;
  int reports = 0;
  FitOptions f = of(PredictorSource::same, 8);
  f.fine_tune_seconds = 1000;
  CHECK(c->fit(f, [&](const FitProgress&) { cancel = ++reports == 3; }, cancel, p).code == "cancelled");
  CHECK(p.mlp.size() == o.layers);
  CHECK(reports <= 5);
  std::vector<ScoreThreshold> at;
  CHECK(c->thresholds(0.9f, false, at).ok());
}

TEST_CASE("calibration: sessions go on meanwhile") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  const auto c = open(*engine);
  std::unique_ptr<Session> session;
  REQUIRE(engine->new_session(256, session).ok());
  const auto tokens = random_tokens(60, o.vocabulary, 2);
  std::vector<float> alone, beside;
  REQUIRE(session->logits(tokens, alone).ok());
  std::thread calibrating([&] {
    for (uint32_t i = 0; i < 4; i++) (void)c->capture(random_tokens(200, o.vocabulary, 40 + i), never);
    Predictors p;
    (void)c->fit(of(PredictorSource::previous, 8, 20), {}, never, p);
  });
  for (int i = 0; i < 10; i++) {
    REQUIRE(session->logits(tokens, beside).ok());
    CHECK(same_bits(alone, beside));
  }
  calibrating.join();
}

TEST_CASE("calibration: misuse is refused in a sentence") {
  const TinyOptions o = relu();
  const TinyModel model(o);
  const auto engine = load(model);
  std::unique_ptr<Calibration> none;
  CalibrationOptions bad = listening({});
  CHECK(engine->new_calibration(bad, none).code == "bad-request");
  bad = listening(), bad.context_length = 1;
  CHECK(engine->new_calibration(bad, none).code == "bad-request");
  bad = listening(), bad.moment_bytes = 1000;
  CHECK(engine->new_calibration(bad, none).code == "out-of-memory");
  TinyOptions packed = relu();
  packed.activation = Activation::silu, packed.down_by_neuron = false;
  const TinyModel silu(packed);
  std::shared_ptr<Engine> without;
  REQUIRE(Engine::load(silu.spec, {}, without).ok());
  CHECK(without->new_calibration(listening(), none).code == "bad-request");

  const auto c = open(*engine, listening({PredictorSource::previous}));
  CHECK(c->capture({}, never).code == "bad-request");
  CHECK(c->capture(std::vector<int32_t>{1, (int32_t)o.vocabulary}, never).code == "bad-request");
  CHECK(c->capture(std::vector<int32_t>{1, -1}, never).code == "bad-request");
  CHECK(c->capture(random_tokens(300, o.vocabulary, 1), never).code == "context-overflow");
  Predictors p;
  std::vector<ScoreThreshold> at;
  CHECK(c->fit(of(PredictorSource::previous, 8), {}, never, p).code == "bad-request");  // nothing heard
  CHECK(c->thresholds(0.9f, false, at).code == "bad-request");
  hear(*c, o.vocabulary, 3);
  CHECK(c->fit(of(PredictorSource::attention, 8), {}, never, p).code == "bad-request");
  CHECK(c->fit(of(PredictorSource::previous, 0), {}, never, p).code == "bad-request");
  CHECK(c->factor_gates(8, true, p).code == "bad-request");
  REQUIRE(c->factor_gates(8, false, p).ok());
  CHECK(c->judge(p, 0.9f, false, at).code == "bad-request");  // reads what was not heard
  REQUIRE(c->fit(of(PredictorSource::previous, 8), {}, never, p).ok());
  CHECK(c->judge(p, 1.5f, false, at).code == "bad-request");
  Predictors broken = p;
  broken.mlp[1]->b[3] = kNan;
  CHECK(c->judge(broken, 0.9f, false, at).code == "bad-request");
  broken = p, broken.mlp[2]->a.pop_back();
  CHECK(c->judge(broken, 0.9f, false, at).code == "bad-request");
  broken = p, broken.mlp.pop_back();
  CHECK(c->judge(broken, 0.9f, false, at).code == "bad-request");
}

TEST_CASE("calibration: files of another model, cut short or changed, are refused and change nothing") {
  const TinyOptions o = relu();
  const TinyModel model(o), other_model(relu(2));
  const auto engine = load(model), other_engine = load(other_model);
  const auto c = open(*engine);
  hear(*c, o.vocabulary, 3);
  Predictors p;
  REQUIRE(c->fit(of(PredictorSource::same, 4, 8), {}, never, p).ok());
  const auto path = temporary_path();
  REQUIRE(c->save(path.string()).ok());
  CHECK(open(*other_engine)->restore(path.string()).code == "bad-request");
  CHECK(c->restore((path.string() + ".nowhere")).code == "not-found");
  CHECK(c->save("/nowhere/at/all").code == "bad-request");

  std::ifstream in(path, std::ios::binary);
  const std::vector<char> good((std::istreambuf_iterator<char>(in)), {});
  in.close();  // an open file cannot be removed on Windows
  const auto with = [&](auto change) {
    std::vector<char> bytes = good;
    change(bytes);
    std::ofstream(path, std::ios::binary).write(bytes.data(), (std::streamsize)bytes.size());
    return c->restore(path.string()).code;
  };
  CHECK(with([](auto&) {}) == "");
  for (size_t keep : {size_t{0}, size_t{5}, size_t{20}, good.size() / 3, good.size() - 1}) CHECK(with([&](auto& b) { b.resize(keep); }) == "bad-request");
  CHECK(with([](auto& b) { b.push_back(0); }) == "bad-request");
  Random random(8);
  for (int i = 0; i < 40; i++) {
    const size_t at = 8 + random.below((uint32_t)good.size() - 8);
    CHECK(with([&](auto& b) { b[at] = (char)(b[at] ^ (1 << random.below(8))); }) == "bad-request");
  }
  for (size_t at = 8; at < 600; at++) CHECK(with([&](auto& b) { b[at] = (char)0xFF, b[at + 1] = (char)~b[at + 1]; }) == "bad-request");
  Predictors kept;
  REQUIRE(c->fitted(kept).ok());
  CHECK(equal(kept, p));
  std::filesystem::remove(path);
}
