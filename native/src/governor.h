// Decides with how many lanes to decode. Lanes wait for each other some two hundred times a token, so when another program takes one of their
// cores, every lane crawls at that one's pace; fewer lanes are then faster. Results do not depend on it.
#pragma once

#include <algorithm>

namespace hunch {

class Governor {
 public:
  explicit Governor(unsigned lanes) : lanes_(lanes), active_(lanes) {}
  unsigned active() const { return probing_ ? lanes_ : active_; }

  // After each decoded token: how long it took and how much of that, summed over lanes, was waiting for a lane without a core.
  void finished(double seconds, double starved) {
    if (lanes_ == 1) return;
    if (probing_) {
      probing_ = false;
      if (seconds < reduced_seconds_ * 0.95) active_ = lanes_, starving_ = 0, patience_ = kPatience;
      else patience_ = std::min(patience_ * 2, kPatience * 16);
      until_probe_ = patience_;
    } else if (active_ == lanes_) {
      starving_ = starved > kStarved * seconds ? starving_ + 1 : std::max(0, starving_ - 1);
      if (starving_ >= kTolerance) active_ = std::max(1u, lanes_ / 2), reduced_seconds_ = 0, until_probe_ = patience_ = kPatience;
    } else {
      reduced_seconds_ = reduced_seconds_ == 0 ? seconds : 0.9 * reduced_seconds_ + 0.1 * seconds;
      if (--until_probe_ <= 0) probing_ = true;
    }
  }

 private:
  static constexpr double kStarved = 0.3;  // share of a token's time
  static constexpr int kTolerance = 3;     // starved tokens in a row, about
  static constexpr int kPatience = 32;     // tokens before all lanes are tried again; doubles while that does not pay
  const unsigned lanes_;
  unsigned active_;
  bool probing_ = false;
  int starving_ = 0, until_probe_ = 0, patience_ = kPatience;
  double reduced_seconds_ = 0;
};

}  // namespace hunch
