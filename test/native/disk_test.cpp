// Models that do not fit their memory budget: the same bits as in memory, whatever is evicted; damaged files; disks that fail; what it takes.
#include <algorithm>
#include <fstream>
#include <thread>

#include "cuda_emulator.h"
#include "neuron_store.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

namespace fs = std::filesystem;

const TinyOptions kRelu{.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0, .activation = Activation::relu, .layers = 6, .width = 256, .ffn_width = 1536, .down_by_neuron = true};

// A path for neuron files that is gone again afterwards.
struct Place {
  fs::path path = temporary_path();
  ~Place() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
};

Status try_load(const TinyModel& model, const Place& place, uint64_t budget, unsigned threads, std::shared_ptr<Engine>& engine, std::optional<Isa> isa = {}) {
  LoadOptions o;
  o.threads = threads;
  o.isa = isa;
  o.by_neuron = true;
  o.memory_budget = budget;
  o.neuron_file = place.path.string();
  return Engine::load(model.spec, o, engine);
}

std::shared_ptr<Engine> load(const TinyModel& model, const Place& place, uint64_t budget, unsigned threads = 2, std::optional<Isa> isa = {}) {
  std::shared_ptr<Engine> engine;
  const Status status = try_load(model, place, budget, threads, engine, isa);
  INFO(status.message);
  REQUIRE(status.ok());
  return engine;
}

// The least budget, as the refusal of a smaller one names it, in bytes.
uint64_t least_budget(const TinyModel& model, const Place& place, unsigned threads = 2) {
  std::shared_ptr<Engine> engine;
  const Status status = try_load(model, place, 1, threads, engine);
  CHECK(status.code == "out-of-memory");
  const std::string before = "takes ";
  const size_t at = status.message.find(before);
  REQUIRE(at != std::string::npos);
  return std::stoull(status.message.substr(at + before.size())) << 20;
}

std::unique_ptr<Session> open(Engine& engine, const Plan* plan) {
  std::unique_ptr<Session> session;
  REQUIRE(engine.new_session(256, session).ok());
  REQUIRE(session->set_plan(plan).ok());
  return session;
}

// Surprises of every token, run in batches or one by one.
std::vector<float> score(Session& session, std::span<const int32_t> tokens, bool steps) {
  std::vector<float> all, nll;
  for (size_t n = steps ? 1 : tokens.size() - 1; n < tokens.size(); n++) {
    const Status status = session.score(tokens.first(n + 1), steps ? (uint32_t)(n - 1) : 0, nll);
    INFO(status.message);
    REQUIRE(status.ok());
    all.insert(all.end(), nll.begin(), nll.end());
  }
  return all;
}

Predictors predictors_of(const TinyOptions& o) {
  Random random(3);
  Predictors p;
  for (uint32_t i = 0; i < o.layers; i++)
    p.mlp.push_back(LowRankPredictor{i == 0 ? PredictorSource::attention : (PredictorSource)(i % 3), 16, false, random.normals(16 * o.width), random.normals(o.ffn_width * 16), {}});
  return p;
}

Plan plan_of(const TinyOptions& o, MlpRoute route) {
  Plan plan;
  plan.layers.resize(o.layers, {.mlp = route});
  return plan;
}

uint64_t sum(const std::vector<uint32_t>& v) {
  uint64_t all = 0;
  for (uint32_t x : v) all += x;
  return all;
}

}  // namespace

