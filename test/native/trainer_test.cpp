// Fitting predictors: planted truths are found, thresholds mean what they say, states come back as they were.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "fine_tuner.h"
#include "samples.h"
#include "tiny_model.h"
#include "trainer.h"

using namespace hunch;

namespace {

// y = B A x + noise, with inputs of very different spread and a mean.
struct Planted {
  uint32_t width = 40, rows = 90, rank = 5, tokens = 4000;
  std::vector<float> x, y;  // [tokens][width], [tokens][rows]
  explicit Planted(double noise, uint64_t seed = 1) {
    Random random(seed);
    const auto a = random.normals((size_t)rank * width), b = random.normals((size_t)rows * rank, 0.5);
    std::vector<double> spread(width), mean(width);
    for (uint32_t i = 0; i < width; i++) spread[i] = i == 3 ? 50 : 0.2 + random.uniform(), mean[i] = i == 3 ? 400 : random.normal();
    for (uint32_t t = 0; t < tokens; t++) {
      std::vector<double> z(width), h(rank, 0);
      for (uint32_t i = 0; i < width; i++) {
        z[i] = random.normal();
        x.push_back((float)(mean[i] + spread[i] * z[i]));
        for (uint32_t j = 0; j < rank; j++) h[j] += a[(size_t)j * width + i] * z[i] / std::sqrt(width);
      }
      for (uint32_t r = 0; r < rows; r++) {
        double v = 0.1 * r - 4;
        for (uint32_t j = 0; j < rank; j++) v += b[(size_t)r * rank + j] * h[j];
        y.push_back((float)(v + noise * random.normal()));
      }
    }
  }
  Moments moments(const LinearAlgebra& la) const {
    GramSum sum(width);
    for (uint32_t t = 0; t < tokens; t += 100) sum.add(la, x.data() + (size_t)t * width, 100);
    Moments m{width, rows, sum.covariance(), std::vector<float>((size_t)rows * width), sum.mean(), {}, {}};
    for (uint32_t r = 0; r < rows; r++) {
      double mean = 0, square = 0;
      for (uint32_t t = 0; t < tokens; t++) mean += y[(size_t)t * rows + r] / tokens;
      for (uint32_t t = 0; t < tokens; t++) square += std::pow(y[(size_t)t * rows + r] - mean, 2) / tokens;
      m.y.push_back((float)mean);
      m.y_variance.push_back((float)square);
      for (uint32_t i = 0; i < width; i++) {
        double sum_yx = 0;
        for (uint32_t t = 0; t < tokens; t++) sum_yx += (y[(size_t)t * rows + r] - mean) * (x[(size_t)t * width + i] - m.x[i]);
        m.yx[(size_t)r * width + i] = (float)(sum_yx / tokens);
      }
    }
    return m;
  }
};

double mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); i++) sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
  return sum / (double)a.size();
}

std::vector<float> scores_of(const LinearAlgebra& la, const LowRankPredictor& p, const Planted& d) {
  std::vector<float> scores((size_t)d.tokens * d.rows), hidden;
  predict(la, p, d.width, d.rows, d.x.data(), d.tokens, hidden, scores.data());
  return scores;
}

std::vector<const LinearAlgebra*> all_linear_algebra() {
  std::vector<const LinearAlgebra*> all;
  for (Isa isa : supported_isas())
    if (const LinearAlgebra* la = linear_algebra_for(isa)) all.push_back(la);
  if (std::find(all.begin(), all.end(), baseline_linear_algebra()) == all.end()) all.push_back(baseline_linear_algebra());
  return all;
}

}  // namespace

