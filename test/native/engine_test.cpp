// The whole forward pass against the oracle's, for every weight type and architecture, and what must not change its bits.
#include <algorithm>

#include "tiny_model.h"

using namespace hunch;

namespace {

std::shared_ptr<Engine> load(const TinyModel& model, unsigned threads = 2, std::optional<Isa> isa = {}) {
  LoadOptions options;
  options.by_neuron = model.by_neuron();
  options.threads = threads;
  options.isa = isa;
  std::shared_ptr<Engine> engine;
  const Status status = Engine::load(model.spec, options, engine);
  CAPTURE(status.message);
  REQUIRE(status.ok());
  return engine;
}

std::unique_ptr<Session> open(Engine& engine, uint32_t context = 1024) {
  std::unique_ptr<Session> session;
  REQUIRE(engine.new_session(context, session).ok());
  return session;
}

std::vector<float> logits_of(Session& session, std::span<const int32_t> tokens) {
  std::vector<float> out;
  REQUIRE(session.logits(tokens, out).ok());
  return out;
}

// |error| / |truth|, both as Euclidean norms.
double relative_error(const std::vector<float>& a, const std::vector<double>& truth) {
  if (a.size() != truth.size()) return kInfinity;
  double error = 0, size = 0;
  for (size_t i = 0; i < a.size(); i++) error += (a[i] - truth[i]) * (a[i] - truth[i]), size += truth[i] * truth[i];
  return std::isnan(error) ? kInfinity : std::sqrt(error / size);
}

// Usually only single-precision noise separates the two: kTight. Now and then noise carries a key or value across a rounding border of the
// f16 cache, or with block types an activation across one of its 8 bits, and later positions inherit the step: loose(). So the best of the
// first positions must be tight and all must be loose; a missing term or a wrong lane errs by 0.1 and more everywhere.
constexpr double kTight = 3e-5;
double loose(const TinyOptions& o) { return oracle::block_columns(o.matrices) == 1 && oracle::block_columns(o.embedding) == 1 ? 3e-3 : 5e-2; }

void check_against_oracle(const TinyOptions& options, uint32_t length) {
  const TinyModel model(options);
  const std::vector<int32_t> tokens = random_tokens(length, options.vocabulary, options.seed + 100);
  const auto truth = model.forward(tokens);
  for (Isa isa : supported_isas()) {
    const std::shared_ptr<Engine> engine = load(model, 2, isa);
    const std::unique_ptr<Session> session = open(*engine);
    if (options.by_neuron) {
      Plan plan;
      plan.layers.resize(options.layers, {.mlp = MlpRoute::exact});
      REQUIRE(session->set_plan(&plan).ok());
    }
    CAPTURE(std::string(isa_name(isa)));
    CAPTURE(options.architecture);
    CAPTURE(std::string(tensor_type_name(options.matrices)));
    double best = kInfinity, worst = 0;
    for (uint32_t n : {1u, 2u, 3u, 4u, 5u, 17u, length - 1, length}) {
      const double error = relative_error(logits_of(*session, std::span(tokens).first(n)), truth[n - 1]);
      best = std::min(best, error), worst = std::max(worst, error);
    }
    CHECK(best < kTight);
    CHECK(worst < loose(options));
    // Every position at once, as log-probabilities.
    std::vector<float> nll;
    REQUIRE(session->score(tokens, 0, nll).ok());
    REQUIRE(nll.size() == length - 1);
    best = kInfinity, worst = 0;
    for (size_t i = 0; i + 1 < length; i++) {
      const double error = std::fabs(nll[i] - (oracle::log_sum_exp(truth[i]) - truth[i][(size_t)tokens[i + 1]]));
      best = std::min(best, error), worst = std::isnan(error) ? kInfinity : std::max(worst, error);
    }
    CHECK(best < 10 * kTight);
    CHECK(worst < 5 * loose(options));  // of logits around 3
  }
}

}  // namespace

TEST_CASE("engine: logits agree with a double-precision forward pass, for every weight type") {
  for (TensorType type : kAllTypes) {
    TinyOptions o{.matrices = type, .embedding = type, .seed = 50 + (uint64_t)type};
    if (oracle::block_columns(type) == 256) o.width = 256, o.head_width = 64, o.ffn_width = 256;
    check_against_oracle(o, 40);
  }
}

