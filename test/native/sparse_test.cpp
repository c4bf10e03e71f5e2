// Skipping neurons: what may not change a bit, what may, and by how much.
#include <algorithm>
#include <thread>

#include "predictors.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

std::shared_ptr<Engine> load(const TinyModel& model, unsigned threads, std::optional<Isa> isa = {}) {
  std::shared_ptr<Engine> engine;
  LoadOptions options;
  options.threads = threads;
  options.isa = isa;
  options.by_neuron = true;
  REQUIRE(Engine::load(model.spec, options, engine).ok());
  return engine;
}

std::unique_ptr<Session> open(Engine& engine) {
  std::unique_ptr<Session> session;
  REQUIRE(engine.new_session(512, session).ok());
  return session;
}

Plan plan_of(uint32_t layers, MlpRoute route, float gate = 0) {
  Plan plan;
  plan.layers.resize(layers, {.mlp = route, .gate_threshold = gate});
  return plan;
}

// Logits after every token, each run as a decode step.
std::vector<float> decode(Session& session, std::span<const int32_t> tokens) {
  std::vector<float> all, nll;
  for (size_t n = 1; n < tokens.size(); n++) {
    REQUIRE(session.score(tokens.first(n + 1), (uint32_t)(n - 1), nll).ok());
    all.insert(all.end(), nll.begin(), nll.end());
  }
  return all;
}

const TinyOptions kRelu{.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0, .activation = Activation::relu, .layers = 3, .width = 192, .ffn_width = 320, .down_by_neuron = true};

}  // namespace

TEST_CASE("sparse: exact gives dense's bits where skipped neurons are zeros") {
  for (Activation activation : {Activation::relu, Activation::drelu})
    for (TensorType type : {TensorType::Q4_0, TensorType::Q5_1, TensorType::Q8_0, TensorType::F16})
      for (bool by_neuron : {false, true})
        for (Isa isa : supported_isas()) {
          TinyOptions o = kRelu;
          o.activation = activation, o.matrices = type, o.down_by_neuron = by_neuron;
          const TinyModel model(o);
          const auto tokens = random_tokens(24, o.vocabulary, 5);
          const auto engine = load(model, 2, isa);
          const auto session = open(*engine);
          const std::vector<float> dense = decode(*session, tokens);
          const Plan exact = plan_of(o.layers, MlpRoute::exact);
          REQUIRE(session->set_plan(&exact).ok());
          CHECK(same_bits(decode(*session, tokens), dense));
        }
}

TEST_CASE("sparse: the same bits for any number of threads and as a batch") {
  for (float gate : {0.0f, 0.2f, 1e9f}) {
    const TinyModel model(kRelu);
    const auto tokens = random_tokens(60, kRelu.vocabulary, 6);
    const Plan plan = plan_of(kRelu.layers, MlpRoute::exact, gate);
    std::vector<float> first;
    for (unsigned threads : {1u, 2u, 3u, 7u}) {
      const auto engine = load(model, threads);
      const auto session = open(*engine);
      REQUIRE(session->set_plan(&plan).ok());
      const std::vector<float> steps = decode(*session, tokens);
      std::vector<float> batch;
      const auto other = open(*engine);
      REQUIRE(other->set_plan(&plan).ok());
      REQUIRE(other->score(tokens, 0, batch).ok());
      CHECK(same_bits(steps, batch));
      if (first.empty()) first = steps;
      CHECK(same_bits(steps, first));
    }
  }
}

// Random predictors of all sources; layer 0 has nothing before it.
Predictors random_predictors(const TinyOptions& o, uint32_t rank, Random& random) {
  Predictors p;
  for (uint32_t i = 0; i < o.layers; i++) {
    const PredictorSource source = i == 0 ? PredictorSource::attention : (PredictorSource)(i % 3);
    p.mlp.push_back(LowRankPredictor{source, rank, i % 2 == 0, random.normals(rank * o.width), random.normals(o.ffn_width * rank), random.normals(o.ffn_width)});
    p.heads.push_back(LowRankPredictor{i % 2 ? PredictorSource::previous : PredictorSource::attention, rank, false, random.normals(rank * o.width), random.normals(o.heads * rank), {}});
  }
  return p;
}