TEST_CASE("linear algebra: every instruction set gives what the definitions say") {
  for (const LinearAlgebra* la : all_linear_algebra()) {
    CAPTURE(isa_name(la->isa));
    Random random(3);
    for (bool ta : {false, true})
      for (bool tb : {false, true}) {
        const uint32_t m = 37, n = 19, k = 53;
        const auto a = random.normals((size_t)m * k), b = random.normals((size_t)k * n);
        std::vector<float> c(m * n, 2.0f);
        la->multiply(ta, tb, m, n, k, a.data(), b.data(), true, c.data());
        for (uint32_t i = 0; i < m; i++)
          for (uint32_t j = 0; j < n; j++) {
            double sum = 2;
            for (uint32_t l = 0; l < k; l++) sum += (double)(ta ? a[l * m + i] : a[i * k + l]) * (tb ? b[j * k + l] : b[l * n + j]);
            REQUIRE(c[i * n + j] == doctest::Approx(sum).epsilon(1e-4));
          }
      }
    const uint32_t n = 24;
    const auto x = random.normals(60 * n);
    std::vector<float> gram(n * n, 0.0f);
    la->add_gram(60, n, x.data(), gram.data());
    std::vector<double> l(gram.begin(), gram.end());
    REQUIRE(la->cholesky(n, l.data()));
    for (uint32_t i = 0; i < n; i++)
      for (uint32_t j = 0; j <= i; j++) {
        double sum = 0;
        for (uint32_t k = 0; k <= j; k++) sum += l[i * n + k] * l[j * n + k];
        REQUIRE(sum == doctest::Approx(gram[i * n + j]).epsilon(1e-4));
      }
    std::vector<float> lower(n * n, 0.0f);
    for (uint32_t i = 0; i < n; i++)
      for (uint32_t j = 0; j <= i; j++) lower[i * n + j] = (float)l[i * n + j];
    for (bool transposed : {false, true}) {
      const auto b = random.normals(5 * n);
      auto q = b;
      la->divide_lower(5, n, lower.data(), transposed, q.data());
      std::vector<float> back(5 * n);
      la->multiply(false, transposed, 5, n, n, q.data(), lower.data(), false, back.data());
      CHECK(mean_square(back, b) < 1e-9);
    }
    auto basis = random.normals(30 * 7);
    la->orthonormalise(30, 7, basis.data());
    std::vector<float> identity(49);
    la->multiply(true, false, 7, 7, 30, basis.data(), basis.data(), false, identity.data());
    for (uint32_t i = 0; i < 49; i++) REQUIRE(std::fabs(identity[i] - (i % 8 == 0)) < 1e-5);
    std::vector<double> not_positive = {1, 0, 2, 1};
    CHECK_FALSE(la->cholesky(2, not_positive.data()));
  }
}

TEST_CASE("linear algebra: the logistic loss and its gradient, also far out") {
  for (const LinearAlgebra* la : all_linear_algebra()) {
    const std::vector<float> z = {-80, -5, -0.3f, 0, 0.3f, 5, 80}, w = {1, -2, 0.5f, -1, 3, -1, -1};
    std::vector<float> gradient(z.size());
    la->logistic(z.size(), z.data(), w.data(), gradient.data());
    double sum = 0;
    for (size_t i = 0; i < z.size(); i++) {
      const double s = 1 / (1 + std::exp(-std::clamp((double)z[i], -60.0, 60.0)));
      REQUIRE(gradient[i] == doctest::Approx(std::fabs(w[i]) * (s - (w[i] > 0))).epsilon(1e-4));
      sum += std::fabs(w[i]) * (w[i] > 0 ? std::log1p(std::exp(-std::clamp((double)z[i], -60.0, 60.0))) : std::log1p(std::exp(std::clamp((double)z[i], -60.0, 60.0))));
    }
    CHECK(la->logistic(z.size(), z.data(), w.data(), nullptr) == doctest::Approx(sum).epsilon(1e-4));
  }
}

TEST_CASE("trainer: the closed form finds a planted low-rank truth, however the inputs are scaled") {
  for (const LinearAlgebra* la : all_linear_algebra()) {
    const Planted d(0.01);
    const Moments m = d.moments(*la);
    LowRankPredictor p;
    for (bool scaled : {false, true}) {
      REQUIRE(fit_closed_form(*la, m, {.rank = d.rank, .ridge = 1e-5f, .scale_rows = scaled, .as_logit = false}, p).ok());
      CHECK(p.rank == d.rank);
      CHECK(check_predictor(p, d.width, d.rows, "it").ok());
      CHECK(mean_square(scores_of(*la, p, d), d.y) < 4e-4);  // noise alone: 1e-4
    }
    LowRankPredictor narrower;
    REQUIRE(fit_closed_form(*la, m, {.rank = d.rank - 2, .as_logit = false}, narrower).ok());
    CHECK(mean_square(scores_of(*la, narrower, d), d.y) > 10 * mean_square(scores_of(*la, p, d), d.y));
    REQUIRE(fit_closed_form(*la, m, {.rank = 500}, p).ok());
    CHECK(p.rank == d.width);
  }
}

