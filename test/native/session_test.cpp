// What a session promises its callers: generation, prefix reuse, ends, cancelling, several sessions at once.
#include <algorithm>
#include <cstdio>
#include <thread>

#include "tiny_model.h"

using namespace hunch;

namespace {

const TinyModel& tiny() {
  static const TinyModel model({.matrices = TensorType::Q4_0, .embedding = TensorType::Q8_0});
  return model;
}

std::shared_ptr<Engine> load(unsigned threads = 2) {
  LoadOptions options;
  options.threads = threads;
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(tiny().spec, options, engine).ok());
  return engine;
}

std::unique_ptr<Session> open(Engine& engine, uint32_t context = 512) {
  std::unique_ptr<Session> session;
  REQUIRE(engine.new_session(context, session).ok());
  return session;
}

const std::atomic<bool> never{false};

struct Reply {
  Status status;
  GenerateResult result;
  std::vector<int32_t> tokens;
};

GenerateOptions greedy(uint32_t max_tokens) {
  GenerateOptions o;
  o.max_tokens = max_tokens;
  return o;
}
GenerateOptions sampled(uint32_t max_tokens, uint32_t seed) {
  GenerateOptions o = greedy(max_tokens);
  o.temperature = 1, o.seed = seed;
  return o;
}

Reply generate(Session& session, std::span<const int32_t> prompt, const GenerateOptions& options) {
  Reply r;
  GenerateEvents events;
  events.token = [&](int32_t id, auto) { r.tokens.push_back(id); };
  r.status = session.generate(prompt, options, events, never, r.result);
  return r;
}

std::vector<int32_t> prompt_of(uint32_t n, uint64_t seed = 9) { return random_tokens(n, 97, seed); }

int32_t argmax(const std::vector<float>& x) { return (int32_t)(std::max_element(x.begin(), x.end()) - x.begin()); }

}  // namespace

