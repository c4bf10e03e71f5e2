// Models larger than the GPU's memory: neurons or layers on the CPU, in the middle of a token. On the fake driver the GPU is a thread like any other, so that
// flags, lanes, faults and ends run as they do with a real one.
#include <algorithm>
#include <numeric>

#include "../../native/src/cuda/placement.h"
#include "cuda_emulator.h"
#include "predictors.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

TinyOptions relu_options() {
  TinyOptions o;
  o.activation = Activation::relu, o.matrices = TensorType::F16, o.layers = 3, o.ffn_width = 160;
  return o;
}

std::shared_ptr<Engine> open(const TinyModel& tiny, const std::string& device, uint64_t budget = 0, unsigned threads = 2, std::vector<std::vector<float>> frequencies = {}) {
  LoadOptions o;
  o.threads = threads, o.device = device, o.gpu_budget = budget, o.by_neuron = tiny.by_neuron();
  o.frequencies = std::move(frequencies);
  std::shared_ptr<Engine> engine;
  const Status s = Engine::load(tiny.spec, o, engine);
  REQUIRE_MESSAGE(s.ok(), s.message);
  return engine;
}
std::unique_ptr<Session> session_of(const std::shared_ptr<Engine>& engine, uint32_t context = 96) {
  std::unique_ptr<Session> s;
  const Status status = engine->new_session(context, s);
  REQUIRE_MESSAGE(status.ok(), status.message);
  return s;
}

struct Text {
  Status status;
  GenerateResult result;
  std::vector<int32_t> ids;
};
Text write(Session& session, const std::vector<int32_t>& prompt, const GenerateOptions& o, std::atomic<bool>* cancel = nullptr, size_t cancel_after = 0) {
  Text t;
  std::atomic<bool> never{false};
  GenerateEvents events;
  events.token = [&](int32_t id, std::span<const uint8_t>) {
    t.ids.push_back(id);
    if (cancel && t.ids.size() == cancel_after) *cancel = true;
  };
  t.status = session.generate(prompt, o, events, cancel ? *cancel : never, t.result);
  return t;
}

Plan plan_with(uint32_t layers, MlpRoute route, float score = 0) {
  Plan p;
  for (uint32_t i = 0; i < layers; i++) p.layers.push_back({route, 0, score, {}});
  return p;
}

Predictors predictors(const ModelSpec& m, PredictorSource source) {
  Random random(11);
  Predictors p;
  for (uint32_t i = 0; i < m.layers; i++) {
    LowRankPredictor low{i ? source : PredictorSource::attention, 8, false, {}, {}, {}};
    // Scores far from the threshold: the sides round differently, and a neuron that only one of them names would show.
    low.a = random.normals((size_t)8 * m.width, 0.125), low.b = random.normals((size_t)m.ffn_width * 8, 0.01);
    for (uint32_t n = 0; n < m.ffn_width; n++) low.bias.push_back(random.below(4) ? 2.0f : -2.0f);
    round_as_packed(low);
    p.mlp.push_back(low);
  }
  return p;
}

struct Split {
  uint32_t cpu_layers = 0, none = 0, some = 0, all = 0;  // layers
};
Split split_of(Engine& e, const ModelSpec& m) {
  Split s;
  const Residency r = e.residency();
  REQUIRE(r.gpu.size() == m.layers);
  for (uint32_t i = 0; i < m.layers; i++) {
    CHECK(r.gpu[i] + r.memory[i] == m.ffn_width);
    (r.gpu[i] == 0 ? s.none : r.gpu[i] < m.ffn_width ? s.some : s.all)++;
  }
  const std::string& note = e.info().device_note;
  if (note.find("first layer runs") != std::string::npos) s.cpu_layers = 1;
  else if (note.starts_with("The first ")) s.cpu_layers = (uint32_t)std::stoul(note.substr(10));
  return s;
}