TEST_CASE("disk: every route gives the bits it gives in memory, for any number of threads, as steps and as a batch") {
  for (const char* architecture : {"llama", "opt"})
    for (TensorType type : {TensorType::Q4_0, TensorType::F32}) {
      TinyOptions o = kRelu;
      o.architecture = architecture, o.matrices = type;
      if (o.architecture == "opt") o.kv_heads = o.heads, o.norms = TensorType::F32;
      const TinyModel model(o);
      const Place place;
      const auto tokens = random_tokens(10, o.vocabulary, 5);
      const auto whole = load(model, place, 0);
      CHECK_FALSE(fs::exists(place.path));
      // What names neurons takes huge pages of its own, more than a small model of 4 bits leaves.
      const bool small = type == TensorType::Q4_0;
      if (!small) REQUIRE(whole->set_predictors(predictors_of(o)).ok());
      for (MlpRoute route : {MlpRoute::dense, MlpRoute::exact, MlpRoute::screened, MlpRoute::predicted}) {
        if (small && route > MlpRoute::exact) continue;
        const Plan plan = plan_of(o, route);
        const std::vector<float> expected = score(*open(*whole, &plan), tokens, true);
        for (unsigned threads : {1u, 2u, 5u}) {
          // With first rows on disk and, where there is room for them, in memory.
          const uint64_t budget = least_budget(model, place, threads) + (small ? 0 : threads == 2 ? 15u << 20 : 5u << 20);
          const auto engine = load(model, place, std::min<uint64_t>(budget, fs::file_size(model.path) * 19 / 20), threads);
          if (!small) REQUIRE(engine->set_predictors(predictors_of(o)).ok());
          CHECK(sum(engine->residency().disk) == o.layers * o.ffn_width);
          const auto session = open(*engine, &plan);
          CAPTURE(architecture);
          CAPTURE((int)route);
          CAPTURE(threads);
          CHECK(same_bits(score(*session, tokens, true), expected));
          CHECK(same_bits(score(*open(*engine, &plan), tokens, false), expected));
        }
      }
    }
}

TEST_CASE("disk: a model without true zeros runs by neuron, with the bits that it has in memory by neuron") {
  TinyOptions o = kRelu;
  o.activation = Activation::silu, o.matrices = TensorType::F32, o.down_by_neuron = false;
  const TinyModel model(o);
  const Place place;
  const auto tokens = random_tokens(30, o.vocabulary, 6);
  const auto whole = load(model, place, 0);
  const auto engine = load(model, place, least_budget(model, place));
  Plan plan = plan_of(o, MlpRoute::exact);
  CHECK(same_bits(score(*open(*engine, &plan), tokens, true), score(*open(*whole, &plan), tokens, true)));
  for (LayerPlan& l : plan.layers) l.gate_threshold = 0.1f;
  CHECK(same_bits(score(*open(*engine, &plan), tokens, true), score(*open(*whole, &plan), tokens, true)));
  // All neurons, as `exact` without a threshold computes them, too.
  CHECK(same_bits(score(*open(*engine, nullptr), tokens, true), score(*open(*engine, nullptr), tokens, false)));
}

TEST_CASE("disk: beside a GPU a neuron counts where it is first looked for, and a model that neither side holds is refused with a sentence") {
  cuda::FakeDriver fake;
  const TinyModel model(kRelu);
  const Place place;
  LoadOptions o;
  o.threads = 1, o.device = "cuda", o.memory_budget = least_budget(model, place, 1), o.neuron_file = place.path.string();
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(model.spec, o, engine).ok());
  const Residency whole = engine->residency();
  for (uint32_t i = 0; i < kRelu.layers; i++) CHECK((whole.gpu[i] == kRelu.ffn_width && whole.memory[i] == 0 && whole.disk[i] == 0));
  o.gpu_budget = engine->info().gpu_bytes / 2;
  const Status s = Engine::load(model.spec, o, engine);
  CHECK(s.code == "out-of-memory");
  CHECK(s.message.find("partly on disk") != std::string::npos);
  o.device = "auto";
  REQUIRE(Engine::load(model.spec, o, engine).ok());
  CHECK(engine->info().device_note == s.message);
  const Residency divided = engine->residency();
  for (uint32_t i = 0; i < kRelu.layers; i++) CHECK((divided.gpu[i] == 0 && divided.memory[i] + divided.disk[i] == kRelu.ffn_width));
}

