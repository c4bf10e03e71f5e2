// What decode steps note down: that it is what they did, that noting it changes nothing, and that edits change what they say.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>

#include "frames.h"
#include "ring.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

const std::atomic<bool> never{false};
const TinyOptions kRelu{.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0, .activation = Activation::relu, .layers = 3, .width = 192, .ffn_width = 328, .down_by_neuron = true};

std::shared_ptr<Engine> load(const TinyModel& model, unsigned threads, bool by_neuron = true) {
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(model.spec, {.threads = threads, .isa = {}, .by_neuron = by_neuron, .progress = {}}, engine).ok());
  return engine;
}
std::unique_ptr<Session> open(Engine& engine) {
  std::unique_ptr<Session> session;
  REQUIRE(engine.new_session(512, session).ok());
  return session;
}
std::string ring_path() { return (std::filesystem::temp_directory_path() / "hunch-capture-test.ring").string(); }

// A frame's sections, read as electron/contract/frames.ts does.
struct Frame {
  std::vector<uint8_t> bytes;
  uint32_t sequence, position, layers, neurons, heads, block, blocks, audit;
  int32_t token;
  std::vector<uint8_t> states;  // [layers][neurons], records only
  std::vector<float> values, gates;
  std::vector<uint16_t> named, computed, active, missed;
  std::vector<float> peak;
  std::vector<uint8_t> flags;
  std::vector<float> norms;
  size_t at = 64;

  explicit Frame(std::span<const uint8_t> from) : bytes(from.begin(), from.end()) {
    REQUIRE(bytes.size() > 64);
    const bool record = word(0) == 0x31524e48;
    REQUIRE((record || word(0) == 0x31464e48));
    sequence = word(1), position = word(2), token = (int32_t)word(3), layers = word(4), neurons = word(5), heads = word(6), block = word(7), blocks = word(8), audit = word(9);
    at += layers * 40;
    if (record) {
      const size_t row = (neurons + 1) / 2;
      const auto packed = take<uint8_t>(layers * row);
      for (uint32_t l = 0; l < layers; l++)
        for (uint32_t n = 0; n < neurons; n++) states.push_back(n % 2 ? packed[l * row + n / 2] >> 4 : packed[l * row + n / 2] & 15);
      const auto counts = take<uint32_t>(layers);
      size_t total = 0;
      for (uint32_t c : counts) total += c;
      const auto packed_values = take<float>(total), packed_gates = take<float>(total);
      size_t next = 0;
      for (uint8_t s : states) {
        values.push_back(s & kActive ? packed_values[next] : 0);
        gates.push_back(s & kActive ? packed_gates[next] : 0);
        next += (s & kActive) != 0;
      }
      CHECK(next == total);
    } else {
      const size_t cells = (size_t)layers * blocks;
      named = take<uint16_t>(cells), computed = take<uint16_t>(cells), active = take<uint16_t>(cells);
      if (audit) missed = take<uint16_t>(cells);
      peak = take<float>(cells);
    }
    flags = take<uint8_t>(layers * heads);
    norms = take<float>(layers * heads);
    CHECK(at == bytes.size());
  }
  uint32_t word(size_t i) const {
    uint32_t v;
    std::memcpy(&v, bytes.data() + i * 4, 4);
    return v;
  }
  uint32_t layer_word(uint32_t layer, size_t i) const { return word(16 + layer * 10 + i); }  // 1: ms, 4: named, 5: computed, 6: active, 7: missed
  template <class T>
  std::vector<T> take(size_t n) {
    REQUIRE(at + n * sizeof(T) <= bytes.size());
    std::vector<T> out(n);
    std::memcpy(out.data(), bytes.data() + at, n * sizeof(T));
    at += (n * sizeof(T) + 3) / 4 * 4;
    return out;
  }
};