TEST_CASE("engine: mixed types, an output matrix of its own, norms in half precision") {
  check_against_oracle({.matrices = TensorType::Q4_1, .embedding = TensorType::Q8_0, .norms = TensorType::F16, .tied = false}, 30);
  check_against_oracle({.matrices = TensorType::F16, .embedding = TensorType::Q4_0, .norms = TensorType::BF16, .layers = 3}, 30);
}

TEST_CASE("engine: odd widths with float weights, grouped heads and part of a head rotated") {
  check_against_oracle({.layers = 3, .width = 33, .heads = 3, .kv_heads = 1, .head_width = 10, .ffn_width = 45, .vocabulary = 50, .rope_width = 6}, 150);
  check_against_oracle({.matrices = TensorType::BF16, .width = 40, .heads = 9, .kv_heads = 1, .head_width = 8, .ffn_width = 7, .vocabulary = 17}, 70);  // more queries a KV head than one call takes
  check_against_oracle({.width = 50, .heads = 2, .kv_heads = 2, .head_width = 80, .ffn_width = 31}, 70);
  check_against_oracle({.layers = 1, .width = 2, .heads = 1, .kv_heads = 1, .head_width = 2, .ffn_width = 1, .vocabulary = 2}, 20);
}

TEST_CASE("engine: every architecture and activation") {
  for (Activation activation : kAllActivations) check_against_oracle({.activation = activation}, 20);
  check_against_oracle({.activation = Activation::drelu}, 20);
  check_against_oracle({.matrices = TensorType::Q8_0, .rope_factors = true}, 80);
  check_against_oracle({.architecture = "qwen2", .matrices = TensorType::Q8_0}, 80);
  check_against_oracle({.architecture = "qwen3"}, 80);
  check_against_oracle({.architecture = "opt", .activation = Activation::relu, .kv_heads = 4, .trained_context = 1024}, 80);
  check_against_oracle({.architecture = "opt", .matrices = TensorType::Q4_1, .activation = Activation::relu, .kv_heads = 4, .trained_context = 1024}, 80);
  check_against_oracle({.architecture = "gemma3", .activation = Activation::gelu, .layers = 3, .window = 20, .window_pattern = 3}, 200);
  check_against_oracle({.architecture = "gemma3", .matrices = TensorType::Q8_0, .activation = Activation::gelu, .layers = 3, .window = 70, .window_pattern = 2}, 200);
}

TEST_CASE("engine: norms after the branch in some layers only") { check_against_oracle({.layers = 3, .post_norms_from = 1}, 40); }

TEST_CASE("engine: a down projection stored by neuron") {
  check_against_oracle({.activation = Activation::relu, .down_by_neuron = true}, 40);
  check_against_oracle({.matrices = TensorType::F16, .width = 40, .heads = 3, .kv_heads = 1, .head_width = 8, .ffn_width = 45, .down_by_neuron = true}, 40);
  check_against_oracle({.matrices = TensorType::BF16, .ffn_width = 7, .down_by_neuron = true}, 40);
}

TEST_CASE("engine: MLPs by neuron of every type and activation, nothing skipped") {
  for (TensorType type : kAllTypes) {
    if (oracle::block_columns(type) == 256) continue;  // K-quants are rounded again when stored by row: rows_test.cpp bounds by how much
    check_against_oracle({.matrices = type, .by_neuron = true, .seed = 80 + (uint64_t)type}, 40);
  }
  for (Activation activation : kAllActivations) check_against_oracle({.matrices = TensorType::Q8_0, .activation = activation, .width = 96, .ffn_width = 160, .by_neuron = true}, 20);
  check_against_oracle({.architecture = "gemma3", .matrices = TensorType::Q5_0, .activation = Activation::gelu, .layers = 3, .window = 20, .window_pattern = 3, .by_neuron = true}, 60);
}