TEST_CASE("session: greedy decoding takes the argmax of a fresh pass over all that came before") {
  const auto engine = load();
  const auto session = open(*engine), fresh = open(*engine);
  for (uint32_t length : {1u, 2u, 60u, 255u, 256u}) {  // decoding crosses attention chunks
    std::vector<int32_t> tokens = prompt_of(length);
    const Reply reply = generate(*session, tokens, greedy(30));
    REQUIRE(reply.status.ok());
    REQUIRE(reply.tokens.size() == 30);
    CHECK(reply.result.reason == StopReason::max_tokens);
    CHECK(reply.result.generated_tokens == 30);
    CHECK(reply.result.prompt_tokens == length);
    CHECK(reply.result.prefill_ms >= 0);
    CHECK(reply.result.decode_ms >= 0);
    uint32_t wrong = 0;
    for (int32_t id : reply.tokens) {
      std::vector<float> logits;
      REQUIRE(fresh->logits(tokens, logits).ok());
      wrong += argmax(logits) != id;
      tokens.push_back(id);
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("session: token by token, in pieces or at once: the same continuation") {
  const auto engine = load();
  const std::vector<int32_t> prompt = prompt_of(90);
  const auto at_once = open(*engine);
  const Reply expected = generate(*at_once, prompt, sampled(40, 3));
  for (uint32_t piece : {1u, 7u, 64u}) {
    const auto session = open(*engine);
    for (uint32_t n = piece; n < prompt.size(); n += piece) {
      const Reply step = generate(*session, std::span(prompt).first(n), greedy(0));
      REQUIRE(step.status.ok());
      CHECK(step.tokens.empty());
      CHECK(step.result.cached_tokens == n - piece);
    }
    CHECK(generate(*session, prompt, sampled(40, 3)).tokens == expected.tokens);
  }
}

TEST_CASE("session: a prompt that shares a prefix reuses it and gives what a fresh session gives") {
  const auto engine = load();
  std::vector<int32_t> first = prompt_of(70), second = first;
  second.resize(40);
  for (int32_t id : prompt_of(45, 77)) second.push_back(id);
  second[40] = (first[40] + 1) % 97;  // differ exactly there
  const auto session = open(*engine), fresh = open(*engine);
  const Reply one = generate(*session, first, sampled(20, 1));
  const Reply two = generate(*session, second, sampled(20, 2));
  CHECK(two.result.cached_tokens == 40);
  CHECK(two.tokens == generate(*fresh, second, sampled(20, 2)).tokens);

  // The next turn of a chat: what was said, the reply, something new.
  std::vector<int32_t> third = second;
  third.insert(third.end(), two.tokens.begin(), two.tokens.end());
  for (int32_t id : prompt_of(5, 78)) third.push_back(id);
  const Reply three = generate(*session, third, sampled(20, 3));
  CHECK(three.result.cached_tokens == second.size() + 19);  // the last token of a reply was never run
  const auto another = open(*engine);
  CHECK(three.tokens == generate(*another, third, sampled(20, 3)).tokens);

  // The same prompt again: all but its last token is there.
  const Reply again = generate(*session, third, sampled(20, 3));
  CHECK(again.result.cached_tokens == third.size() - 1);
  CHECK(again.tokens == three.tokens);
  // A shorter one.
  const Reply back = generate(*session, first, sampled(20, 1));
  CHECK(back.result.cached_tokens == 40);
  CHECK(back.tokens == one.tokens);
  // score() and logits() start from nothing and do not upset what follows.
  std::vector<float> scratch;
  REQUIRE(session->score(second, 0, scratch).ok());
  CHECK(generate(*session, first, sampled(20, 1)).tokens == one.tokens);
  REQUIRE(session->logits(second, scratch).ok());
  CHECK(generate(*session, first, sampled(20, 1)).tokens == one.tokens);
}

TEST_CASE("session: prefill events count what the cache did not hold, batch by batch") {
  const auto engine = load();
  const auto session = open(*engine, 1024);
  const std::vector<int32_t> prompt = prompt_of(600);
  std::vector<std::pair<uint32_t, uint32_t>> seen;
  GenerateEvents events;
  events.prefill = [&](uint32_t done, uint32_t total) { seen.emplace_back(done, total); };
  GenerateResult result;
  REQUIRE(session->generate(prompt, greedy(2), events, never, result).ok());
  REQUIRE_FALSE(seen.empty());
  for (size_t i = 0; i < seen.size(); i++) {
    CHECK(seen[i].second == 600);
    if (i) CHECK(seen[i].first > seen[i - 1].first);
  }
  CHECK(seen.back().first == 600);
  seen.clear();
  REQUIRE(session->generate(std::span(prompt).first(500), greedy(2), events, never, result).ok());
  CHECK(result.cached_tokens == 499);
  CHECK(seen == std::vector<std::pair<uint32_t, uint32_t>>{{1, 1}});
}

TEST_CASE("session: stop tokens end a reply and are not part of it") {
  const auto engine = load();
  const auto session = open(*engine);
  const std::vector<int32_t> prompt = prompt_of(10);
  const Reply all = generate(*session, prompt, sampled(30, 5));
  REQUIRE(all.tokens.size() == 30);
  for (size_t at : {0, 1, 10, 29}) {
    const int32_t stop = all.tokens[at];
    const size_t first = (size_t)(std::find(all.tokens.begin(), all.tokens.end(), stop) - all.tokens.begin());
    GenerateOptions o = sampled(30, 5);
    o.stop_tokens = {-5, stop, 1000000};
    const Reply r = generate(*session, prompt, o);
    CHECK(r.result.reason == StopReason::stop_token);
    CHECK(r.result.generated_tokens == first);
    CHECK(r.tokens == std::vector<int32_t>(all.tokens.begin(), all.tokens.begin() + (ptrdiff_t)first));
  }
}

TEST_CASE("session: max_tokens counts exactly, zero included") {
  const auto engine = load();
  const auto session = open(*engine);
  for (uint32_t n : {0u, 1u, 2u, 17u}) {
    const Reply r = generate(*session, prompt_of(8), greedy(n));
    REQUIRE(r.status.ok());
    CHECK(r.tokens.size() == n);
    CHECK(r.result.generated_tokens == n);
    CHECK(r.result.reason == StopReason::max_tokens);
  }
}

TEST_CASE("session: a context that fills up says so; a prompt that does not fit is refused") {
  const auto engine = load();
  const auto roomy = open(*engine);
  for (uint32_t context : {16u, 17u, 64u, 65u}) {
    const auto session = open(*engine, context);
    const std::vector<int32_t> prompt = prompt_of(context + 1);
    for (uint32_t n : {1u, context - 3, context}) {
      const Reply r = generate(*session, std::span(prompt).first(n), greedy(1000));
      REQUIRE(r.status.ok());
      CHECK(r.result.reason == StopReason::context_full);
      CHECK(r.result.generated_tokens == context - n + 1);  // the last one is known, but there is no room to run it
      CHECK(r.tokens == generate(*roomy, std::span(prompt).first(n), greedy(context - n + 1)).tokens);
    }
    const Reply r = generate(*session, prompt, greedy(1));
    CHECK(r.status.code == "context-overflow");
    CHECK(r.status.message.find(std::to_string(context)) != std::string::npos);
    std::vector<float> out;
    CHECK(session->logits(prompt, out).code == "context-overflow");
    CHECK(session->logits(std::span(prompt).first(context), out).ok());
    CHECK(generate(*session, std::span(prompt).first(4), greedy(3)).status.ok());  // and the session lives on
  }
}

TEST_CASE("session: nonsense is refused before anything runs") {
  const auto engine = load();
  const auto session = open(*engine, 64);
  const std::vector<int32_t> good = prompt_of(10);
  std::vector<float> out;
  for (int32_t bad : {-1, 97, 2147483647, -2147483647 - 1}) {
    std::vector<int32_t> prompt = good;
    prompt[4] = bad;
    CHECK(generate(*session, prompt, greedy(1)).status.code == "bad-request");
    CHECK(generate(*session, prompt, greedy(1)).status.message.find(std::to_string(bad)) != std::string::npos);
    CHECK(session->logits(prompt, out).code == "bad-request");
    CHECK(session->score(prompt, 0, out).code == "bad-request");
  }
  CHECK(generate(*session, {}, greedy(1)).status.code == "bad-request");
  CHECK(session->logits({}, out).code == "bad-request");
  for (uint32_t from : {9u, 10u, 0xFFFFFFFFu, 0xFFFFFFFEu}) CHECK(session->score(good, from, out).code == "bad-request");
  CHECK(session->score(std::span(good).first(1), 0, out).code == "bad-request");
  CHECK(session->score(good, 8, out).ok());
  CHECK(out.size() == 1);
  double prefill = 0, decode = 0;
  CHECK(session->bench(0, 0, prefill, decode).code == "bad-request");
  CHECK(session->bench(60, 5, prefill, decode).code == "bad-request");
  CHECK(session->bench(0xFFFFFFFF, 2, prefill, decode).code == "bad-request");  // the sum wraps
  CHECK(session->bench(60, 4, prefill, decode).ok());
  CHECK(prefill > 0);
  CHECK(decode > 0);
}

TEST_CASE("session: cancelled before, during prefill and during decode, it stops and can go on") {
  const auto engine = load();
  const std::vector<int32_t> prompt = prompt_of(600);
  const auto fresh = open(*engine, 1024);
  const Reply expected = generate(*fresh, prompt, sampled(20, 4));

  const auto session = open(*engine, 1024);
  std::atomic<bool> cancel{true};
  std::vector<int32_t> tokens;
  GenerateEvents events;
  events.token = [&](int32_t id, auto) { tokens.push_back(id); };
  GenerateResult result;
  REQUIRE(session->generate(prompt, sampled(20, 4), events, cancel, result).ok());
  CHECK(result.reason == StopReason::cancelled);
  CHECK(result.generated_tokens == 0);
  CHECK(tokens.empty());

  cancel = false;
  events.prefill = [&](uint32_t done, uint32_t) { cancel = done < 600; };  // after the first batch
  REQUIRE(session->generate(prompt, sampled(20, 4), events, cancel, result).ok());
  CHECK(result.reason == StopReason::cancelled);
  CHECK(tokens.empty());

  cancel = false;
  events.prefill = {};
  events.token = [&](int32_t id, auto) {
    tokens.push_back(id);
    if (tokens.size() == 3) cancel = true;
  };
  REQUIRE(session->generate(prompt, sampled(20, 4), events, cancel, result).ok());
  CHECK(result.reason == StopReason::cancelled);
  CHECK(result.cached_tokens == 256);  // the batch that was done
  CHECK(result.generated_tokens == 3);
  CHECK(tokens == std::vector<int32_t>(expected.tokens.begin(), expected.tokens.begin() + 3));

  CHECK(generate(*session, prompt, sampled(20, 4)).tokens == expected.tokens);
}

TEST_CASE("session: cancelling from another thread at any moment leaves a session that is still right") {
  const auto engine = load();
  const auto session = open(*engine, 1024), fresh = open(*engine, 1024);
  const std::vector<int32_t> prompt = prompt_of(300);
  const Reply expected = generate(*fresh, prompt, sampled(12, 6));
  for (int i = 0; i < 20; i++) {
    std::atomic<bool> cancel{false};
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::microseconds(i * 150));
      cancel = true;
    });
    std::vector<int32_t> tokens, changed = prompt;
    changed[(size_t)i * 14] = (changed[(size_t)i * 14] + 1) % 97;  // something to prefill each time
    GenerateEvents events;
    GenerateResult result;
    const Status status = session->generate(changed, sampled(200, 6), events, cancel, result);
    other.join();
    CHECK(status.ok());
    CHECK((result.reason == StopReason::cancelled || result.generated_tokens == 200));
    if (i % 5 == 0) CHECK(generate(*session, prompt, sampled(12, 6)).tokens == expected.tokens);
  }
  CHECK(generate(*session, prompt, sampled(12, 6)).tokens == expected.tokens);
}

