// The engine on a GPU, and what goes wrong there: on the fake driver, and against the CPU where a GPU is.
#include <algorithm>

#include "cuda_emulator.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

struct Open {
  std::shared_ptr<Engine> engine;
  std::unique_ptr<Session> session;
};
Open open(const TinyModel& tiny, const std::string& device, uint32_t context = 128) {
  Open o;
  LoadOptions options;
  options.threads = 1;
  options.device = device;
  Status s = Engine::load(tiny.spec, options, o.engine);
  REQUIRE_MESSAGE(s.ok(), s.message);
  s = o.engine->new_session(context, o.session);
  REQUIRE_MESSAGE(s.ok(), s.message);
  return o;
}

struct Text {
  Status status;
  GenerateResult result;
  std::vector<int32_t> ids;
  size_t frames = 0;
};
Text write(Session& session, const std::vector<int32_t>& prompt, GenerateOptions o, std::function<void(size_t)> after = {}) {
  Text t;
  const std::atomic<bool> never{false};
  GenerateEvents events;
  events.token = [&](int32_t id, std::span<const uint8_t> frame) {
    t.ids.push_back(id);
    t.frames += !frame.empty();
    if (after) after(t.ids.size());
  };
  t.status = session.generate(prompt, o, events, never, t.result);
  return t;
}

TinyOptions options() {
  TinyOptions o;
  o.activation = Activation::relu, o.matrices = TensorType::F16;
  return o;
}

void same_as_the_cpu() {
  TinyModel tiny(options());
  Open cpu = open(tiny, "cpu"), gpu = open(tiny, "cuda");
  CHECK(cpu.engine->info().device.empty());
  CHECK(!gpu.engine->info().device.empty());
  CHECK(gpu.engine->info().gpu_bytes > 0);
  const std::vector<int32_t> prompt = random_tokens(20, 97, 3);
  GenerateOptions o;
  o.max_tokens = 24;
  const Text a = write(*cpu.session, prompt, o), b = write(*gpu.session, prompt, o);
  REQUIRE(b.status.ok());
  CHECK(a.ids == b.ids);
  CHECK(b.result.reason == StopReason::max_tokens);
  CHECK(b.result.generated_tokens == 24);
  // Sampled texts use the same random numbers; a stop token ends both in the same place.
  o.temperature = 0.8f, o.top_k = 20, o.seed = 7, o.repeat_penalty = 1.1f;
  CHECK(write(*cpu.session, prompt, o).ids == write(*gpu.session, prompt, o).ids);
  o = {};
  o.max_tokens = 24, o.stop_tokens = {a.ids[5]};
  const Text c = write(*cpu.session, prompt, o), d = write(*gpu.session, prompt, o);
  CHECK(c.ids == d.ids);
  CHECK(d.result.reason == StopReason::stop_token);
  // The cache keeps what it holds: a longer prompt of the same beginning runs its end only.
  std::vector<int32_t> longer = prompt;
  longer.insert(longer.end(), d.ids.begin(), d.ids.end());
  longer.push_back(1);
  const Text e = write(*gpu.session, longer, o), f = write(*cpu.session, longer, o);
  CHECK(e.ids == f.ids);
  CHECK(e.result.cached_tokens >= prompt.size());
  // A full context.
  o = {};
  o.max_tokens = 1000;
  const Text g = write(*cpu.session, prompt, o), h = write(*gpu.session, prompt, o);
  CHECK(h.result.reason == StopReason::context_full);
  CHECK(g.ids == h.ids);
  // Scores, also of a part behind a cached one, and the plan's.
  const std::vector<int32_t> text = random_tokens(60, 97, 4);
  Plan exact;
  for (uint32_t i = 0; i < tiny.spec.layers; i++) exact.layers.push_back({.mlp = MlpRoute::exact, .head_threshold = {}});
  for (const Plan* plan : {(const Plan*)nullptr, (const Plan*)&exact})
    for (uint32_t from : {0u, 30u}) {
      std::vector<float> x, y;
      std::vector<uint8_t> p, q;
      REQUIRE(cpu.session->set_plan(plan).ok());
      REQUIRE(gpu.session->set_plan(plan).ok());
      REQUIRE(cpu.session->score(text, from, x, &p).ok());
      REQUIRE(gpu.session->score(text, from, y, &q).ok());
      REQUIRE(x.size() == y.size());
      for (size_t i = 0; i < x.size(); i++) CHECK(y[i] == doctest::Approx(x[i]).epsilon(5e-3));
      CHECK(p == q);
    }
  // With the plan: what was computed is counted.
  gpu.session->activity();
  o.max_tokens = 10;
  const Text sparse = write(*gpu.session, prompt, o);
  CHECK(std::equal(sparse.ids.begin(), sparse.ids.end(), a.ids.begin()));
  const Activity counted = gpu.session->activity();
  CHECK(counted.tokens >= 9);
  for (uint64_t n : counted.computed) CHECK((n > 0 && n < counted.tokens * 96));
  // What is watched runs on the CPU, which notes down what it did: the same frames and tokens as there.
  gpu.session->set_capture({CaptureMode::full, 2});
  cpu.session->set_capture({CaptureMode::full, 2});
  for (float temperature : {0.8f, 0.0f}) {
    o.temperature = temperature;
    const Text watched = write(*gpu.session, prompt, o), there = write(*cpu.session, prompt, o);
    CHECK(watched.frames > 0);
    CHECK(watched.frames == there.frames);
    CHECK(watched.ids == there.ids);
  }
  gpu.session->set_capture({});
  cpu.session->set_capture({});
  o.temperature = 0;
  CHECK(write(*gpu.session, prompt, o).frames == 0);  // nothing watched: on the GPU again
  // What only the CPU can do works from a GPU's session as well, and the next text is right.
  Comparison difference;
  std::unique_ptr<Session> other;
  REQUIRE(gpu.engine->new_session(128, other).ok());
  REQUIRE(gpu.session->compare(*other, nullptr, text, 0, difference).ok());
  CHECK(difference.positions == text.size() - 1);
  o.max_tokens = 24;
  CHECK(write(*gpu.session, prompt, o).ids == a.ids);
}

