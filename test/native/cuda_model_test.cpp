// The whole way of a token on a GPU, model by model, against naive arithmetic: on the fake driver everywhere (host logic), on the real one where a GPU is (kernels).
#include "cuda_emulator.h"
#include "cuda_models.h"

using namespace hunch;

namespace {

// The error of the last token's logits, with the routes that the plan has.
double run(const TinyOptions& o, const Plan* plan = nullptr, uint32_t tokens = 9) {
  TinyModel tiny(o);
  Loaded l = load(tiny, o);
  if (plan) REQUIRE(l.session->set_plan(plan).ok());
  const std::vector<int32_t> ids = random_tokens(tokens, o.vocabulary, 5);
  std::vector<float> logits(o.vocabulary, kNan);
  const Status s = l.session->extend(ids, 0, logits.data(), never);
  REQUIRE_MESSAGE(s.ok(), s.message);
  return error(logits, tiny.forward(ids).back());
}

Plan plan_with(uint32_t layers, MlpRoute route, float gate = 0, float score = 0) {
  Plan p;
  for (uint32_t i = 0; i < layers; i++) p.layers.push_back({route, gate, score, {}});
  return p;
}

void every_model() {
  for (const Case& c : cases()) {
    INFO(std::string(c.name));
    // Rounded activations: where float order tips one over, it moves by a whole step.
    CHECK(run(c.o) < (cuda::is_float(cuda::format_of(c.o.matrices)) ? 2e-3 : 3e-2));
  }
}

void long_context() {
  TinyOptions o;
  o.matrices = TensorType::F16;
  CHECK(run(o, nullptr, 400) < 2e-3);
  o.architecture = "gemma3", o.activation = Activation::gelu, o.window = 150, o.window_pattern = 2;
  CHECK(run(o, nullptr, 300) < 2e-3);
}

void by_neuron() {
  for (TensorType type : {TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q4_0, TensorType::Q4_1, TensorType::Q5_0, TensorType::Q8_0, TensorType::IQ4_NL})
    for (bool opt : {false, true})
      for (bool turned : {false, true}) {
        if (opt && turned) continue;  // the naive model of OPT has its down rows as the file's matrices
        TinyOptions o;
        o.architecture = opt ? "opt" : "llama";
        o.kv_heads = opt ? 4 : 2;
        o.activation = Activation::relu;
        o.matrices = type, o.down_by_neuron = turned;
        o.ffn_width = 160, o.width = 96, o.head_width = 32;
        INFO(std::string(tensor_type_name(type)));
        CAPTURE(opt);
        CAPTURE(turned);
        const Plan exact = plan_with(o.layers, MlpRoute::exact);
        CHECK(run(o, &exact) < 3e-2);
        if (turned) CHECK(run(o) < 3e-2);
      }
  TinyOptions o;  // K-quants by neuron, drelu, and SiLU with a threshold of nothing
  o.width = 256, o.ffn_width = 512, o.head_width = 64, o.matrices = TensorType::Q4_K, o.activation = Activation::drelu, o.down_by_neuron = true;
  const Plan exact = plan_with(o.layers, MlpRoute::exact);
  CHECK(run(o, &exact) < 3e-2);
  o.activation = Activation::silu, o.down_by_neuron = false, o.by_neuron = true, o.matrices = TensorType::F16;
  CHECK(run(o, &exact) < 3e-2);
}

// A predictor that is right: a = the gate itself is what it scores, of full rank.
Predictors all_named(const TinyOptions& o, PredictorSource source, bool heads) {
  Random random(3);
  Predictors p;
  p.mlp.resize(o.layers), p.heads.resize(o.layers);
  for (uint32_t i = 0; i < o.layers; i++) {
    LowRankPredictor low{source, 20, true, random.normals(20 * o.width, 0.05), random.normals((size_t)20 * o.ffn_width, 0.1), {}};
    if (i == 0 && source == PredictorSource::previous) low.source = PredictorSource::attention;
    p.mlp[i] = low;
    if (!heads) continue;
    LowRankPredictor h{i == 0 ? PredictorSource::attention : PredictorSource::previous, 12, false, random.normals(12 * o.width, 0.05), random.normals(12 * o.heads, 0.1), random.normals(o.heads, 0.1)};
    p.heads[i] = h;
  }
  return p;
}

void predicted() {
  for (PredictorSource source : {PredictorSource::previous, PredictorSource::attention, PredictorSource::same})
    for (TensorType type : {TensorType::F16, TensorType::Q4_0}) {
      TinyOptions o;
      o.activation = Activation::relu, o.matrices = type, o.down_by_neuron = true, o.layers = 3;
      o.ffn_width = 160, o.width = 96, o.head_width = 32;
      TinyModel tiny(o);
      Loaded l = load(tiny, o);
      REQUIRE(l.model->set_predictors(all_named(o, source, true)).ok());
      const std::vector<int32_t> ids = random_tokens(9, o.vocabulary, 5);
      const std::vector<double> want = tiny.forward(ids).back();
      std::vector<float> logits(o.vocabulary, kNan);
      // A threshold below every score names all neurons and keeps all heads: dense's result. The same stages then run with another threshold.
      Plan p = plan_with(o.layers, MlpRoute::predicted, 0, -1e30f);
      for (LayerPlan& layer : p.layers) layer.head_threshold = -1e30f;
      REQUIRE(l.session->set_plan(&p).ok());
      REQUIRE(l.session->extend(ids, 0, logits.data(), never).ok());
      CAPTURE((int)source);
      INFO(std::string(tensor_type_name(type)));
      CHECK(error(logits, want) < 3e-3);
      std::vector<uint64_t> neurons, heads;
      REQUIRE(l.session->counts(neurons, heads).ok());
      for (uint64_t n : neurons) CHECK(n == 9ull * o.ffn_width);
      for (uint64_t n : heads) CHECK(n == 9ull * o.heads);
      for (LayerPlan& layer : p.layers) layer.score_threshold = 0, layer.head_threshold = 0;
      REQUIRE(l.session->set_plan(&p).ok());
      REQUIRE(l.session->extend(ids, 0, logits.data(), never).ok());
      for (float v : logits) CHECK(std::isfinite(v));
      REQUIRE(l.session->counts(neurons, heads).ok());
      for (uint64_t n : neurons) CHECK((n > 0 && n < 9ull * o.ffn_width));
      for (uint64_t n : heads) CHECK(n < 9ull * o.heads);
      const std::vector<float> sparse = logits;  // the same again, to the bit
      REQUIRE(l.session->extend(ids, 0, logits.data(), never).ok());
      CHECK(same_bits(logits, sparse));
    }
}

void texts() {
  TinyOptions o;
  o.matrices = TensorType::F16;
  TinyModel tiny(o);
  Loaded l = load(tiny, o, 64);
  const std::vector<int32_t> ids = random_tokens(20, o.vocabulary, 7);
  const auto want = tiny.forward(ids);
  std::vector<float> nll(ids.size() - 1, kNan);
  std::vector<uint8_t> likeliest(ids.size() - 1, 9);
  REQUIRE(l.session->score(ids, 0, nll.data(), likeliest.data()).ok());
  for (size_t i = 0; i + 1 < ids.size(); i++) {
    double sum = 0;
    for (double v : want[i]) sum += std::exp(v);
    CHECK(nll[i] == doctest::Approx(std::log(sum) - want[i][(size_t)ids[i + 1]]).epsilon(3e-3));
    CHECK(likeliest[i] == (std::max_element(want[i].begin(), want[i].end()) - want[i].begin() == ids[i + 1]));
  }
  // Greedy text, then the same with the third token as the one to stop at.
  std::vector<int32_t> text;
  uint32_t drawn = 0;
  bool stopped = false;
  const auto take = [&](int32_t id) { return text.push_back(id), true; };
  REQUIRE(l.session->greedy(ids, 0, 12, {}, take, never, drawn, stopped).ok());
  CHECK(drawn == 12);
  CHECK(text.size() == 12);
  CHECK(!stopped);
  std::vector<int32_t> all = ids;
  for (int32_t id : text) {
    const std::vector<double> last = tiny.forward(all).back();
    CHECK(last[(size_t)id] > *std::max_element(last.begin(), last.end()) - 1e-2);
    all.push_back(id);
  }
  const std::vector<int32_t> first = text;
  size_t until = 2;
  while (std::find(first.begin(), first.begin() + (ptrdiff_t)until, first[until]) != first.begin() + (ptrdiff_t)until) until++;
  text.clear();
  const std::vector<int32_t> stop = {first[until]};
  REQUIRE(l.session->greedy(ids, 0, 12, stop, take, never, drawn, stopped).ok());
  CHECK(stopped);
  CHECK(drawn == until + 1);
  CHECK(text == std::vector<int32_t>(first.begin(), first.begin() + (ptrdiff_t)until));
  // To the context's end: 64 positions hold 20 + 44, and one more token comes of the last.
  text.clear();
  REQUIRE(l.session->greedy(ids, 0, 100, {}, take, never, drawn, stopped).ok());
  CHECK(drawn == 45);
}

}  // namespace