struct Traced {
  std::vector<std::optional<Frame>> frames, records;
  std::vector<float> nll;
};
Traced trace(Engine& engine, Session& session, const std::vector<int32_t>& tokens, uint32_t from, uint32_t audit_every = 0, CaptureMode mode = CaptureMode::full) {
  Traced out;
  session.set_capture({mode, audit_every});
  std::vector<uint8_t> record;
  REQUIRE(session.trace(tokens, from, [&](int32_t, std::span<const uint8_t> frame) {
    out.frames.emplace_back();
    out.records.emplace_back();
    if (frame.empty()) return;
    out.frames.back().emplace(frame);
    if (engine.record(out.frames.back()->sequence, record)) out.records.back().emplace(record);
  }, never, out.nll).ok());
  return out;
}

Plan plan_of(uint32_t layers, MlpRoute route) {
  Plan plan;
  plan.layers.resize(layers, {.mlp = route, .head_threshold = {}});
  return plan;
}

Predictors random_predictors(const TinyOptions& o, uint32_t rank) {
  Random random(10);
  Predictors p;
  for (uint32_t i = 0; i < o.layers; i++) {
    p.mlp.push_back(LowRankPredictor{i ? PredictorSource::previous : PredictorSource::attention, rank, false, random.normals(rank * o.width), random.normals(o.ffn_width * rank), {}});
    p.heads.push_back(LowRankPredictor{PredictorSource::attention, rank, false, random.normals(rank * o.width), random.normals(o.heads * rank), {}});
  }
  return p;
}

}  // namespace

TEST_CASE("capture: changes no bit of what is computed, on any route") {
  for (Activation activation : {Activation::relu, Activation::silu})
    for (bool by_neuron : {false, true})
      for (MlpRoute route : {MlpRoute::dense, MlpRoute::exact, MlpRoute::screened, MlpRoute::predicted}) {
        TinyOptions o = kRelu;
        o.activation = activation, o.down_by_neuron = activation == Activation::relu, o.ffn_width = o.down_by_neuron ? 328 : 320;
        if (route != MlpRoute::dense && activation == Activation::silu && !by_neuron) continue;
        const TinyModel model(o);
        const auto engine = load(model, 2, by_neuron);
        if (o.down_by_neuron || by_neuron) REQUIRE(engine->set_predictors(random_predictors(o, 16)).ok());
        REQUIRE(engine->set_ring(ring_path(), 1 << 20).ok());
        Plan plan = plan_of(o.layers, route);
        for (LayerPlan& l : plan.layers) {
          l.gate_threshold = activation == Activation::relu ? 0 : 0.05f;
          if (route == MlpRoute::predicted) l.head_threshold = 0.0f;
        }
        const auto tokens = random_tokens(40, o.vocabulary, 3);
        const auto plain = open(*engine), noted = open(*engine);
        REQUIRE(plain->set_plan(&plan).ok());
        REQUIRE(noted->set_plan(&plan).ok());
        const Traced without = trace(*engine, *plain, tokens, 8, 0, CaptureMode::off), with = trace(*engine, *noted, tokens, 8, 3);
        CHECK(same_bits(without.nll, with.nll));
        CHECK(std::none_of(without.frames.begin(), without.frames.end(), [](const auto& f) { return f.has_value(); }));
        CHECK(!with.frames[0].has_value());  // the prefill gave the first token
        for (size_t i = 1; i < with.frames.size(); i++) {
          REQUIRE(with.frames[i].has_value());
          REQUIRE(with.records[i].has_value());
          const Frame &f = *with.frames[i], &r = *with.records[i];
          CHECK(f.bytes.size() <= kMostFrameBytes);
          CHECK(f.position == 8 + i - 1);
          CHECK(f.token == tokens[8 + i - 1]);
          CHECK(f.audit == ((i - 1) % 3 == 0));
          // The summary is the record, summed up.
          for (uint32_t l = 0; l < f.layers; l++)
            for (uint32_t b = 0; b < f.blocks; b++) {
              uint32_t count[4] = {};
              float peak = 0;
              for (uint32_t n = b * f.block; n < std::min(f.neurons, (b + 1) * f.block); n++) {
                const size_t at = (size_t)l * f.neurons + n;
                for (int bit = 0; bit < 4; bit++) count[bit] += r.states[at] >> bit & 1;
                peak = std::max(peak, std::fabs(r.values[at]));
              }
              const size_t cell = l * f.blocks + b;
              CHECK(f.named[cell] == count[0]);
              CHECK(f.computed[cell] == count[1]);
              CHECK(f.active[cell] == count[2]);
              if (f.audit) CHECK(f.missed[cell] == count[3]);
              else CHECK(count[3] == 0);
              CHECK(f.peak[cell] == peak);
            }
        }
      }
}

