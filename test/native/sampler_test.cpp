#include "sampler.h"

#include <algorithm>
#include <set>

#include "support.h"

using namespace hunch;

namespace {

const Kernels& kernels() { return *kernels_for(supported_isas().front()); }

int32_t draw(const GenerateOptions& o, std::vector<float> logits, std::vector<int32_t> recent = {}) { return Sampler(o, kernels()).draw(logits, recent); }

// The ids that `draws` draws of one sampler give.
std::set<int32_t> drawn(const GenerateOptions& o, const std::vector<float>& logits, int draws = 4000) {
  Sampler sampler(o, kernels());
  std::set<int32_t> ids;
  for (int i = 0; i < draws; i++) {
    std::vector<float> copy = logits;
    ids.insert(sampler.draw(copy, {}));
  }
  return ids;
}

GenerateOptions with(float temperature, uint32_t top_k = 0, float top_p = 1, float min_p = 0) {
  GenerateOptions o;
  o.temperature = temperature, o.top_k = top_k, o.top_p = top_p, o.min_p = min_p, o.seed = 7;
  return o;
}

using Ids = std::set<int32_t>;

}  // namespace

TEST_CASE("sampler: greedy takes the largest logit, and of equals the lowest id") {
  CHECK(draw({}, {1, 3, 2}) == 1);
  CHECK(draw({}, {1, 3, 3, 3}) == 1);
  CHECK(draw({}, {-5, -4, -4}) == 1);
  for (uint32_t n : {1u, 255u, 256u, 257u, 1000u})
    for (uint32_t at : {0u, n / 2, n - 1}) {
      std::vector<float> logits(n, -1.0f);
      logits[at] = 0;
      CHECK(draw({}, logits) == (int32_t)at);
      logits[n - 1] = 0;  // a tie, perhaps in another block of the scan
      CHECK(draw({}, logits) == (int32_t)at);
    }
}

TEST_CASE("sampler: top-k keeps exactly the k best, and of equals the lower ids") {
  const std::vector<float> logits = {0.1f, 0.5f, 0.3f, 0.5f, 0.2f, 0.4f};
  CHECK(drawn(with(5, 1), logits) == Ids{1});
  CHECK(drawn(with(5, 2), logits) == Ids{1, 3});
  CHECK(drawn(with(5, 3), logits) == Ids{1, 3, 5});
  CHECK(drawn(with(5, 5), logits) == Ids{1, 2, 3, 4, 5});
  CHECK(drawn(with(5, 100), logits) == Ids{0, 1, 2, 3, 4, 5});
  CHECK(drawn(with(5, 2), {1, 1, 1, 1}) == Ids{0, 1});
  Random random(30);  // over several blocks of the scan
  for (int i = 0; i < 20; i++) {
    std::vector<float> many = random.normals(1000);
    std::vector<int32_t> order(1000);
    for (int id = 0; id < 1000; id++) order[id] = id;
    std::sort(order.begin(), order.end(), [&](int a, int b) { return many[a] > many[b]; });
    CHECK(drawn(with(100, 5), many, 200) == Ids(order.begin(), order.begin() + 5));
  }
}

TEST_CASE("sampler: top-p keeps the smallest set that reaches p of the untempered distribution") {
  // Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625, in another order.
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.0625f), std::log(0.25f), std::log(0.0625f)};
  CHECK(drawn(with(3, 0, 0.4f), logits) == Ids{1});
  CHECK(drawn(with(3, 0, 0.6f), logits) == Ids{1, 3});
  CHECK(drawn(with(3, 0, 0.8f), logits) == Ids{0, 1, 3});
  CHECK(drawn(with(3, 0, 0.9f), logits) == Ids{0, 1, 2, 3});  // of the two equals the lower id
  CHECK(drawn(with(3, 0, 0.95f), logits) == Ids{0, 1, 2, 3, 4});
  CHECK(drawn(with(3, 0, 0.0f), logits) == Ids{1});
  CHECK(drawn(with(0.3f, 0, 0.8f), logits, 20000) == Ids{0, 1, 3});  // a low temperature does not shrink the set
  // After top-k the probabilities are those of what is left: 2/3 and 1/3.
  CHECK(drawn(with(3, 2, 0.7f), logits) == Ids{1, 3});
  CHECK(drawn(with(3, 2, 0.6f), logits) == Ids{1});
}

TEST_CASE("sampler: min-p keeps what has at least p times the best one's probability") {
  const std::vector<float> logits = {std::log(0.125f), std::log(0.5f), std::log(0.0625f), std::log(0.25f), std::log(0.0625f)};
  CHECK(drawn(with(3, 0, 1, 0.6f), logits) == Ids{1});
  CHECK(drawn(with(3, 0, 1, 0.4f), logits) == Ids{1, 3});
  CHECK(drawn(with(3, 0, 1, 0.2f), logits) == Ids{0, 1, 3});
  CHECK(drawn(with(3, 0, 1, 0.12f), logits) == Ids{0, 1, 2, 3, 4});
  CHECK(drawn(with(3, 0, 1, 1.0f), logits) == Ids{1});
}