TEST_CASE("disk: edits, audits and records are those of a model in memory") {
  const Place place;
  const auto tokens = random_tokens(24, kRelu.vocabulary, 7);
  TinyOptions o = kRelu;
  o.matrices = TensorType::F32;
  const TinyModel model(o);
  const Plan plan = plan_of(o, MlpRoute::predicted);
  std::vector<std::vector<uint8_t>> frames[2];
  std::vector<float> nll[2];
  for (int side : {0, 1}) {
    const auto engine = load(model, place, side ? least_budget(model, place) + (4u << 20) : 0);
    REQUIRE(engine->set_predictors(predictors_of(kRelu)).ok());
    const auto session = open(*engine, &plan);
    session->set_capture({CaptureMode::summary, 3});
    const Edit edits[] = {{Edit::Kind::neuron, 1, 17, Edit::Action::force, 0.7f}, {Edit::Kind::neuron, 2, 630, Edit::Action::force, -0.4f}};
    REQUIRE(session->set_edits(edits).ok());
    const std::atomic<bool> never{false};
    REQUIRE(session->trace(tokens, 8, [&](int32_t, std::span<const uint8_t> frame) { frames[side].push_back({frame.begin(), frame.end()}); }, never, nll[side]).ok());
  }
  CHECK(same_bits(nll[0], nll[1]));
  REQUIRE(frames[0].size() == frames[1].size());
  for (size_t i = 0; i < frames[0].size(); i++) CHECK(frames[0][i].size() == frames[1][i].size());  // times differ
}

TEST_CASE("disk: residency adds up, counts begin anew, and what was just used is found again") {
  TinyOptions o = kRelu;
  o.matrices = TensorType::F32;
  const TinyModel model(o);
  const Place place;
  const uint64_t budget = fs::file_size(model.path) / 2;
  const auto engine = load(model, place, budget);
  const Residency first = engine->residency();
  CHECK(sum(first.memory) == 0);
  CHECK(sum(first.disk) == kRelu.layers * kRelu.ffn_width);
  CHECK(first.read_bytes == 0);
  const Plan plan = plan_of(kRelu, MlpRoute::exact);
  const auto session = open(*engine, &plan);
  const auto tokens = random_tokens(40, kRelu.vocabulary, 8);
  score(*session, tokens, true);
  const Residency then = engine->residency();
  for (uint32_t l = 0; l < kRelu.layers; l++) CHECK(then.memory[l] + then.disk[l] == kRelu.ffn_width);
  CHECK(sum(then.memory) >= kRelu.ffn_width);
  CHECK(then.memory_bytes <= budget);
  CHECK(then.misses > 0);
  CHECK(then.hits > 0);
  CHECK(then.read_bytes >= then.misses * 512);
  CHECK(then.disk_bytes > 0);
  const Residency after = engine->residency();
  CHECK((after.hits == 0 && after.misses == 0 && after.read_bytes == 0 && after.waited_seconds == 0));
  CHECK(after.memory == then.memory);

  // With room for most, little is read twice.
  const auto roomy = load(model, place, engine->info().weight_bytes_per_token);
  const auto again = open(*roomy, &plan);
  score(*again, tokens, true);
  roomy->residency();
  std::vector<float> nll;
  const auto last = open(*roomy, &plan);
  REQUIRE(last->score(std::span(tokens).first(20), 0, nll).ok());
  const Residency quiet = roomy->residency();
  CHECK(quiet.hits > 0);
  CHECK(quiet.misses < quiet.hits / 2);
}

TEST_CASE("disk: budgets that are enough for all, and too small for anything") {
  const TinyModel model(kRelu);
  const Place place;
  const auto whole = load(model, place, 1ull << 30);
  CHECK_FALSE(fs::exists(place.path));
  CHECK(sum(whole->residency().disk) == 0);
  const uint64_t least = least_budget(model, place);
  CHECK_FALSE(fs::exists(place.path));
  std::shared_ptr<Engine> engine;
  CHECK(try_load(model, place, least / 2, 2, engine).code == "out-of-memory");
  CHECK(try_load(model, place, least, 2, engine).ok());
  // Predictors count: so many do not fit beside one layer's neurons.
  Random random(1);
  Predictors large;
  for (uint32_t i = 0; i < kRelu.layers; i++)
    large.mlp.push_back(LowRankPredictor{PredictorSource::attention, 512, false, random.normals(512 * kRelu.width), random.normals(kRelu.ffn_width * 512), {}});
  CHECK(engine->set_predictors(large).code == "out-of-memory");
  const Plan plan = plan_of(kRelu, MlpRoute::exact);
  const auto tokens = random_tokens(10, kRelu.vocabulary, 8);
  CHECK(same_bits(score(*open(*engine, &plan), tokens, true), score(*open(*whole, &plan), tokens, true)));
}