TEST_CASE("capture: the same states and values for any number of threads") {
  const TinyModel model(kRelu);
  const auto tokens = random_tokens(24, kRelu.vocabulary, 4);
  const Plan plan = plan_of(kRelu.layers, MlpRoute::exact);
  std::optional<Traced> first;
  for (unsigned threads : {1u, 2u, 5u}) {
    const auto engine = load(model, threads);
    REQUIRE(engine->set_ring(ring_path(), 1 << 20).ok());
    const auto session = open(*engine);
    REQUIRE(session->set_plan(&plan).ok());
    Traced t = trace(*engine, *session, tokens, 4);
    if (!first) first = std::move(t);
    else
      for (size_t i = 1; i < t.records.size(); i++) {
        CHECK(t.records[i]->states == first->records[i]->states);
        CHECK(same_bits(t.records[i]->values, first->records[i]->values));
        CHECK(same_bits(t.frames[i]->norms, first->frames[i]->norms));
      }
  }
}

TEST_CASE("capture: dense and exact agree on what is active; an audit finds what a predictor missed") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  REQUIRE(engine->set_ring(ring_path(), 1 << 20).ok());
  REQUIRE(engine->set_predictors(random_predictors(kRelu, 16)).ok());
  const auto tokens = random_tokens(12, kRelu.vocabulary, 5);
  std::vector<Traced> traced;
  for (MlpRoute route : {MlpRoute::dense, MlpRoute::exact, MlpRoute::predicted}) {
    const auto session = open(*engine);
    const Plan plan = plan_of(kRelu.layers, route);
    REQUIRE(session->set_plan(&plan).ok());
    traced.push_back(trace(*engine, *session, tokens, 4, 1));
  }
  const size_t n = (size_t)kRelu.layers * kRelu.ffn_width;
  size_t missed = 0, named = 0;
  for (size_t i = 1; i < traced[0].records.size(); i++) {
    const Frame &dense = *traced[0].records[i], &exact = *traced[1].records[i], &predicted = *traced[2].records[i];
    for (size_t j = 0; j < n; j++) {
      CHECK(dense.states[j] == (exact.states[j] ? kComputed | kActive : kComputed));
      CHECK(exact.values[j] == dense.values[j]);
      if (exact.states[j] & kActive) CHECK(exact.gates[j] > 0);
      if (i == 1 && j < kRelu.ffn_width)  // the same input so far
        CHECK((exact.states[j] != 0) == ((predicted.states[j] & (kActive | kMissed)) != 0));
      missed += (predicted.states[j] & kMissed) != 0, named += (predicted.states[j] & kNamed) != 0;
      if (predicted.states[j] & kComputed) CHECK((predicted.states[j] & kNamed) != 0);
    }
  }
  CHECK(missed > 0);
  CHECK(named > 0);
}