// Texts, scores and logits of a divided model beside the CPU's alone.
void same_as_the_cpu(const TinyModel& tiny, const std::shared_ptr<Engine>& whole, const std::shared_ptr<Engine>& divided, const std::vector<const Plan*>& plans) {
  const std::unique_ptr<Session> cpu = session_of(whole), gpu = session_of(divided), other = session_of(divided);
  const uint32_t vocabulary = tiny.spec.vocabulary;
  const std::vector<int32_t> prompt = random_tokens(21, vocabulary, 3), text = random_tokens(40, vocabulary, 4);
  for (const Plan* plan : plans) {
    for (Session* s : {cpu.get(), gpu.get(), other.get()}) REQUIRE(s->set_plan(plan).ok());
    GenerateOptions o;
    o.max_tokens = 20;
    const Text a = write(*cpu, prompt, o), b = write(*gpu, prompt, o);
    REQUIRE_MESSAGE(b.status.ok(), b.status.message);
    CHECK(a.ids == b.ids);
    CHECK(b.ids.size() == 20);
    o.temperature = 0.8f, o.top_k = 20, o.seed = 7;
    CHECK(write(*cpu, prompt, o).ids == write(*other, prompt, o).ids);  // two sessions take turns
    o = {};
    o.max_tokens = 20, o.stop_tokens = {a.ids[4]};
    CHECK(write(*cpu, prompt, o).ids == write(*gpu, prompt, o).ids);
    for (uint32_t from : {0u, 15u}) {
      std::vector<float> x, y;
      REQUIRE(cpu->score(text, from, x).ok());
      const Status s = gpu->score(text, from, y);
      REQUIRE_MESSAGE(s.ok(), s.message);
      REQUIRE(x.size() == y.size());
      for (size_t i = 0; i < x.size(); i++) CHECK(y[i] == doctest::Approx(x[i]).epsilon(5e-3));
    }
    std::vector<float> x, y;
    REQUIRE(cpu->logits(text, x).ok());
    REQUIRE(gpu->logits(text, y).ok());
    double off = 0, all = 0;
    for (size_t i = 0; i < x.size(); i++) off += (double)(x[i] - y[i]) * (x[i] - y[i]), all += (double)x[i] * x[i];
    CHECK(std::sqrt(off / all) < 5e-3);
    double prefill = 0, decode = 0;
    CHECK(gpu->bench(8, 8, prefill, decode).ok());
  }
  // A full context, and what only the CPU can do in between.
  for (Session* s : {cpu.get(), gpu.get()}) REQUIRE(s->set_plan(nullptr).ok());
  Comparison difference;
  REQUIRE(gpu->compare(*other, nullptr, text, 0, difference).ok());
  GenerateOptions o;
  o.max_tokens = 1000;
  const Text g = write(*cpu, prompt, o), h = write(*gpu, prompt, o);
  CHECK(h.result.reason == StopReason::context_full);
  CHECK(g.ids == h.ids);
}