TEST_CASE("trainer: logits are honest chances") {
  const LinearAlgebra& la = linear_algebra();
  const Planted d(0.7, 5);
  LowRankPredictor p;
  REQUIRE(fit_closed_form(la, d.moments(la), {.rank = d.rank, .threshold = 0.5f}, p).ok());
  const auto scores = scores_of(la, p, d);
  double chance = 0, active = 0;
  size_t n = 0;
  for (size_t i = 0; i < scores.size(); i++)
    if (std::fabs(scores[i]) < 1.5) n++, chance += 1 / (1 + std::exp(-scores[i])), active += d.y[i] > 0.5f;
  REQUIRE(n > 1000);
  CHECK(chance / (double)n == doctest::Approx(active / (double)n).epsilon(0.05));
}

TEST_CASE("trainer: what holds no numbers, or has another shape, is refused") {
  const LinearAlgebra& la = linear_algebra();
  const Planted d(0.1);
  const Moments good = d.moments(la);
  LowRankPredictor p;
  for (auto part : {&Moments::xx, &Moments::yx, &Moments::x, &Moments::y, &Moments::y_variance})
    for (float bad : {kNan, kInfinity}) {
      Moments m = good;
      (m.*part).back() = bad;
      CHECK(fit_closed_form(la, m, {}, p).code == "bad-request");
      (m.*part).pop_back();
      CHECK(fit_closed_form(la, m, {}, p).code == "bad-request");
    }
  CHECK(fit_closed_form(la, good, {.rank = 0}, p).code == "bad-request");
  CHECK(fit_closed_form(la, good, {.ridge = 0}, p).code == "bad-request");
  std::vector<float> gate((size_t)d.rows * d.width, 1.0f);
  CHECK(factor_gate(la, gate.data(), d.rows, d.width, nullptr, nullptr, 0, p).code == "bad-request");
  gate[7] = kNan;
  CHECK(factor_gate(la, gate.data(), d.rows, d.width, nullptr, nullptr, 4, p).code == "bad-request");
}

TEST_CASE("trainer: inputs that never vary still give numbers") {
  const LinearAlgebra& la = linear_algebra();
  Planted d(0.1);
  for (uint32_t t = 0; t < d.tokens; t++) {
    d.x[(size_t)t * d.width + 1] = 7;
    d.y[(size_t)t * d.rows + 2] = -3;  // a neuron that is never active
  }
  LowRankPredictor p;
  REQUIRE(fit_closed_form(la, d.moments(la), {.rank = 5}, p).ok());
  CHECK(check_predictor(p, d.width, d.rows, "it").ok());
  const auto scores = scores_of(la, p, d);
  for (uint32_t t = 0; t < d.tokens; t++) REQUIRE(scores[(size_t)t * d.rows + 2] < -10);
}