TEST_CASE("disk: the file is made once, and made again where it is damaged, foreign or of an older model") {
  const TinyModel model(kRelu);
  const Place place;
  const uint64_t least = least_budget(model, place);
  const auto time = [&] { return fs::last_write_time(place.path); };
  const auto age = [&] { fs::last_write_time(place.path, time() - std::chrono::hours(1)); };
  const auto flip = [&](std::streamoff at) {
    std::fstream f(place.path, std::ios::in | std::ios::out | std::ios::binary);
    f.seekg(at);
    const char c = (char)(f.get() ^ 1);
    f.seekp(at);
    f.put(c);
  };
  const Plan plan = plan_of(kRelu, MlpRoute::exact);
  const auto tokens = random_tokens(12, kRelu.vocabulary, 9);
  const std::vector<float> expected = score(*open(*load(model, place, 0), &plan), tokens, true);
  const auto check = [&] { CHECK(same_bits(score(*open(*load(model, place, least), &plan), tokens, true), expected)); };
  check();
  age();
  const auto old = time();
  check();
  CHECK(time() == old);  // taken as it is
  const auto made_again = [&](auto&& spoil) {
    spoil();
    age();
    const auto spoilt = time();
    check();
    CHECK(time() != spoilt);
  };
  made_again([&] { flip(3); });    // magic
  made_again([&] { flip(20); });   // identity
  made_again([&] { fs::resize_file(place.path, fs::file_size(place.path) - 512); });
  made_again([&] { fs::resize_file(place.path, 100); });
  made_again([&] { fs::last_write_time(model.path, fs::last_write_time(model.path) - std::chrono::hours(5)); });
  TinyOptions other_options = kRelu;
  other_options.seed = 2;
  const TinyModel other(other_options);
  made_again([&] { load(other, place, least); });
  for (const fs::directory_entry& e : fs::directory_iterator(place.path.parent_path()))
    CHECK_FALSE(e.path().string().starts_with(place.path.string() + "."));  // no half of it is left

  // A neuron that changed on the disk is noticed when it is read, and the next load makes the file again.
  const auto engine = load(model, place, least);
  for (std::streamoff at = 4096 + 50; at < (std::streamoff)fs::file_size(place.path); at += 512) flip(at);
  std::vector<float> nll;
  const auto session = open(*engine, &plan);
  const Status status = session->score(tokens, 0, nll);
  CHECK(status.code == "model-invalid");
  CHECK(status.message.find("damaged at neuron") != std::string::npos);
  CHECK_FALSE(fs::exists(place.path));
  check();

  // Where it cannot be written, the sentence says so.
  std::shared_ptr<Engine> none;
  LoadOptions o;
  o.memory_budget = least;
  o.neuron_file = (place.path.parent_path() / "no such folder" / "x").string();
  const Status refused = Engine::load(model.spec, o, none);
  CHECK(refused.code == "disk-full");
  CHECK(refused.message.find("no such folder") != std::string::npos);
}