TEST_CASE("engine: prompts longer than a batch and than several attention chunks") {
  check_against_oracle({.matrices = TensorType::Q8_0}, 300);
  check_against_oracle({.matrices = TensorType::F32, .layers = 1}, 600);
  check_against_oracle({.architecture = "gemma3", .activation = Activation::gelu, .layers = 2, .window = 100, .window_pattern = 2}, 520);
}

TEST_CASE("engine: the same bits for 1, 2, 3 and 5 threads, in prefill and in decode") {
  for (TensorType type : {TensorType::F32, TensorType::Q4_1, TensorType::Q8_0}) {
    const TinyModel model({.architecture = type == TensorType::F32 ? "gemma3" : "llama", .matrices = type, .embedding = type, .heads = 6, .ffn_width = 160, .window = 30, .window_pattern = 2});
    const std::vector<int32_t> tokens = random_tokens(270, 97, 3);
    std::vector<float> first_logits, first_nll;
    for (unsigned threads : {1u, 2u, 3u, 5u}) {
      const auto engine = load(model, threads);
      const auto session = open(*engine, 300);
      // 257 tokens: a batch of 256 and one token on the decode path.
      std::vector<float> logits = logits_of(*session, tokens), one = logits_of(*session, std::span(tokens).first(257)), nll;
      logits.insert(logits.end(), one.begin(), one.end());
      REQUIRE(session->score(tokens, 0, nll).ok());
      if (threads == 1) first_logits = logits, first_nll = nll;
      CAPTURE(threads);
      CHECK(same_bits(logits, first_logits));
      CHECK(same_bits(nll, first_nll));
    }
  }
}

TEST_CASE("engine: the same bits on every kernel set with a fused multiply-add") {
  const TinyModel model({.matrices = TensorType::Q4_0, .embedding = TensorType::F16});
  const std::vector<int32_t> tokens = random_tokens(100, 97, 4);
  std::vector<float> first;
  for (Isa isa : supported_isas()) {
    if (isa == Isa::scalar) continue;
    const auto engine = load(model, 2, isa);
    const std::vector<float> logits = logits_of(*open(*engine), tokens);
    if (first.empty()) first = logits;
    CHECK(same_bits(logits, first));
  }
}

TEST_CASE("engine: a token's bits do not depend on the batch that it came in") {
  for (const char* architecture : {"llama", "gemma3"}) {
    const TinyModel model({.architecture = architecture, .matrices = TensorType::Q8_0, .embedding = TensorType::F32, .window = 90, .window_pattern = 2});
    const auto engine = load(model);
    const auto session = open(*engine);
    const std::vector<int32_t> tokens = random_tokens(530, 97, 5);
    std::vector<float> all;
    REQUIRE(session->score(tokens, 0, all).ok());
    // score() runs all tokens but the last: these lengths leave last batches of 1, 2, 3, 9 and many.
    for (uint32_t n : {2u, 3u, 4u, 10u, 66u, 130u, 256u, 257u, 258u, 259u, 265u, 514u}) {
      std::vector<float> nll;
      REQUIRE(session->score(std::span(tokens).first(n), 0, nll).ok());
      CAPTURE(n);
      CHECK(same_bits(nll, std::vector<float>(all.begin(), all.begin() + (n - 1))));
      REQUIRE(session->score(std::span(tokens).first(n), n - 2, nll).ok());
      REQUIRE(nll.size() == 1);
      CHECK(nll[0] == all[n - 2]);
    }
  }
}

TEST_CASE("engine: score is the log-softmax of logits") {
  const TinyModel model({.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0});
  const auto engine = load(model);
  const auto session = open(*engine);
  const std::vector<int32_t> tokens = random_tokens(280, 97, 6);
  std::vector<float> nll;
  REQUIRE(session->score(tokens, 100, nll).ok());
  REQUIRE(nll.size() == 179);
  double worst = 0;
  for (uint32_t i : {0u, 1u, 50u, 155u, 156u, 157u, 178u}) {
    const std::vector<float> logits = logits_of(*session, std::span(tokens).first(101 + i));
    const std::vector<double> exact(logits.begin(), logits.end());
    worst = std::max(worst, std::fabs(oracle::log_sum_exp(exact) - exact[(size_t)tokens[101 + i]] - nll[i]));
  }
  CHECK(worst < 5e-6);
}