// Budgets from hardly anything to almost all: every way of dividing comes up.
void every_budget() {
  TinyModel tiny(relu_options());
  const std::shared_ptr<Engine> cpu = open(tiny, "cpu"), whole = open(tiny, "cuda");
  CHECK(split_of(*whole, tiny.spec).all == 3);
  const Plan exact = plan_with(3, MlpRoute::exact), predicted = plan_with(3, MlpRoute::predicted, 0.0f);
  const uint64_t all = whole->info().gpu_bytes;
  bool layers = false, none = false, some = false, together = false;
  for (double share : {0.15, 0.3, 0.45, 0.6, 0.9}) {
    const std::shared_ptr<Engine> divided = open(tiny, "cuda", (uint64_t)(share * (double)all));
    const Split s = split_of(*divided, tiny.spec);
    INFO("share ", share, ": ", divided->info().device_note);
    // A ReLU model that is not divided lies there in two forms; the last budget holds one.
    CHECK((s.all < 3) == (share < 0.9));
    CHECK(divided->info().device_note.empty() == (s.all == 3));
    CHECK(divided->info().gpu_bytes <= (uint64_t)(share * (double)all));
    layers = layers || s.cpu_layers > 0, none = none || s.none > s.cpu_layers, some = some || s.some > 0, together = together || (s.cpu_layers > 0 && s.some > 0);
    for (PredictorSource source : {PredictorSource::attention, PredictorSource::previous, PredictorSource::same}) {
      const Predictors p = predictors(tiny.spec, source);
      REQUIRE(cpu->set_predictors(p).ok());
      REQUIRE(divided->set_predictors(p).ok());
      // The GPU's first layer does not see the CPU's last: it runs exactly, where the CPU alone predicts.
      if (source == PredictorSource::previous && s.cpu_layers > 0) continue;
      if (source == PredictorSource::attention) same_as_the_cpu(tiny, cpu, divided, {nullptr, &exact, &predicted});
      else same_as_the_cpu(tiny, cpu, divided, {&predicted});
    }
  }
  CHECK(layers);
  CHECK(none);
  CHECK(some);
  CHECK(together);
}

// Dense models, with and without norms behind their branches, of types that are quantised, and without gates.
void other_models() {
  std::vector<TinyOptions> all(5);
  all[0].matrices = TensorType::Q8_0, all[0].width = 96, all[0].ffn_width = 160, all[0].head_width = 32, all[0].tied = false;
  all[1].architecture = "gemma3", all[1].matrices = TensorType::F16, all[1].activation = Activation::gelu, all[1].window = 5, all[1].window_pattern = 3;
  all[2].architecture = "opt", all[2].matrices = TensorType::F16, all[2].activation = Activation::relu, all[2].kv_heads = 4;
  all[3] = relu_options(), all[3].matrices = TensorType::Q4_0, all[3].width = 96, all[3].head_width = 32, all[3].down_by_neuron = true;
  all[4].matrices = TensorType::F16, all[4].by_neuron = true;
  for (TinyOptions& o : all) {
    o.layers = 4;
    INFO(std::string(o.architecture), " ", std::string(tensor_type_name(o.matrices)));
    TinyModel tiny(o);
    const std::shared_ptr<Engine> cpu = open(tiny, "cpu"), whole = open(tiny, "cuda");
    for (double share : {0.4, 0.6}) {
      const std::shared_ptr<Engine> divided = open(tiny, "cuda", (uint64_t)(share * (double)whole->info().gpu_bytes));
      CHECK(split_of(*divided, tiny.spec).all < 4);
      const std::unique_ptr<Session> a = session_of(cpu), b = session_of(divided);
      const std::vector<int32_t> text = random_tokens(30, o.vocabulary, 5);
      std::vector<float> x, y;
      REQUIRE(a->score(text, 0, x).ok());
      REQUIRE(b->score(text, 0, y).ok());
      for (size_t i = 0; i < x.size(); i++) CHECK(y[i] == doctest::Approx(x[i]).epsilon((o.matrices == TensorType::Q8_0 || o.matrices == TensorType::Q4_0) ? 4e-2 : 5e-3));
      GenerateOptions g;
      g.max_tokens = 12;
      if (!(o.matrices == TensorType::Q8_0 || o.matrices == TensorType::Q4_0)) CHECK(write(*a, text, g).ids == write(*b, text, g).ids);
    }
  }
}

}  // namespace

TEST_CASE("cuda host: a divided model writes the CPU's text at every budget, on the fake driver") {
  cuda::FakeDriver fake;
  every_budget();
  CHECK(fake.gpu().joins > 1000);
}
TEST_CASE("cuda host: other models are divided, on the fake driver") {
  cuda::FakeDriver fake;
  other_models();
}
TEST_CASE("cuda kernels hybrid: a divided model writes the CPU's text at every budget" * doctest::skip(cuda::no_gpu())) {
  every_budget();
  other_models();
}

