#include "sampler.h"

#include <algorithm>
#include <cmath>

namespace hunch {

// A block whose maximum cannot enter the top k is skipped with one vector pass.
constexpr uint32_t kScanBlock = 256;

void Sampler::penalise(std::span<float> logits, std::span<const int32_t> recent) {
  if (o_.repeat_penalty == 1 || o_.repeat_last_n == 0) return;
  const size_t n = std::min<size_t>(recent.size(), o_.repeat_last_n);
  seen_.assign(recent.end() - n, recent.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  for (int32_t id : seen_) {
    float& l = logits[(size_t)id];
    l = l > 0 ? l / o_.repeat_penalty : l * o_.repeat_penalty;
  }
}

// Ties go to the lower id, so that a draw never depends on the order of a search.
static bool better(const auto& a, const auto& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

void Sampler::collect_top(std::span<const float> logits, uint32_t count) {
  const auto by_rank = [](const Candidate& a, const Candidate& b) { return better(a, b); };
  candidates_.clear();  // a heap whose front is the worst of the best
  for (uint32_t begin = 0; begin < logits.size(); begin += kScanBlock) {
    const uint32_t n = std::min<uint32_t>(kScanBlock, (uint32_t)logits.size() - begin);
    if (candidates_.size() == count && !(k_.max_of(logits.data() + begin, n) > candidates_.front().logit)) continue;
    for (uint32_t i = begin; i < begin + n; i++) {
      const Candidate c{logits[i], (int32_t)i};
      if (candidates_.size() < count) {
        if (c.logit > -INFINITY) {
          candidates_.push_back(c);
          std::push_heap(candidates_.begin(), candidates_.end(), by_rank);
        }
      } else if (c.logit > candidates_.front().logit) {
        std::pop_heap(candidates_.begin(), candidates_.end(), by_rank);
        candidates_.back() = c;
        std::push_heap(candidates_.begin(), candidates_.end(), by_rank);
      }
    }
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), by_rank);
}

// Without top-k: everything whose weight, at the temperature asked for, is at least e^-40 of the best's. What is left out weighs less than a
// double's last digit.
void Sampler::collect_near(std::span<const float> logits, float max) {
  candidates_.clear();
  const float reach = 40 * std::max(1.0f, o_.temperature);
  for (uint32_t i = 0; i < logits.size(); i++)
    if (logits[i] >= max - reach) candidates_.push_back({logits[i], (int32_t)i});
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) { return better(a, b); });
}

int32_t Sampler::draw(std::span<float> logits, std::span<const int32_t> recent) {
  penalise(logits, recent);
  if (o_.temperature <= 0) {
    collect_top(logits, 1);
    return candidates_.empty() || !std::isfinite(candidates_[0].logit) ? -1 : candidates_[0].id;
  }
  const float max = k_.max_of(logits.data(), (uint32_t)logits.size());
  if (!std::isfinite(max)) return -1;
  if (o_.top_k > 0) collect_top(logits, o_.top_k);
  else collect_near(logits, max);

  if (o_.top_p < 1) {
    double total = 0, running = 0;
    for (const Candidate& c : candidates_) total += std::exp((double)(c.logit - max));
    size_t keep = 0;
    while (keep < candidates_.size() && running < o_.top_p * total) running += std::exp((double)(candidates_[keep++].logit - max));
    candidates_.resize(std::max<size_t>(keep, 1));
  }
  if (o_.min_p > 0) {
    const float floor = max + std::log(o_.min_p);
    while (candidates_.size() > 1 && candidates_.back().logit < floor) candidates_.pop_back();
  }
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp((double)(c.logit - max) / o_.temperature);
  const uint64_t high = rng_(), low = rng_();
  double target = (double)((high << 32 | low) >> 11) * 0x1p-53 * total;
  for (const Candidate& c : candidates_) {
    target -= std::exp((double)(c.logit - max) / o_.temperature);
    if (target < 0) return c.id;
  }
  return candidates_.back().id;
}

}  // namespace hunch