TEST_CASE("disk: a disk that fails in the middle of a reply ends it with a sentence, and the next reply works when it is back") {
  const TinyModel model(kRelu);
  const Place place;
  const auto engine = load(model, place, least_budget(model, place));
  const auto whole = load(model, place, 0);
  const Plan plan = plan_of(kRelu, MlpRoute::exact);
  const auto session = open(*engine, &plan), fine = open(*whole, &plan);
  const auto prompt = random_tokens(6, kRelu.vocabulary, 10);
  GenerateOptions o;
  o.max_tokens = 40;
  std::vector<char> bytes(fs::file_size(place.path));
  std::ifstream(place.path, std::ios::binary).read(bytes.data(), (std::streamsize)bytes.size());
  const std::atomic<bool> never{false};
  GenerateResult result;
  uint32_t got = 0;
  GenerateEvents events;
  events.token = [&](int32_t, std::span<const uint8_t>) {
    if (++got == 5) fs::resize_file(place.path, 4096);
  };
  const Status status = session->generate(prompt, o, events, never, result);
  CHECK(status.code == "model-truncated");
  CHECK(status.message.find("neuron file") != std::string::npos);
  CHECK(got >= 5);
  CHECK(got < 40);

  std::fstream(place.path, std::ios::in | std::ios::out | std::ios::binary).write(bytes.data(), (std::streamsize)bytes.size());
  std::vector<int32_t> ids[2];
  Session* both[] = {session.get(), fine.get()};
  for (int side : {0, 1}) {
    events.token = [&](int32_t id, std::span<const uint8_t>) { ids[side].push_back(id); };
    REQUIRE(both[side]->generate(prompt, o, events, never, result).ok());
  }
  CHECK(ids[0] == ids[1]);
}

TEST_CASE("disk: a cancelled pass leaves a store that goes on, also with plans that change in between") {
  const TinyModel model(kRelu);
  const Place place;
  const auto engine = load(model, place, least_budget(model, place), 3);
  const auto whole = load(model, place, 0, 3);
  const Plan exact = plan_of(kRelu, MlpRoute::exact), dense = plan_of(kRelu, MlpRoute::dense);
  const auto session = open(*engine, &exact), fine = open(*whole, &exact);
  const auto tokens = random_tokens(200, kRelu.vocabulary, 11);
  GenerateOptions o;
  o.max_tokens = 5;
  for (int i = 0; i < 12; i++) {
    std::atomic<bool> cancel{false};
    std::thread canceller([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(300 * i));
      cancel = true;
    });
    GenerateResult result;
    CHECK(session->generate(tokens, o, {}, cancel, result).ok());
    canceller.join();
    REQUIRE(session->set_plan(i % 2 ? &exact : &dense).ok());
  }
  REQUIRE(session->set_plan(&exact).ok());
  CHECK(same_bits(score(*session, std::span(tokens).first(30), true), score(*fine, std::span(tokens).first(30), true)));
}

#ifdef __linux__
namespace {

// Bytes of this process in memory: now, and the most since reset_peak().
uint64_t status_bytes(const std::string& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name)) return std::stoull(line.substr(name.size() + 1)) << 10;
  return 0;
}
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;  // whose own memory is several times what is counted
#else
constexpr bool kSanitized = false;
#endif
bool reset_peak() { return (bool)(std::ofstream("/proc/self/clear_refs") << "5" << std::flush); }

}  // namespace

TEST_CASE("disk: loading and running take no more memory than the budget and what a session works in" * doctest::skip(kSanitized)) {
  TinyOptions o = kRelu;
  o.matrices = TensorType::F32, o.layers = 8, o.width = 256, o.ffn_width = 2048;
  const TinyModel model(o);
  const Place place;
  constexpr uint64_t kMegabyte = 1 << 20;
  const uint64_t whole = fs::file_size(model.path), budget = 22 * kMegabyte;
  REQUIRE(whole > 2 * budget);
  if (!reset_peak()) return;  // some sandboxes do not let a process do that
  for (bool made : {false, true}) {
    CHECK(fs::exists(place.path) == made);
    REQUIRE(reset_peak());
    const uint64_t before = status_bytes("VmRSS:");
    const auto engine = load(model, place, budget);
    const uint64_t loaded = status_bytes("VmHWM:") - before;
    CAPTURE(loaded);
    CHECK(loaded < budget + 12 * kMegabyte);
    const Plan plan = plan_of(o, MlpRoute::exact);
    score(*open(*engine, &plan), random_tokens(30, o.vocabulary, 12), true);
    score(*open(*engine, nullptr), random_tokens(30, o.vocabulary, 13), true);
    CHECK(status_bytes("VmHWM:") - before < budget + 30 * kMegabyte);
  }
}
#endif