TEST_CASE("trainer: factors of a low-rank gate are the gate; weighting pays where inputs are lopsided") {
  const LinearAlgebra& la = linear_algebra();
  const Planted d(0.1);
  Random random(9);
  const auto a = random.normals((size_t)3 * d.width), b = random.normals((size_t)d.rows * 3), bias = random.normals(d.rows);
  std::vector<float> gate((size_t)d.rows * d.width), truth((size_t)d.tokens * d.rows), hidden;
  la.multiply(false, false, d.rows, d.width, 3, b.data(), a.data(), false, gate.data());
  const auto run = [&](const std::vector<float>& w) {
    for (uint32_t t = 0; t < d.tokens; t++) std::copy(bias.begin(), bias.end(), truth.begin() + (ptrdiff_t)t * d.rows);
    la.multiply(false, true, d.tokens, d.rows, d.width, d.x.data(), w.data(), true, truth.data());
  };
  run(gate);
  const Moments m = d.moments(la);
  LowRankPredictor p;
  double size = mean_square(truth, std::vector<float>(truth.size()));
  REQUIRE(factor_gate(la, gate.data(), d.rows, d.width, bias.data(), nullptr, 3, p).ok());
  CHECK(mean_square(scores_of(la, p, d), truth) < 1e-8 * size);
  REQUIRE(factor_gate(la, gate.data(), d.rows, d.width, bias.data(), &m, 3, p).ok());
  CHECK(mean_square(scores_of(la, p, d), truth) < 1e-8 * size);
  const auto full = random.normals(gate.size());
  run(full);
  REQUIRE(factor_gate(la, full.data(), d.rows, d.width, bias.data(), nullptr, 8, p).ok());
  const double plain = mean_square(scores_of(la, p, d), truth);
  REQUIRE(factor_gate(la, full.data(), d.rows, d.width, bias.data(), &m, 8, p).ok());
  CHECK(mean_square(scores_of(la, p, d), truth) < 0.5 * plain);
}

TEST_CASE("trainer: thresholds reach their recall with the least density, and move monotonically") {
  Random random(4);
  std::vector<float> scores, mass;
  for (int i = 0; i < 5000; i++) {
    const bool active = random.uniform() < 0.1;
    mass.push_back(active ? (float)(0.1 + random.uniform()) : 0.0f);
    scores.push_back((float)std::round(8 * (random.normal() + (active ? 1.5 : -1.5))) / 8);  // with ties
  }
  for (bool by_mass : {false, true}) {
    float last_threshold = kInfinity, last_density = -1;
    for (float recall : {0.0f, 0.3f, 0.6f, 0.9f, 0.95f, 0.99f, 0.999f, 1.0f}) {
      const Operating at = threshold_for(scores, mass, recall, by_mass);
      CHECK((by_mass ? at.mass_recall : at.recall) >= recall - 1e-6f);
      CHECK(at.threshold <= last_threshold);
      CHECK(at.density >= last_density);
      last_threshold = at.threshold, last_density = at.density;
      // The next score up would not do.
      float above = kInfinity;
      for (size_t i = 0; i < scores.size(); i++)
        if (mass[i] > 0 && scores[i] > at.threshold) above = std::min(above, scores[i]);
      if (recall > 0.01f) {
        const Operating higher = operating_at(scores, mass, above);
        CHECK((by_mass ? higher.mass_recall : higher.recall) < recall);
      }
    }
  }
  CHECK(threshold_for(scores, mass, 1, false).recall == 1);
  const Operating none = threshold_for(scores, std::vector<float>(scores.size(), 0.0f), 0.99f, false);
  CHECK(none.density == 0);
  CHECK(none.recall == 1);
}

