// Captured tokens, kept small: inputs as the engine itself rounds them (8 bits, a scale per 32 values), and which neurons were active, how strongly.
#pragma once

#include <bit>
#include <deque>
#include <span>

#include "state_file.h"

namespace hunch {

// |act(gate)| in 16 steps an octave: 0 = zero, 1 = up to 2^-12, 255 = 2^3.9 and more.
inline uint8_t magnitude_code(float v) {
  constexpr int kBase = 115 << 4;
  const int code = (int)(std::bit_cast<uint32_t>(v) >> 19) - kBase + 1;
  return v > 0 ? (uint8_t)(code < 1 ? 1 : code > 255 ? 255 : code) : 0;
}
// The smallest value that has this code.
inline float magnitude_of(uint8_t code) { return code <= 1 ? 0 : std::bit_cast<float>((uint32_t)(code - 1 + (115 << 4)) << 19); }

class QuantisedRows {
 public:
  void put(const float* x, uint32_t tokens, uint32_t width);
  void get(uint32_t token, uint32_t width, float* out) const;
  bool present() const { return !q_.empty(); }
  uint64_t bytes() const { return q_.size() + d_.size() * sizeof(float); }
  void save(StateWriter& to) const;
  bool restore(StateReader& from, uint32_t tokens, uint32_t width);  // empty is fine, too

 private:
  std::vector<int8_t> q_;  // [tokens][width]
  std::vector<float> d_;   // [tokens][ceil(width / 32)]
};

// Magnitude codes [tokens][rows]; only those that are not zero take a byte.
class ActivityCodes {
 public:
  void put(const uint8_t* codes, uint32_t tokens, uint32_t rows);
  void get(uint32_t token, uint32_t rows, uint8_t* codes) const;
  uint64_t bytes() const { return bits_.size() + first_.size() * sizeof(uint32_t) + codes_.size(); }
  void save(StateWriter& to) const;
  bool restore(StateReader& from, uint32_t tokens, uint32_t rows);

 private:
  std::vector<uint8_t> bits_;    // [tokens][ceil(rows / 8)]
  std::vector<uint32_t> first_;  // [tokens] where a token's codes begin
  std::vector<uint8_t> codes_;
};

// Consecutive tokens of one window, all layers.
struct SampleRun {
  struct LayerPart {
    QuantisedRows attention_in, mlp_in;  // those that some predictor reads
    ActivityCodes activity;
    std::vector<float> heads;  // [tokens][heads] norms; empty where no heads are predicted
  };
  uint32_t tokens = 0;
  std::vector<LayerPart> layers;
  uint64_t bytes() const;
};

struct SampleShape {
  uint32_t layers, width, rows, heads;
};

class Samples {
 public:
  // The oldest go when there are more than `bytes` of them.
  void push(SampleRun run, uint64_t bytes);
  // Each run ever offered is kept with the same chance (Vitter 1985), `tokens` of them at most.
  void offer(SampleRun run, uint32_t tokens);
  uint32_t tokens() const { return tokens_; }
  // Calls f(run, token within it) for the i-th token.
  std::pair<const SampleRun*, uint32_t> at(uint32_t i) const;
  void save(StateWriter& to) const;
  bool restore(StateReader& from, const SampleShape& shape);

 private:
  void index();
  std::deque<SampleRun> runs_;
  std::vector<uint32_t> begin_;  // of each run's tokens
  uint32_t tokens_ = 0;
  uint64_t bytes_ = 0, offered_ = 0, random_ = 1;
};

uint64_t next_random(uint64_t& state);  // splitmix64

}  // namespace hunch