TEST_CASE("session: two sessions of one engine at once give what each gives alone") {
  for (unsigned threads : {1u, 2u}) {
    const auto engine = load(threads);
    const std::vector<int32_t> a = prompt_of(300, 21), b = prompt_of(40, 22);
    const auto alone = open(*engine);
    const std::vector<int32_t> expected_a = generate(*alone, a, sampled(60, 1)).tokens, expected_b = generate(*alone, b, sampled(60, 2)).tokens;
    std::vector<float> expected_nll, nll;
    REQUIRE(alone->score(a, 0, expected_nll).ok());
    const auto first = open(*engine), second = open(*engine), third = open(*engine);
    std::vector<int32_t> tokens_a, tokens_b;
    const auto run = [](Session& s, const std::vector<int32_t>& prompt, uint32_t seed, std::vector<int32_t>& out) {
      GenerateEvents events;
      events.token = [&](int32_t id, auto) { out.push_back(id); };
      GenerateResult result;
      s.generate(prompt, sampled(60, seed), events, never, result);
    };
    std::thread one([&] { run(*first, a, 1, tokens_a); }), two([&] { run(*second, b, 2, tokens_b); });
    std::thread three([&] { third->score(a, 0, nll); });
    one.join(), two.join(), three.join();
    CHECK(tokens_a == expected_a);
    CHECK(tokens_b == expected_b);
    CHECK(same_bits(nll, expected_nll));
  }
}