TEST_CASE("capture: heads that a plan skips have no norm, except on audit tokens") {
  TinyOptions o = kRelu;
  o.heads = 4, o.kv_heads = 2, o.head_width = 64;
  const TinyModel model(o);
  const auto engine = load(model, 2);
  REQUIRE(engine->set_predictors(random_predictors(o, 16)).ok());
  Plan plan = plan_of(o.layers, MlpRoute::exact);
  for (LayerPlan& l : plan.layers) l.head_threshold = 0.0f;
  const auto session = open(*engine);
  REQUIRE(session->set_plan(&plan).ok());
  const Traced t = trace(*engine, *session, random_tokens(40, o.vocabulary, 5), 4, 2);
  size_t skipped = 0;
  for (size_t i = 1; i < t.frames.size(); i++) {
    const Frame& f = *t.frames[i];
    for (size_t h = 0; h < f.flags.size(); h++) {
      CHECK((f.flags[h] == 0 || f.flags[h] == (kHeadNamed | kHeadComputed)));
      CHECK(std::isnan(f.norms[h]) == (f.flags[h] == 0 && !f.audit));
      skipped += f.flags[h] == 0;
    }
  }
  CHECK(skipped > 0);
}

TEST_CASE("edits: what a neuron or head says anyway changes nothing, what it does not say does") {
  for (Activation activation : {Activation::relu, Activation::silu})
    for (bool by_neuron : {false, true}) {
      TinyOptions o = kRelu;
      o.activation = activation, o.down_by_neuron = activation == Activation::relu, o.ffn_width = o.down_by_neuron ? 328 : 320;
      const TinyModel model(o);
      const auto engine = load(model, 2, by_neuron);
      REQUIRE(engine->set_ring(ring_path(), 1 << 20).ok());
      const auto session = open(*engine);
      const auto tokens = random_tokens(6, o.vocabulary, 8);
      const auto run = [&](std::vector<Edit> edits) {
        REQUIRE(session->set_edits(edits).ok());
        return trace(*engine, *session, tokens, 4);
      };
      const Traced plain = run({});
      const Frame& record = *plain.records[1];
      std::vector<Edit> same, off, clamped, forced;
      for (uint32_t n = 0; n < o.ffn_width; n += 7) {
        const float h = record.values[o.ffn_width + n];
        if (record.states[o.ffn_width + n] & kActive) {
          clamped.push_back({Edit::Kind::neuron, 1, n, Edit::Action::clamp, std::fabs(h) * 1e6f + 1e6f});
          off.push_back({Edit::Kind::neuron, 1, n, Edit::Action::off, 0});
        }
        forced.push_back({Edit::Kind::neuron, 1, n, Edit::Action::force, 3});
      }
      REQUIRE(!off.empty());
      clamped.push_back({Edit::Kind::head, 1, 0, Edit::Action::clamp, 1e6f});
      CHECK(same_bits(run(clamped).nll, plain.nll));
      CHECK(!same_bits(run(off).nll, plain.nll));
      const Traced with = run(forced);
      CHECK(!same_bits(with.nll, plain.nll));
      for (const Edit& e : forced) CHECK(with.records[1]->values[o.ffn_width + e.index] == 3);
      const Traced headless = run({{Edit::Kind::head, 2, 1, Edit::Action::off, 0}, {Edit::Kind::head, 0, 2, Edit::Action::force, 2}});
      CHECK(!same_bits(headless.nll, plain.nll));
      CHECK(headless.frames[1]->norms[2 * o.heads + 1] == 0);
      CHECK(headless.frames[1]->norms[2] == doctest::Approx(2).epsilon(1e-5));
      CHECK(same_bits(run({}).nll, plain.nll));
      CHECK(session->set_edits(std::vector<Edit>{{Edit::Kind::head, 0, o.heads, Edit::Action::off, 0}}).code == "bad-request");
      CHECK(session->set_edits(std::vector<Edit>{{Edit::Kind::neuron, o.layers, 0, Edit::Action::off, 0}}).code == "bad-request");
    }
}

TEST_CASE("edits: a batch and single steps say the same") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto session = open(*engine), other = open(*engine);
  const auto tokens = random_tokens(30, kRelu.vocabulary, 9);
  const std::vector<Edit> edits = {{Edit::Kind::neuron, 1, 40, Edit::Action::force, 2}, {Edit::Kind::head, 2, 1, Edit::Action::off, 0}, {Edit::Kind::neuron, 0, 3, Edit::Action::clamp, 0.01f}};
  REQUIRE(session->set_edits(edits).ok());
  REQUIRE(other->set_edits(edits).ok());
  std::vector<float> batch, steps;
  REQUIRE(session->score(tokens, 0, batch).ok());
  REQUIRE(other->trace(tokens, 1, [](int32_t, auto) {}, never, steps).ok());
  CHECK(same_bits(batch, steps));
}

