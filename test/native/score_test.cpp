// Scoring windows that share a beginning: what the cache holds is not run again, and nothing of the result changes.
#include <algorithm>

#include "tiny_model.h"

using namespace hunch;

namespace {

std::unique_ptr<Session> open(const std::shared_ptr<Engine>& engine, uint32_t context = 1024) {
  std::unique_ptr<Session> session;
  REQUIRE(engine->new_session(context, session).ok());
  return session;
}

std::shared_ptr<Engine> load(const TinyModel& model, unsigned threads = 2) {
  LoadOptions options;
  options.threads = threads;
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(model.spec, options, engine).ok());
  return engine;
}

std::vector<int32_t> joined(const std::vector<int32_t>& head, const std::vector<int32_t>& tail) {
  std::vector<int32_t> all = head;
  all.insert(all.end(), tail.begin(), tail.end());
  return all;
}

}  // namespace

TEST_CASE("score: a shared beginning changes no bit of the result") {
  const TinyModel model({.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0});
  const auto engine = load(model);
  const auto reused = open(engine);
  for (uint32_t context : {1u, 2u, 17u, 300u}) {
    const auto beginning = random_tokens(context, 97, context);
    for (uint32_t seed = 1; seed < 5; seed++) {
      const auto tokens = joined(beginning, random_tokens(1 + 7 * seed, 97, 100 + seed));
      const auto fresh = open(engine);
      std::vector<float> expected, got;
      REQUIRE(fresh->score(tokens, context - 1, expected).ok());
      REQUIRE(reused->score(tokens, context - 1, got).ok());
      CHECK(got == expected);
    }
  }
  // A window that is a beginning of the one before, and one that differs from its first token on.
  const auto tokens = random_tokens(40, 97, 3), others = random_tokens(40, 97, 4);
  for (const auto& window : {tokens, std::vector(tokens.begin(), tokens.begin() + 20), others, tokens}) {
    std::vector<float> expected, got;
    REQUIRE(open(engine)->score(window, 5, expected).ok());
    REQUIRE(reused->score(window, 5, got).ok());
    CHECK(got == expected);
  }
}

TEST_CASE("score: greedy marks the tokens that the model likes best") {
  const TinyModel model({});
  const auto engine = load(model);
  const auto session = open(engine), other = open(engine);
  auto tokens = random_tokens(6, 97, 1);
  for (int step = 0; step < 40; step++) {  // now the argmax, now the token after it
    std::vector<float> logits;
    REQUIRE(other->logits(tokens, logits).ok());
    const int32_t best = (int32_t)(std::max_element(logits.begin(), logits.end()) - logits.begin());
    tokens.push_back(step % 3 ? best : (best + 1) % 97);
  }
  std::vector<float> nll;
  std::vector<uint8_t> greedy;
  REQUIRE(session->score(tokens, 5, nll, &greedy).ok());
  REQUIRE(greedy.size() == 40);
  for (size_t step = 0; step < greedy.size(); step++) CHECK(greedy[step] == (step % 3 ? 1 : 0));
}

TEST_CASE("bench: a depth is context, not work that is timed") {
  const TinyModel model({});
  const auto session = open(load(model), 64);
  double prefill = -1, decode = -1;
  CHECK(session->bench(0, 4, prefill, decode, 60).ok());
  CHECK(decode > 0);
  CHECK(session->bench(4, 0, prefill, decode, 60).ok());
  CHECK(prefill > 0);
  CHECK(session->bench(1, 4, prefill, decode, 60).code == "bad-request");
  CHECK(session->bench(1, 0, prefill, decode, 0xFFFFFFFF).code == "bad-request");
}