TEST_CASE("sparse: screened and predicted layers give the same bits as steps, as a batch and for any number of threads") {
  for (const uint32_t head_width : {16u, 48u, 64u})  // a head is less than, not whole and whole blocks of the output projection
  for (MlpRoute route : {MlpRoute::screened, MlpRoute::predicted})
    for (Isa isa : supported_isas()) {
      TinyOptions o = kRelu;
      o.layers = 4, o.heads = 4, o.kv_heads = 2, o.head_width = head_width;
      const TinyModel model(o);
      const auto tokens = random_tokens(60, o.vocabulary, 9);
      std::vector<float> first;
      for (unsigned threads : {1u, 2u, 5u}) {
        Random random(10);
        const auto engine = load(model, threads, isa);
        REQUIRE(engine->set_predictors(random_predictors(o, 24, random)).ok());
        Plan plan = plan_of(o.layers, route);
        for (LayerPlan& l : plan.layers) l.head_threshold = 0.0f;
        plan.vocabulary_bits = 4, plan.vocabulary_margin = 0.5f;
        const auto session = open(*engine), other = open(*engine);
        REQUIRE(session->set_plan(&plan).ok());
        REQUIRE(other->set_plan(&plan).ok());
        const std::vector<float> steps = decode(*session, tokens);
        std::vector<float> batch;
        REQUIRE(other->score(tokens, 0, batch).ok());
        CHECK(same_bits(steps, batch));
        if (first.empty()) first = steps;
        CHECK(same_bits(steps, first));
      }
    }
}

TEST_CASE("sparse: naming every neuron and every word leaves nothing out") {
  const TinyModel model(kRelu);
  const auto tokens = random_tokens(30, kRelu.vocabulary, 11);
  const auto engine = load(model, 2);
  Random random(12);
  REQUIRE(engine->set_predictors(random_predictors(kRelu, 32, random)).ok());
  const auto session = open(*engine);
  const std::vector<float> dense = decode(*session, tokens);
  for (MlpRoute route : {MlpRoute::screened, MlpRoute::predicted}) {
    Plan plan = plan_of(kRelu.layers, route);
    for (LayerPlan& l : plan.layers) l.score_threshold = -1e30f, l.head_threshold = -1e30f;
    plan.vocabulary_bits = 2, plan.vocabulary_margin = 1e30f;
    REQUIRE(session->set_plan(&plan).ok());
    CHECK(same_bits(decode(*session, tokens), dense));
  }
}

TEST_CASE("sparse: a comparison with itself finds nothing, with another plan what scores say") {
  const TinyModel model(kRelu);
  const auto tokens = random_tokens(300, kRelu.vocabulary, 13);
  const auto engine = load(model, 2);
  const auto session = open(*engine), other = open(*engine);
  Comparison c;
  REQUIRE(session->compare(*other, nullptr, tokens, 20, c).ok());
  CHECK(c.positions == 279);
  CHECK(c.agree == 279);
  CHECK(c.kl == 0);
  CHECK(c.nll == c.reference_nll);
  const Plan plan = plan_of(kRelu.layers, MlpRoute::exact, 0.3f);
  REQUIRE(session->set_plan(&plan).ok());
  REQUIRE(session->compare(*other, nullptr, tokens, 20, c).ok());
  CHECK(c.kl > 0);
  CHECK(c.agree < 279);
  std::vector<float> nll;
  double sum = 0;
  REQUIRE(session->score(tokens, 20, nll).ok());
  for (float v : nll) sum += v;
  CHECK(c.nll == doctest::Approx(sum).epsilon(1e-6));
  CHECK(session->compare(*session, nullptr, tokens, 0, c).code == "bad-request");
}

TEST_CASE("sparse: decode steps are counted") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto session = open(*engine);
  double prefill = 0, steps = 0;
  REQUIRE(session->bench(8, 20, prefill, steps).ok());
  Activity dense = session->activity();
  CHECK(dense.tokens == 20);
  CHECK(dense.bytes == 20 * engine->info().weight_bytes_per_token);
  for (uint64_t n : dense.computed) CHECK(n == 20 * kRelu.ffn_width);
  const Plan plan = plan_of(kRelu.layers, MlpRoute::exact);
  REQUIRE(session->set_plan(&plan).ok());
  REQUIRE(session->bench(8, 20, prefill, steps).ok());
  const Activity exact = session->activity();
  CHECK(exact.bytes < dense.bytes);
  for (size_t i = 0; i < exact.computed.size(); i++) CHECK(exact.computed[i] < dense.computed[i]);
  CHECK(session->activity().tokens == 0);
}