// A plan that is set while a reply is written counts from the next token on.
void slider_moves() {
  TinyModel tiny(options());
  Open gpu = open(tiny, "cuda"), cpu = open(tiny, "cpu");
  Plan none;
  for (uint32_t i = 0; i < tiny.spec.layers; i++) none.layers.push_back({.mlp = MlpRoute::exact, .gate_threshold = 1e9f, .head_threshold = {}});
  const std::vector<int32_t> prompt = random_tokens(12, 97, 3);
  GenerateOptions o;
  o.max_tokens = 30;
  const auto move = [&](Session& s) { return [&](size_t n) { if (n == 10) CHECK(s.set_plan(&none).ok()); }; };
  const Text a = write(*cpu.session, prompt, o, move(*cpu.session)), b = write(*gpu.session, prompt, o, move(*gpu.session));
  CHECK(a.ids == b.ids);
  CHECK(b.ids.size() == 30);
}

}  // namespace

TEST_CASE("cuda host: the engine writes the CPU's text on the fake driver") {
  cuda::FakeDriver fake;
  same_as_the_cpu();
  slider_moves();
}
TEST_CASE("cuda kernels: the engine writes the CPU's text" * doctest::skip(cuda::no_gpu())) {
  same_as_the_cpu();
  slider_moves();
}

TEST_CASE("cuda host: without a GPU, auto runs on the CPU and says why, cuda refuses") {
  cuda::FakeDriver fake;
  TinyModel tiny(options());
  LoadOptions o;
  o.threads = 1;
  std::shared_ptr<Engine> engine;
  const auto refused = [&](const char* code, const char* words) {
    o.device = "cuda";
    const Status s = Engine::load(tiny.spec, o, engine);
    CHECK(s.code == code);
    CHECK(s.message.find(words) != std::string::npos);
    o.device = "auto";
    REQUIRE(Engine::load(tiny.spec, o, engine).ok());
    CHECK(engine->info().device.empty());
    CHECK(engine->info().device_note.find(words) != std::string::npos);
    engine = nullptr;
  };
  fake.gpu().absent = true;
  refused("gpu-unavailable", "finds no GPU");
  CHECK(gpus().gpus.empty());
  CHECK(!gpus().problem.empty());
  fake.gpu().absent = false;
  fake.gpu().major = 6;
  refused("gpu-unavailable", "7.5");
  REQUIRE(gpus().gpus.size() == 1);
  CHECK(!gpus().gpus[0].usable);
  fake.gpu().major = 9;
  fake.gpu().memory = 4096;
  refused("out-of-memory", "GPU");
  fake.gpu().memory = 1u << 30;
  o.gpu_budget = 1000;
  refused("out-of-memory", "may be used");
  o.gpu_budget = 0;
  o.device = "tpu";
  CHECK(Engine::load(tiny.spec, o, engine).code == "bad-request");
}

TEST_CASE("cuda host: a GPU that is lost in a reply gives a sentence; what was written stays") {
  cuda::FakeDriver fake;
  TinyModel tiny(options());
  Open gpu = open(tiny, "cuda");
  const std::vector<int32_t> prompt = random_tokens(5, 97, 3);
  GenerateOptions o;
  o.max_tokens = 30;
  for (float temperature : {0.0f, 0.7f}) {
    o.temperature = temperature;
    fake.gpu().fail_launches_after = (int)fake.gpu().launches + 12;
    const Text t = write(*gpu.session, prompt, o);
    CHECK(t.status.code == "gpu-failed");
    CHECK(t.status.message.find("unspecified launch failure") != std::string::npos);
    CHECK(t.ids.size() < 30);
    fake.gpu().fail_launches_after = -1;
  }
}

TEST_CASE("cuda host: moving the slider between thresholds is one copy, and no graph is built again") {
  cuda::FakeDriver fake;
  TinyModel tiny(options());
  Open gpu = open(tiny, "cuda");
  const std::vector<int32_t> prompt = random_tokens(5, 97, 3);
  GenerateOptions o;
  o.max_tokens = 3;
  Plan plan;
  for (uint32_t i = 0; i < tiny.spec.layers; i++) plan.layers.push_back({.mlp = MlpRoute::exact, .head_threshold = {}});
  REQUIRE(gpu.session->set_plan(&plan).ok());
  REQUIRE(write(*gpu.session, prompt, o).status.ok());
  const uint64_t graphs = fake.gpu().graphs;
  for (LayerPlan& l : plan.layers) l.gate_threshold = 0.5f;
  REQUIRE(gpu.session->set_plan(&plan).ok());
  REQUIRE(write(*gpu.session, prompt, o).status.ok());
  CHECK(fake.gpu().graphs == graphs);
}
