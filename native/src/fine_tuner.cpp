#include "fine_tuner.h"

#include <algorithm>
#include <cmath>

namespace hunch {

FineTuner::FineTuner(const LowRankPredictor& p, uint32_t width, uint32_t rows, std::vector<float> mean, std::vector<float> deviation, const FineTune& options)
    : options_(options), width_(width), rows_(rows), rank_(p.rank), relu_(p.relu), mean_(std::move(mean)), deviation_(std::move(deviation)) {
  // A hidden ReLU has no bias that a shift could go into.
  if (relu_) std::fill(mean_.begin(), mean_.end(), 0.0f);
  float highest = 0;
  for (float d : deviation_) highest = std::max(highest, d);
  for (float& d : deviation_) d = std::max(d, highest * 1e-4f + 1e-20f);
  now_.a = p.a, now_.b = p.b, now_.bias = p.bias;
  now_.bias.resize(rows);
  std::vector<float> centre(rank_);
  for (uint32_t j = 0; j < rank_; j++) {
    double sum = 0;
    for (uint32_t i = 0; i < width; i++) {
      float& w = now_.a[(size_t)j * width + i];
      sum += (double)w * mean_[i];
      w *= deviation_[i];
    }
    centre[j] = (float)sum;
  }
  for (uint32_t r = 0; r < rows; r++)
    for (uint32_t j = 0; j < rank_; j++) now_.bias[r] += now_.b[(size_t)r * rank_ + j] * centre[j];
  for (Weights* moment : {&first_, &second_}) {
    moment->a.assign(now_.a.size(), 0);
    moment->b.assign(now_.b.size(), 0);
    moment->bias.assign(rows, 0);
  }
  best_ = now_;
}

void FineTuner::standardise(float* x, uint32_t tokens) const {
  for (uint32_t t = 0; t < tokens; t++)
    for (uint32_t i = 0; i < width_; i++) x[(size_t)t * width_ + i] = (x[(size_t)t * width_ + i] - mean_[i]) / deviation_[i];
}

void FineTuner::forward(const LinearAlgebra& la, const float* x, uint32_t n) {
  hidden_.resize((size_t)n * rank_);
  score_.resize((size_t)n * rows_);
  la.multiply(false, true, n, rank_, width_, x, now_.a.data(), false, hidden_.data());
  if (relu_)
    for (float& h : hidden_) h = std::max(h, 0.0f);
  for (uint32_t t = 0; t < n; t++) std::copy_n(now_.bias.data(), rows_, score_.data() + (size_t)t * rows_);
  la.multiply(false, true, n, rows_, rank_, hidden_.data(), now_.b.data(), true, score_.data());
}

void FineTuner::step(const LinearAlgebra& la, float* x, const float* target, uint32_t n, float along) {
  standardise(x, n);
  forward(la, x, n);
  la.logistic(score_.size(), score_.data(), target, score_.data());  // score_: now the gradient
  steps_++;
  // A step's size does not depend on the loss's scale, so the sum over the tokens need not be divided.
  const float rate = options_.rate * slower_ * (0.1f + 0.9f * (1 - std::clamp(along, 0.0f, 1.0f)));
  AdamStep s{rate, options_.decay, 0.9f, 0.999f, 0, 0};
  s.correct_first = 1 - (float)std::pow(s.first, (double)steps_);
  s.correct_second = 1 - (float)std::pow(s.second, (double)steps_);

  hidden_gradient_.resize(hidden_.size());
  la.multiply(false, false, n, rank_, rows_, score_.data(), now_.b.data(), false, hidden_gradient_.data());
  if (relu_)
    for (size_t i = 0; i < hidden_.size(); i++)
      if (!(hidden_[i] > 0)) hidden_gradient_[i] = 0;
  gradient_.resize(std::max(now_.a.size(), now_.b.size()));
  la.multiply(true, false, rows_, rank_, n, score_.data(), hidden_.data(), false, gradient_.data());
  la.adam(now_.b.size(), s, gradient_.data(), now_.b.data(), first_.b.data(), second_.b.data());
  std::fill_n(gradient_.data(), rows_, 0.0f);
  for (uint32_t t = 0; t < n; t++)
    for (uint32_t r = 0; r < rows_; r++) gradient_[r] += score_[(size_t)t * rows_ + r];
  AdamStep free = s;
  free.decay = 0;  // a bias is not shrunk
  la.adam(rows_, free, gradient_.data(), now_.bias.data(), first_.bias.data(), second_.bias.data());
  la.multiply(true, false, rank_, width_, n, hidden_gradient_.data(), x, false, gradient_.data());
  s.rate *= 0.3f;  // a's weights are smaller than b's: hidden values have unit variance over many inputs
  la.adam(now_.a.size(), s, gradient_.data(), now_.a.data(), first_.a.data(), second_.a.data());
}

double FineTuner::loss(const LinearAlgebra& la, float* x, const float* target, uint32_t n) {
  if (n == 0) return 0;
  standardise(x, n);
  forward(la, x, n);
  return la.logistic(score_.size(), score_.data(), target, nullptr) / (double)score_.size();
}

void FineTuner::judge(double held_out) {
  since_best_ = held_out < best_loss_ * (1 - 1e-4) ? 0 : since_best_ + 1;
  if (held_out < best_loss_) {
    best_loss_ = held_out;
    best_ = now_;
  }
  if (since_best_ < options_.patience) return;
  since_best_ = 0;
  slower_ *= 0.3f;
  now_ = best_;
}

LowRankPredictor FineTuner::best() const {
  LowRankPredictor p;
  p.rank = rank_;
  p.relu = relu_;
  p.a = best_.a, p.b = best_.b, p.bias = best_.bias;
  for (uint32_t j = 0; j < rank_; j++) {
    double centre = 0;
    for (uint32_t i = 0; i < width_; i++) {
      float& w = p.a[(size_t)j * width_ + i];
      w /= deviation_[i];
      centre += (double)w * mean_[i];
    }
    for (uint32_t r = 0; r < rows_; r++) p.bias[r] -= (float)(p.b[(size_t)r * rank_ + j] * centre);
  }
  return p;
}

void FineTuner::save(StateWriter& to) const {
  to.value(options_);
  to.value(rank_);
  to.value((uint8_t)relu_);
  to.value(steps_);
  to.value(best_loss_);
  to.value(since_best_);
  to.value(slower_);
  to.value(random);
  to.vector(mean_);
  to.vector(deviation_);
  for (const Weights* w : {&now_, &first_, &second_, &best_}) {
    to.vector(w->a);
    to.vector(w->b);
    to.vector(w->bias);
  }
}

bool FineTuner::restore(StateReader& from, uint32_t width, uint32_t rows) {
  uint8_t relu = 0;
  width_ = width, rows_ = rows;
  bool ok = from.value(options_) && from.value(rank_) && from.value(relu) && from.value(steps_) && from.value(best_loss_) && from.value(since_best_) && from.value(slower_) &&
            from.value(random) && from.vector(mean_, width) && from.vector(deviation_, width) && rank_ > 0;
  relu_ = relu;
  for (Weights* w : {&now_, &first_, &second_, &best_})
    ok = ok && from.vector(w->a, (size_t)rank_ * width) && from.vector(w->b, (size_t)rows * rank_) && from.vector(w->bias, rows);
  return ok;
}

}  // namespace hunch