TEST_CASE("sparse: heads are skipped as predicted, and counted") {
  TinyOptions o = kRelu;
  o.architecture = "opt", o.kv_heads = o.heads = 6, o.head_width = 32, o.trained_context = 512, o.down_by_neuron = false;
  const TinyModel model(o);
  const auto engine = load(model, 2);
  Random random(16);
  REQUIRE(engine->set_predictors(random_predictors(o, 8, random)).ok());
  const auto session = open(*engine);
  uint64_t before = ~0ull, bytes = ~0ull;
  for (float threshold : {-1e30f, -3.0f, 0.0f, 3.0f, 1e30f}) {
    Plan plan = plan_of(o.layers, MlpRoute::dense);
    for (LayerPlan& l : plan.layers) l.head_threshold = threshold;
    REQUIRE(session->set_plan(&plan).ok());
    double prefill = 0, steps = 0;
    session->activity();
    REQUIRE(session->bench(8, 20, prefill, steps).ok());
    const Activity a = session->activity();
    uint64_t heads = 0;
    for (uint64_t n : a.heads) heads += n;
    if (threshold < -1e29f) CHECK(heads == 20ull * o.layers * o.heads);
    if (threshold > 1e29f) CHECK(heads == 0);
    CHECK(heads <= before);
    CHECK(a.bytes <= bytes);
    before = heads, bytes = a.bytes;
  }
}

TEST_CASE("sparse: predictors that do not fit are refused") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  Random random(14);
  const Predictors good = random_predictors(kRelu, 16, random);
  const auto refused = [&](auto&& change) {
    Predictors p = good;
    change(p);
    return engine->set_predictors(p).code == "bad-request";
  };
  CHECK(refused([](Predictors& p) { p.mlp.pop_back(); }));
  CHECK(refused([](Predictors& p) { p.mlp[1]->a.pop_back(); }));
  CHECK(refused([](Predictors& p) { p.mlp[1]->b.push_back(0); }));
  CHECK(refused([](Predictors& p) { p.mlp[1]->bias.pop_back(); }));
  CHECK(refused([](Predictors& p) { p.mlp[1]->rank = 0; }));
  CHECK(refused([](Predictors& p) { p.mlp[1]->a[3] = kNan; }));
  CHECK(refused([](Predictors& p) { p.mlp[0]->source = PredictorSource::previous; }));
  CHECK(engine->set_predictors(good).ok());
}

TEST_CASE("sparse: a higher threshold computes fewer neurons and strays further") {
  const TinyModel model(kRelu);
  const auto tokens = random_tokens(60, kRelu.vocabulary, 7);
  const auto engine = load(model, 2);
  const auto session = open(*engine);
  const std::vector<float> dense = decode(*session, tokens);
  double before = -1;
  for (float gate : {0.0f, 0.05f, 0.3f, 1e9f}) {
    const Plan plan = plan_of(kRelu.layers, MlpRoute::exact, gate);
    REQUIRE(session->set_plan(&plan).ok());
    const std::vector<float> sparse = decode(*session, tokens);
    double distance = 0;
    for (size_t i = 0; i < dense.size(); i++) distance += std::fabs(sparse[i] - dense[i]);
    CHECK(distance >= before);
    before = distance;
  }
  CHECK(before > 0.1);
}

TEST_CASE("sparse: the plan changes while a reply is written") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto session = open(*engine);
  const Plan exact = plan_of(kRelu.layers, MlpRoute::exact);
  std::atomic<bool> done{false};
  std::thread slider([&] {
    for (int i = 0; !done; i++) CHECK(session->set_plan(i % 2 ? &exact : nullptr).ok());
  });
  GenerateOptions options;
  options.max_tokens = 200;
  std::vector<int32_t> moved, still;
  GenerateResult result;
  const std::atomic<bool> cancel{false};
  const std::vector<int32_t> prompt = {1, 2, 3};
  CHECK(session->generate(prompt, options, {{}, [&](int32_t id, auto) { moved.push_back(id); }}, cancel, result).ok());
  done = true;
  slider.join();
  const auto other = open(*engine);
  CHECK(other->generate(prompt, options, {{}, [&](int32_t id, auto) { still.push_back(id); }}, cancel, result).ok());
  CHECK(moved == still);  // both stops give the same text
}

TEST_CASE("sparse: speculation writes dense's text, greedily and sampled, whatever drafts it") {
  for (Activation activation : {Activation::relu, Activation::silu}) {
    TinyOptions o = kRelu;
    o.activation = activation, o.down_by_neuron = activation == Activation::relu;
    const TinyModel model(o);
    const auto engine = load(model, 2);
    const std::vector<int32_t> prompt = {5, 6, 7, 5, 6, 7};
    const std::atomic<bool> cancel{false};
    for (float temperature : {0.0f, 0.9f})
      for (float penalty : {1.0f, 1.2f}) {
        GenerateOptions options;
        options.max_tokens = 150;
        options.temperature = temperature;
        options.repeat_penalty = penalty;
        options.seed = 7;
        const auto write = [&](Session& session, GenerateResult& result) {
          std::vector<int32_t> text;
          CHECK(session.generate(prompt, options, {{}, [&](int32_t id, auto) { text.push_back(id); }}, cancel, result).ok());
          return text;
        };
        GenerateResult result;
        const std::vector<int32_t> dense = write(*open(*engine), result);
        CHECK(result.drafted_tokens == 0);
        options.speculate = true;
        CHECK(write(*open(*engine), result) == dense);
        for (float gate : {0.0f, 0.2f, 1e9f}) {
          options.draft = std::make_shared<const Plan>(plan_of(o.layers, MlpRoute::exact, gate));
          const auto session = open(*engine);
          CHECK(write(*session, result) == dense);
          CHECK(write(*session, result) == dense);  // again, on the cache that the first reply left
          CHECK(result.accepted_tokens <= result.drafted_tokens);
        }
      }
  }
}