TEST_CASE("cuda host: a divided model's result does not depend on the number of lanes, and the most active neurons are on the GPU") {
  cuda::FakeDriver fake;
  TinyModel tiny(relu_options());
  std::vector<std::vector<float>> frequencies(3, std::vector<float>(160, 0.05f));
  for (auto& l : frequencies)
    for (uint32_t i = 0; i < 160; i += 3) l[i] = 0.9f;
  const uint64_t budget = open(tiny, "cuda")->info().gpu_bytes / 2;
  std::vector<float> first;
  for (unsigned threads : {1u, 2u, 3u, 5u}) {
    const std::shared_ptr<Engine> engine = open(tiny, "cuda", budget, threads, frequencies);
    CHECK(engine->info().device_note.find("most often") != std::string::npos);
    std::vector<float> logits;
    REQUIRE(session_of(engine)->logits(random_tokens(20, 97, 2), logits).ok());
    if (first.empty()) first = logits;
    // Which neurons are where depends on measured speeds; the sums of a placement do not depend on the lanes.
    if (engine->residency().gpu == open(tiny, "cuda", budget, 1, frequencies)->residency().gpu)
      for (size_t i = 0; i < first.size(); i++) CHECK(logits[i] == doctest::Approx(first[i]).epsilon(1e-4));
  }
  LoadOptions wrong;
  wrong.threads = 1, wrong.device = "cuda", wrong.gpu_budget = budget, wrong.frequencies = {{0.5f}};
  std::shared_ptr<Engine> engine;
  CHECK(Engine::load(tiny.spec, wrong, engine).code == "bad-request");
}

TEST_CASE("cuda host: a divided model ends when it is cancelled, when the GPU is lost and when the CPU is late, and goes on afterwards") {
  cuda::FakeDriver fake;
  for (double share : {0.25, 0.6}) {
    TinyModel tiny(relu_options());
    const uint64_t all = open(tiny, "cuda")->info().gpu_bytes;
    const std::shared_ptr<Engine> divided = open(tiny, "cuda", (uint64_t)(share * (double)all));
    const std::unique_ptr<Session> s = session_of(divided);
    const std::vector<int32_t> prompt = random_tokens(9, 97, 3);
    GenerateOptions o;
    o.max_tokens = 40;
    const Text want = write(*s, prompt, o);
    REQUIRE(want.status.ok());
    for (float temperature : {0.0f, 0.7f}) {
      o.temperature = temperature;
      std::atomic<bool> cancel{false};
      const Text cancelled = write(*s, prompt, o, &cancel, 5);
      CHECK(cancelled.status.ok());
      CHECK(cancelled.result.reason == StopReason::cancelled);
      CHECK(cancelled.ids.size() < 12);
      fake.gpu().fail_launches_after = (int)fake.gpu().launches + 12;
      const Text lost = write(*s, random_tokens(5, 97, 8), o);
      CHECK(lost.status.code == "gpu-failed");
      CHECK(lost.ids.size() < 40);
      fake.gpu().fail_launches_after = -1;
      fake.gpu().impatient = true;
      const Text late = write(*s, random_tokens(5, 97, 9), o);
      CHECK(late.status.code == "gpu-failed");
      CHECK(late.status.message.find("CPU's part") != std::string::npos);
      fake.gpu().impatient = false;
      o.temperature = 0;
      CHECK(write(*s, prompt, o).ids == want.ids);
    }
  }
}

TEST_CASE("cuda host: an even smaller budget is refused with a sentence; auto runs on the CPU") {
  cuda::FakeDriver fake;
  TinyModel tiny(relu_options());
  LoadOptions o;
  o.threads = 1, o.device = "cuda", o.gpu_budget = 2000;
  std::shared_ptr<Engine> engine;
  const Status s = Engine::load(tiny.spec, o, engine);
  CHECK(s.code == "out-of-memory");
  CHECK(s.message.find("may be used") != std::string::npos);
  o.device = "auto";
  REQUIRE(Engine::load(tiny.spec, o, engine).ok());
  CHECK(engine->info().device.empty());
  CHECK(engine->residency().gpu[0] == 0);
}