TEST_CASE("session: lives on when the engine's handle is gone, and others of its engine with it") {
  auto engine = load();
  const auto session = open(*engine);
  const Reply before = generate(*session, prompt_of(20), greedy(10));
  auto other = open(*engine);
  engine.reset();
  CHECK(generate(*other, prompt_of(20), greedy(10)).tokens == before.tokens);
  other.reset();
  CHECK(generate(*session, prompt_of(21), greedy(10)).status.ok());
}

TEST_CASE("session: the repeat penalty sees the prompt and the reply") {
  const auto engine = load();
  const auto session = open(*engine);
  const std::vector<int32_t> prompt = prompt_of(10);
  GenerateOptions o = greedy(60);
  o.repeat_penalty = 1e6f;
  o.repeat_last_n = 1000;
  const Reply r = generate(*session, prompt, o);
  REQUIRE(r.tokens.size() == 60);
  std::vector<int32_t> sorted = prompt;
  sorted.insert(sorted.end(), r.tokens.begin(), r.tokens.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t prompt_repeats = [&] {
    std::vector<int32_t> p = prompt;
    std::sort(p.begin(), p.end());
    return (size_t)(p.end() - std::unique(p.begin(), p.end()));
  }();
  CHECK((size_t)(sorted.end() - std::unique(sorted.begin(), sorted.end())) == prompt_repeats);  // none of 97 tokens comes twice
}

TEST_CASE("session: weights that are not numbers give an error, not a token") {
  const TinyModel model({});
  ModelSpec spec = model.spec;
  for (TensorInfo& t : spec.tensors)
    if (t.name == "output_norm.weight") {
      std::vector<uint32_t> nan(64, 0x7FC00000);
      std::FILE* f = std::fopen(spec.path.c_str(), "r+b");
      REQUIRE(f);
      std::fseek(f, (long)t.offset, SEEK_SET);
      CHECK(std::fwrite(nan.data(), 4, 64, f) == 64);
      std::fclose(f);
    }
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(spec, {}, engine).ok());
  const auto session = open(*engine);
  for (const GenerateOptions& o : {greedy(5), sampled(5, 1)}) {
    const Reply r = generate(*session, prompt_of(5), o);
    CHECK(r.status.code == "model-invalid");
    CHECK(r.tokens.empty());
  }
}