TEST_CASE("sampler: draws follow softmax(logits / temperature)") {
  const std::vector<float> logits = {2.0f, 1.0f, 0.5f, 0.0f, -0.5f, 1.5f, -1.0f, 0.25f};
  for (float temperature : {0.5f, 1.0f, 2.0f})
    for (uint32_t top_k : {0u, 8u}) {
      double total = 0;
      for (float l : logits) total += std::exp((double)l / temperature);
      GenerateOptions o = with(temperature, top_k);
      Sampler sampler(o, kernels());
      const int draws = 40000;
      std::vector<int> counts(logits.size());
      for (int i = 0; i < draws; i++) {
        std::vector<float> copy = logits;
        counts[(size_t)sampler.draw(copy, {})]++;
      }
      double chi2 = 0;
      for (size_t i = 0; i < logits.size(); i++) {
        const double expected = draws * std::exp((double)logits[i] / temperature) / total;
        chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
      }
      CAPTURE(temperature);
      CHECK(chi2 < 24.3);  // 7 degrees of freedom: exceeded once in a thousand seeds; the seed is fixed
    }
}

TEST_CASE("sampler: the same seed draws the same, another seed does not") {
  Random random(31);
  const std::vector<float> logits = random.normals(500);
  const auto sequence = [&](uint32_t seed) {
    GenerateOptions o = with(1);
    o.seed = seed;
    Sampler sampler(o, kernels());
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; i++) {
      std::vector<float> copy = logits;
      ids.push_back(sampler.draw(copy, {}));
    }
    return ids;
  };
  CHECK(sequence(1) == sequence(1));
  CHECK(sequence(1) != sequence(2));
  CHECK(sequence(0xFFFFFFFF) == sequence(0xFFFFFFFF));
}

TEST_CASE("sampler: the repeat penalty divides positive and multiplies negative logits, once per token, in its window") {
  GenerateOptions o;
  o.repeat_penalty = 2;
  o.repeat_last_n = 3;
  CHECK(draw(o, {2.0f, 1.1f}) == 0);
  CHECK(draw(o, {2.0f, 1.1f}, {0}) == 1);        // 1.0 < 1.1
  CHECK(draw(o, {2.0f, 0.9f}, {0, 0, 0}) == 0);  // once: 1.0, not 0.25
  CHECK(draw(o, {-1.0f, -1.9f}, {0}) == 1);      // -2.0 < -1.9
  CHECK(draw(o, {2.0f, 1.1f}, {0, 1, 1, 1}) == 0);  // token 0 lies before the window
  CHECK(draw(o, {2.0f, 1.1f, 0}, {0, 2, 2}) == 1);
  o.repeat_last_n = 0;
  CHECK(draw(o, {2.0f, 1.1f}, {0}) == 0);
  o.repeat_last_n = 3, o.repeat_penalty = 1;
  CHECK(draw(o, {2.0f, 1.1f}, {0}) == 0);
  o.repeat_penalty = 1.5f;
  o.temperature = 1, o.top_k = 1;
  CHECK(draw(o, {1.5f, 1.1f}, {0}) == 1);  // also before top-k
}

TEST_CASE("sampler: logits without a usable number give -1, single bad ones are passed over") {
  for (float temperature : {0.0f, 1.0f})
    for (uint32_t top_k : {0u, 3u}) {
      const GenerateOptions o = with(temperature, top_k);
      CAPTURE(temperature);
      CAPTURE(top_k);
      for (size_t n : {1, 15, 16, 40, 300}) {
        CHECK(draw(o, std::vector<float>(n, kNan)) == -1);
        CHECK(draw(o, std::vector<float>(n, -kInfinity)) == -1);
        std::vector<float> one(n, kNan);
        one[n / 2] = 1;
        CHECK(draw(o, one) == (int32_t)(n / 2));
        std::fill(one.begin(), one.end(), -kInfinity);
        one[n - 1] = -3;
        CHECK(draw(o, one) == (int32_t)(n - 1));
      }
      std::vector<float> infinite(20, 0.0f);
      infinite[4] = kInfinity;
      CHECK(draw(o, infinite) == -1);
    }
}

TEST_CASE("sampler: a very low temperature is greedy, and very unequal logits do not upset the draw") {
  for (uint32_t seed = 0; seed < 50; seed++) {
    GenerateOptions o = with(1e-6f);
    o.seed = seed;
    CHECK(draw(o, {1.0f, 1.001f, 0.5f}) == 1);
    o.temperature = 1;
    CHECK(draw(o, {-1e30f, 3e38f, 0, -kInfinity}) == 1);  // where max - 40 is max
    CHECK(draw(o, {-3e38f, -2e38f, -kInfinity}) == 1);
  }
}