TEST_CASE("placement: greedy lies between the bound and what brute force finds, within what is proven") {
  Random random(3);
  for (int round = 0; round < 400; round++) {
    const uint32_t layers = 1 + random.below(3), first = layers > 1 ? random.below(2) : 0;
    const uint32_t neurons = layers == 3 ? 4 : 2 + random.below(5);
    std::vector<cuda::LayerCost> costs(layers);
    uint64_t bytes = 0;
    double most = 0;
    for (cuda::LayerCost& c : costs) {
      c.neuron_bytes = 50 + random.below(100);
      c.always = random.below(2) ? 20 : 0, c.often = (double)c.neuron_bytes - c.always;
      for (uint32_t i = 0; i < neurons; i++) c.frequency.push_back((float)random.uniform());
    }
    for (uint32_t l = first; l < layers; l++) {
      bytes += costs[l].neuron_bytes * neurons;
      for (float f : costs[l].frequency) most = std::max(most, costs[l].always + costs[l].often * f);
    }
    const uint64_t budget = random.below((uint32_t)bytes + 20);
    const cuda::Speeds speeds{1.0 + random.below(20), 1.0, round % 3 ? (double)random.below(40) : 0.0};
    cuda::Placement got;
    cuda::place_neurons(costs, first, budget, speeds, got);
    // What it says of itself, and that it fits.
    const auto seconds = [&](const std::vector<uint32_t>& hot) {  // [layers] bit sets
      double sum = 0;
      for (uint32_t l = first; l < layers; l++) {
        double moved = 0, cold = 0;
        for (uint32_t i = 0; i < neurons; i++) (hot[l] >> i & 1 ? moved : cold) += costs[l].always + costs[l].often * costs[l].frequency[i];
        sum += hot[l] == (1u << neurons) - 1 ? moved / speeds.gpu : std::max(moved / speeds.gpu, speeds.handshake + cold / speeds.cpu);
      }
      return sum;
    };
    const auto size = [&](const std::vector<uint32_t>& hot) {
      uint64_t sum = 0;
      for (uint32_t l = first; l < layers; l++) sum += costs[l].neuron_bytes * (uint64_t)std::popcount(hot[l]);
      return sum;
    };
    std::vector<uint32_t> hot(layers, 0);
    REQUIRE(got.hot.size() == layers);
    for (uint32_t l = 0; l < layers; l++) {
      if (l < first) CHECK(got.hot[l].empty());
      CHECK(std::is_sorted(got.hot[l].begin(), got.hot[l].end()));
      for (uint32_t i : got.hot[l]) hot[l] |= 1u << i;
    }
    CHECK(size(hot) <= budget);
    CHECK(got.seconds == doctest::Approx(seconds(hot)));
    double best = INFINITY;
    std::vector<uint32_t> tried(layers, 0);
    const uint32_t sets = 1u << neurons;
    uint64_t combinations = 1;
    for (uint32_t l = first; l < layers; l++) combinations *= sets;
    for (uint64_t k = 0; k < combinations; k++) {
      uint64_t rest = k;
      for (uint32_t l = first; l < layers; l++, rest /= sets) tried[l] = (uint32_t)(rest % sets);
      if (size(tried) <= budget) best = std::min(best, seconds(tried));
    }
    CHECK(got.least <= best * (1 + 1e-9));
    CHECK(got.seconds >= best * (1 - 1e-9));
    CHECK(got.seconds <= got.least + (layers - first + 1) * most / speeds.cpu + (layers - first) * speeds.handshake + 1e-9);
  }
}