TEST_CASE("cuda host: every architecture and type on the fake driver") {
  if (cuda::no_gpu()) MESSAGE("no GPU: 6 cases of kernels not run");
  cuda::FakeDriver fake;
  every_model();
  CHECK(fake.gpu().allocated == 0);
}
TEST_CASE("cuda host: MLPs by neuron on the fake driver") {
  cuda::FakeDriver fake;
  by_neuron();
  predicted();
  CHECK(fake.gpu().allocated == 0);
}
TEST_CASE("cuda host: scores, greedy texts, stop tokens on the fake driver") {
  cuda::FakeDriver fake;
  texts();
  long_context();
}

TEST_CASE("cuda kernels: every architecture and type" * doctest::skip(cuda::no_gpu())) { every_model(); }
TEST_CASE("cuda kernels: long contexts and windows" * doctest::skip(cuda::no_gpu())) { long_context(); }
TEST_CASE("cuda kernels: MLPs by neuron" * doctest::skip(cuda::no_gpu())) { by_neuron(); }
TEST_CASE("cuda kernels: predicted neurons and heads" * doctest::skip(cuda::no_gpu())) { predicted(); }
TEST_CASE("cuda kernels: scores, greedy texts, stop tokens" * doctest::skip(cuda::no_gpu())) { texts(); }
