// Speculation with itself (Leviathan 2023; drafts by skipping, Zhang 2024): a sparse plan or a repeated phrase drafts some tokens, one dense
// batch verifies them all. Every token is drawn from dense logits with the same random numbers, so the text is dense's, whatever was drafted.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace hunch {

// Decides how many tokens to draft, from what plain steps, drafts and verifications cost so far and how often drafts were right.
class Drafting {
 public:
  static constexpr uint32_t kMost = 12;  // tokens; with the one before them they fit a tile of logits

  // 0 = a plain step is faster. What does not pay is tried again after twice as long each time.
  uint32_t length(bool free_draft) {
    turns_++;
    if (turns_ < 3 || turns_ % kProbe == 0) return 0;  // so that the plain step's cost stays known
    Kind& k = kinds_[free_draft];
    uint32_t best = 0;
    double best_rate = 1.03 / plain_;
    for (uint32_t n = 1; n <= kMost; n++) {
      const double rate = expected(k.right, n) / (n * k.draft + verify_cost(n));
      if (rate > best_rate) best_rate = rate, best = n;
    }
    if (free_draft || k.draft > 0) {
      if (best) return k.patience = kPatience, best;
      if (turns_ < k.again) return 0;
    }
    k.again = turns_ + k.patience;
    k.patience *= 2;
    return 4;
  }
  void stepped(double seconds) { mix(plain_, seconds); }
  void drafted(uint32_t tokens, double seconds) { mix(kinds_[0].draft, seconds / tokens); }
  // A batch of 1 + tokens, of whose drafts the first `right` were.
  void verified(bool free_draft, uint32_t tokens, uint32_t right, double seconds) {
    mix(verify_[tokens], seconds);
    Kind& k = kinds_[free_draft];
    for (uint32_t i = 0; i < std::min(right + 1, tokens); i++) k.right += kRate * ((i < right ? 1.0 : 0.0) - k.right);
  }

 private:
  static constexpr uint32_t kProbe = 64, kPatience = 32;
  struct Kind {
    double draft = 0, right = 0.8;
    uint32_t patience = kPatience, again = 0;
  };
  static constexpr double kRate = 0.05;
  static void mix(double& mean, double value) { mean = mean == 0 ? value : 0.8 * mean + 0.2 * value; }
  static double expected(double p, uint32_t n) {
    double sum = 1, power = 1;
    for (uint32_t i = 0; i < n; i++) sum += power *= p;
    return sum;
  }
  // Measured, or between the nearest measured ones; each more token costs something.
  double verify_cost(uint32_t n) const {
    if (verify_[n] > 0) return verify_[n];
    for (uint32_t near = 1; near <= kMost; near++)
      for (const uint32_t m : {n - std::min(n, near), n + near})
        if (m > 0 && m <= kMost && verify_[m] > 0) return verify_[m] * (1 + 0.12 * ((double)n - (double)m));
    return plain_ * (1 + 0.2 * n);
  }
  double plain_ = 0;
  std::array<Kind, 2> kinds_;
  std::array<double, kMost + 1> verify_{};
  uint32_t turns_ = 0;
};

// What followed the last time the text's last three tokens stood together; empty when they never did.
inline std::vector<int32_t> repeated_phrase(std::span<const int32_t> text, uint32_t most) {
  constexpr size_t kMatch = 3, kReach = 4096;
  if (text.size() <= kMatch) return {};
  const std::span tail = text.last(kMatch);
  const size_t from = text.size() > kReach ? text.size() - kReach : 0;
  for (size_t at = text.size() - 1; at >= from + kMatch; at--)
    if (std::equal(tail.begin(), tail.end(), text.begin() + (ptrdiff_t)(at - kMatch))) {
      const std::span next = text.subspan(at, std::min<size_t>(most, text.size() - at));
      return {next.begin(), next.end()};
    }
  return {};
}

}  // namespace hunch