TEST_CASE("trace: the steps that generate took") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const Plan plan = plan_of(kRelu.layers, MlpRoute::exact);
  const auto session = open(*engine);
  REQUIRE(session->set_plan(&plan).ok());
  session->set_capture({CaptureMode::summary, 0});
  std::vector<int32_t> tokens = random_tokens(9, kRelu.vocabulary, 2);
  const std::vector<int32_t> prompt = tokens;
  std::vector<std::vector<uint8_t>> frames;
  GenerateOptions options;
  options.max_tokens = 20;
  GenerateResult result;
  REQUIRE(session->generate(prompt, options, {{}, [&](int32_t id, std::span<const uint8_t> f) { tokens.push_back(id), frames.emplace_back(f.begin(), f.end()); }}, never, result).ok());
  const auto other = open(*engine);
  REQUIRE(other->set_plan(&plan).ok());
  const Traced again = trace(*engine, *other, tokens, 9, 0, CaptureMode::summary);
  REQUIRE(again.frames.size() == frames.size());
  CHECK(frames[0].empty());
  for (size_t i = 1; i < frames.size(); i++) {
    const Frame first(frames[i]);
    CHECK(first.active == again.frames[i]->active);
    CHECK(same_bits(first.peak, again.frames[i]->peak));
    CHECK(same_bits(first.norms, again.frames[i]->norms));
  }
  std::vector<float> nll;
  CHECK(other->trace(tokens, 0, [](int32_t, auto) {}, never, nll).code == "bad-request");
}

TEST_CASE("lens: the last layer says what the model says") {
  const TinyModel model(kRelu);
  const auto engine = load(model, 2);
  const auto session = open(*engine), other = open(*engine);
  const auto tokens = random_tokens(20, kRelu.vocabulary, 6);
  Lens lens;
  REQUIRE(session->lens(tokens, 5, lens).ok());
  REQUIRE(lens.ids.size() == 5 * kRelu.layers);
  std::vector<float> logits;
  REQUIRE(other->logits(tokens, logits).ok());
  double sum = 0;
  for (float l : logits) sum += std::exp((double)l);
  std::vector<int32_t> order(logits.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = (int32_t)i;
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  for (uint32_t i = 0; i < 5; i++) {
    CHECK(lens.ids[(kRelu.layers - 1) * 5 + i] == order[i]);
    CHECK(lens.probabilities[(kRelu.layers - 1) * 5 + i] == doctest::Approx(std::exp((double)logits[order[i]]) / sum).epsilon(1e-4));
  }
  CHECK(session->lens(tokens, 0, lens).code == "bad-request");
}

TEST_CASE("ring: keeps the newest records that fit") {
  Ring ring;
  REQUIRE(ring.open(ring_path(), 1000).ok());
  const auto record = [](uint32_t sequence) { return std::vector<uint8_t>(90 + sequence % 7 * 20, (uint8_t)sequence); };
  std::vector<uint8_t> out;
  for (uint32_t s = 0; s < 200; s++) {
    ring.write(s, record(s));
    uint64_t kept = 0;
    bool gone = false;
    for (uint32_t back = 0; back <= s; back++) {  // from the newest: all of them, then none
      const bool found = ring.read(s - back, out);
      CHECK(!(found && gone));
      gone = gone || !found;
      if (!found) continue;
      CHECK(out == record(s - back));
      kept += out.size();
    }
    CHECK(kept <= 1000);
    if (s > 20) CHECK(kept >= 600);
  }
  ring.write(200, std::vector<uint8_t>(1001));
  CHECK(!ring.read(200, out));
  CHECK(ring.read(199, out));
  CHECK(ring.open("/nowhere/at/all", 10).code == "disk-full");
}