TEST_CASE("sparse: correction brings later tokens back to dense") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto tokens = random_tokens(200, kRelu.vocabulary, 15);
  const auto session = open(*engine), other = open(*engine);
  double before = 0;
  for (uint32_t every : {0u, 64u, 8u, 1u}) {
    Plan plan = plan_of(kRelu.layers, MlpRoute::exact, 0.5f);
    plan.correct_every = every;
    REQUIRE(session->set_plan(&plan).ok());
    Comparison c;
    REQUIRE(session->compare(*other, nullptr, tokens, 100, c).ok());
    if (every) CHECK(c.kl < before);
    before = c.kl;
    std::vector<float> nll;
    double sum = 0;
    const auto fresh = open(*engine);  // the same pieces of text
    REQUIRE(fresh->set_plan(&plan).ok());
    REQUIRE(fresh->score(tokens, 100, nll).ok());
    for (float v : nll) sum += v;
    CHECK(sum == doctest::Approx(c.nll).epsilon(1e-5));
  }
}

TEST_CASE("sparse: plans that do not fit are refused and change nothing") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto session = open(*engine);
  const Plan shorter = plan_of(kRelu.layers - 1, MlpRoute::exact);
  CHECK(session->set_plan(&shorter).code == "bad-request");
  Plan nan = plan_of(kRelu.layers, MlpRoute::exact, kNan);
  CHECK(session->set_plan(&nan).code == "bad-request");
  std::shared_ptr<Engine> packed;
  const TinyModel silu({.layers = 3});
  REQUIRE(Engine::load(silu.spec, {}, packed).ok());
  const auto dense = open(*packed);
  const Plan exact = plan_of(3, MlpRoute::exact);
  CHECK(dense->set_plan(&exact).code == "bad-request");
  CHECK(dense->set_plan(nullptr).ok());
}

TEST_CASE("predictors: the packed ones say what the rounded factors say in double precision") {
  for (Isa isa : supported_isas())
    for (uint32_t rank : {1u, 24u, 64u, 130u}) {
      const TinyModel model(kRelu);
      const auto engine = load(model, 3, isa);
      Random random(4);
      Predictors p = random_predictors(kRelu, rank, random);
      REQUIRE(engine->set_predictors(p).ok());
      round_as_packed(p);
      const uint32_t width = kRelu.width, tokens = 5;
      const std::vector<float> x = random.normals(tokens * width);
      for (uint32_t layer = 0; layer < kRelu.layers; layer++)
        for (bool heads : {false, true}) {
          const LowRankPredictor& of = *(heads ? p.heads : p.mlp)[layer];
          const uint32_t rows = (uint32_t)(of.b.size() / rank);
          std::vector<float> scores;
          REQUIRE(engine->predict(layer, heads, x, scores).ok());
          REQUIRE(scores.size() == (size_t)tokens * rows);
          double error = 0, norm = 0;
          for (uint32_t t = 0; t < tokens; t++) {
            std::vector<double> hidden(rank);
            for (uint32_t r = 0; r < rank; r++) {
              for (uint32_t c = 0; c < width; c++) hidden[r] += (double)of.a[r * width + c] * x[t * width + c];
              if (of.relu) hidden[r] = std::max(0.0, hidden[r]);
            }
            for (uint32_t i = 0; i < rows; i++) {
              double score = of.bias.empty() ? 0 : of.bias[i];
              for (uint32_t r = 0; r < rank; r++) score += (double)of.b[i * rank + r] * hidden[r];
              error += (scores[t * rows + i] - score) * (scores[t * rows + i] - score), norm += score * score;
            }
          }
          CHECK(std::sqrt(error / norm) < 1e-4);
        }
      std::vector<float> scores;
      CHECK(engine->predict(kRelu.layers, false, x, scores).code == "bad-request");
      CHECK(engine->predict(0, false, std::span(x).first(width - 1), scores).code == "bad-request");
    }
}