TEST_CASE("fine-tuning: improves a poor start, keeps the best, and goes on from a file bit for bit") {
  const LinearAlgebra& la = linear_algebra();
  const Planted d(0.3), held(0.3);
  std::vector<float> target(d.y.size());
  for (size_t i = 0; i < target.size(); i++) target[i] = d.y[i] > 0 ? 1.0f : -1.0f;
  const Moments m = d.moments(la);
  LowRankPredictor start;
  REQUIRE(fit_closed_form(la, m, {.rank = 5, .scale_rows = false, .as_logit = false}, start).ok());
  for (float& b : start.b) b *= 0.3f;
  std::vector<float> deviation(d.width);
  for (uint32_t i = 0; i < d.width; i++) deviation[i] = std::sqrt(m.xx[(size_t)i * d.width + i]);
  FineTuner tuner(start, d.width, d.rows, m.x, deviation, {});
  // Nothing done: the predictor comes back as it was.
  CHECK(mean_square(scores_of(la, tuner.best(), d), scores_of(la, start, d)) < 1e-6);
  const auto train = [&](FineTuner& t, uint32_t steps) {
    for (uint32_t i = 0; i < steps; i++) {
      const uint32_t token = (uint32_t)(next_random(t.random) % (d.tokens - 128));
      std::vector<float> x(d.x.begin() + (ptrdiff_t)token * d.width, d.x.begin() + (ptrdiff_t)(token + 128) * d.width);
      t.step(la, x.data(), target.data() + (size_t)token * d.rows, 128, 0);
    }
  };
  const auto loss = [&](FineTuner& t) {
    auto x = d.x;
    return t.loss(la, x.data(), target.data(), d.tokens);
  };
  const double before = loss(tuner);
  tuner.judge(before);
  train(tuner, 150);
  tuner.judge(loss(tuner));
  CHECK(tuner.best_loss() < 0.75 * before);

  const auto path = temporary_path();
  StateWriter to;
  REQUIRE(to.open(path.string()).ok());
  tuner.save(to);
  REQUIRE(to.commit().ok());
  FineTuner again;
  {  // an open file cannot be removed on Windows
    StateReader from;
    REQUIRE(from.open(path.string()).ok());
    REQUIRE(again.restore(from, d.width, d.rows));
    REQUIRE(from.finish());
  }
  train(tuner, 20);
  train(again, 20);
  CHECK(loss(tuner) == loss(again));
  tuner.judge(loss(tuner)), again.judge(loss(again));
  CHECK(same_bits(tuner.best().a, again.best().a));
  CHECK(same_bits(tuner.best().b, again.best().b));
  CHECK(tuner.steps() == again.steps());

  // Losses that no longer fall end it.
  for (int i = 0; i < 100 && !tuner.stopped(); i++) tuner.judge(tuner.best_loss());
  CHECK(tuner.stopped());
  {
    StateReader other_shape;
    REQUIRE(other_shape.open(path.string()).ok());
    CHECK_FALSE(FineTuner().restore(other_shape, d.width + 1, d.rows));
  }
  std::filesystem::remove(path);
}

TEST_CASE("samples: come back as they went in, to the rounding; the oldest go, held-out ones are a fair choice") {
  const uint32_t width = 50, rows = 21;
  Random random(6);
  const auto x = random.normals(8 * width);
  std::vector<uint8_t> codes(8 * rows);
  for (uint8_t& c : codes) c = random.uniform() < 0.3 ? (uint8_t)(1 + random.below(255)) : 0;
  SampleRun run;
  run.tokens = 8;
  run.layers.resize(1);
  run.layers[0].mlp_in.put(x.data(), 8, width);
  run.layers[0].activity.put(codes.data(), 8, rows);
  std::vector<float> back(width);
  std::vector<uint8_t> code(rows);
  for (uint32_t t = 0; t < 8; t++) {
    run.layers[0].mlp_in.get(t, width, back.data());
    for (uint32_t i = 0; i < width; i++) REQUIRE(std::fabs(back[i] - x[(size_t)t * width + i]) < 0.02);
    run.layers[0].activity.get(t, rows, code.data());
    REQUIRE(std::equal(code.begin(), code.end(), codes.begin() + t * rows));
  }
  Samples ring, chosen;
  for (uint32_t i = 0; i < 100; i++) ring.push(run, 10 * run.bytes());
  CHECK(ring.tokens() == 80);
  for (uint32_t i = 0; i < 400; i++) {
    SampleRun numbered = run;
    numbered.layers[0].heads.assign(8, (float)i);
    chosen.offer(std::move(numbered), 160);
  }
  CHECK(chosen.tokens() == 160);
  double mean = 0;
  for (uint32_t i = 0; i < 160; i++) mean += chosen.at(i).first->layers[0].heads[0] / 160;
  CHECK(mean > 120);
  CHECK(mean < 280);
  for (float v : {1e-9f, 1e-3f, 0.7f, 3.0f, 1e9f}) {
    const uint8_t c = magnitude_code(v);
    CHECK(c > 0);
    if (c > 1) CHECK(magnitude_of(c) <= v);
    if (c < 255) CHECK(magnitude_of((uint8_t)(c + 1)) > v);
  }
  CHECK(magnitude_code(0) == 0);
  CHECK(magnitude_code(-1) == 0);
}
