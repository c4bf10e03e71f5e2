#include "samples.h"

#include <algorithm>
#include <cmath>

namespace hunch {

static constexpr uint32_t kBlock = 32;

uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  return z ^ z >> 31;
}

void QuantisedRows::put(const float* x, uint32_t tokens, uint32_t width) {
  const uint32_t blocks = (width + kBlock - 1) / kBlock;
  q_.resize((size_t)tokens * width);
  d_.resize((size_t)tokens * blocks);
  for (uint32_t t = 0; t < tokens; t++)
    for (uint32_t b = 0; b < blocks; b++) {
      const size_t begin = (size_t)t * width + b * kBlock, n = std::min(kBlock, width - b * kBlock);
      float most = 0;
      for (size_t i = 0; i < n; i++) most = std::max(most, std::fabs(x[begin + i]));
      const float d = most / 127, by = d > 0 ? 1 / d : 0;
      d_[(size_t)t * blocks + b] = d;
      for (size_t i = 0; i < n; i++) q_[begin + i] = (int8_t)std::lrint(std::clamp(x[begin + i] * by, -127.0f, 127.0f));
    }
}

void QuantisedRows::get(uint32_t token, uint32_t width, float* out) const {
  const uint32_t blocks = (width + kBlock - 1) / kBlock;
  const int8_t* q = q_.data() + (size_t)token * width;
  for (uint32_t b = 0; b < blocks; b++) {
    const float d = d_[(size_t)token * blocks + b];
    for (uint32_t i = b * kBlock; i < std::min(width, (b + 1) * kBlock); i++) out[i] = d * q[i];
  }
}

void QuantisedRows::save(StateWriter& to) const {
  to.vector(q_);
  to.vector(d_);
}
bool QuantisedRows::restore(StateReader& from, uint32_t tokens, uint32_t width) {
  if (!from.vector(q_) || !from.vector(d_)) return false;
  return (q_.empty() && d_.empty()) || (q_.size() == (size_t)tokens * width && d_.size() == (size_t)tokens * ((width + kBlock - 1) / kBlock));
}

void ActivityCodes::put(const uint8_t* codes, uint32_t tokens, uint32_t rows) {
  const uint32_t stride = (rows + 7) / 8;
  bits_.assign((size_t)tokens * stride, 0);
  first_.resize(tokens);
  codes_.clear();
  for (uint32_t t = 0; t < tokens; t++) {
    first_[t] = (uint32_t)codes_.size();
    for (uint32_t r = 0; r < rows; r++)
      if (const uint8_t c = codes[(size_t)t * rows + r]) {
        bits_[(size_t)t * stride + r / 8] |= (uint8_t)(1 << r % 8);
        codes_.push_back(c);
      }
  }
  codes_.shrink_to_fit();
}

void ActivityCodes::get(uint32_t token, uint32_t rows, uint8_t* codes) const {
  std::fill_n(codes, rows, (uint8_t)0);
  const uint8_t *bits = bits_.data() + (size_t)token * ((rows + 7) / 8), *next = codes_.data() + first_[token];
  for (uint32_t byte = 0; byte * 8 < rows; byte++)
    for (uint32_t left = bits[byte]; left; left &= left - 1) codes[byte * 8 + (uint32_t)std::countr_zero(left)] = *next++;
}

void ActivityCodes::save(StateWriter& to) const {
  to.vector(bits_);
  to.vector(first_);
  to.vector(codes_);
}
bool ActivityCodes::restore(StateReader& from, uint32_t tokens, uint32_t rows) {
  const uint32_t stride = (rows + 7) / 8;
  if (!from.vector(bits_, (size_t)tokens * stride) || !from.vector(first_, tokens) || !from.vector(codes_)) return false;
  // get() follows the bits: they must lead no further than there are rows and codes.
  uint64_t at = 0;
  for (uint32_t t = 0; t < tokens; t++) {
    if (first_[t] != at) return false;
    const uint8_t* bits = bits_.data() + (size_t)t * stride;
    for (uint32_t i = 0; i < stride; i++) at += (uint64_t)std::popcount(bits[i]);
    if (rows % 8 && bits[stride - 1] >> rows % 8) return false;
  }
  return at == codes_.size();
}

uint64_t SampleRun::bytes() const {
  uint64_t sum = sizeof *this;
  for (const LayerPart& l : layers) sum += sizeof l + l.attention_in.bytes() + l.mlp_in.bytes() + l.activity.bytes() + l.heads.size() * sizeof(float);
  return sum;
}

void Samples::index() {
  begin_.clear();
  tokens_ = 0;
  for (const SampleRun& r : runs_) {
    begin_.push_back(tokens_);
    tokens_ += r.tokens;
  }
}

void Samples::push(SampleRun run, uint64_t bytes) {
  bytes_ += run.bytes();
  runs_.push_back(std::move(run));
  while (bytes_ > bytes && !runs_.empty()) {
    bytes_ -= runs_.front().bytes();
    runs_.pop_front();
  }
  index();
}

void Samples::offer(SampleRun run, uint32_t tokens) {
  offered_++;
  if (tokens_ + run.tokens <= tokens) {
    runs_.push_back(std::move(run));
  } else if (const uint64_t place = next_random(random_) % offered_; place < runs_.size() && tokens_ - runs_[place].tokens + run.tokens <= tokens) {
    runs_[place] = std::move(run);
  }
  index();
}

std::pair<const SampleRun*, uint32_t> Samples::at(uint32_t i) const {
  const size_t run = (size_t)(std::upper_bound(begin_.begin(), begin_.end(), i) - begin_.begin()) - 1;
  return {&runs_[run], i - begin_[run]};
}

void Samples::save(StateWriter& to) const {
  to.value((uint64_t)runs_.size());
  to.value(offered_);
  to.value(random_);
  for (const SampleRun& r : runs_) {
    to.value(r.tokens);
    for (const SampleRun::LayerPart& l : r.layers) {
      l.attention_in.save(to);
      l.mlp_in.save(to);
      l.activity.save(to);
      to.vector(l.heads);
    }
  }
}

bool Samples::restore(StateReader& from, const SampleShape& shape) {
  uint64_t count = 0;
  if (!from.value(count) || !from.value(offered_) || !from.value(random_)) return false;
  for (uint64_t i = 0; i < count; i++) {
    SampleRun r;
    if (!from.value(r.tokens) || r.tokens == 0 || r.tokens > (1u << 16)) return false;
    r.layers.resize(shape.layers);
    for (SampleRun::LayerPart& l : r.layers) {
      if (!l.attention_in.restore(from, r.tokens, shape.width) || !l.mlp_in.restore(from, r.tokens, shape.width) ||
          !l.activity.restore(from, r.tokens, shape.rows) || !from.vector(l.heads) || (!l.heads.empty() && l.heads.size() != (size_t)r.tokens * shape.heads))
        return false;
    }
    bytes_ += r.bytes();
    runs_.push_back(std::move(r));
  }
  index();
  return true;
}

}  // namespace hunch
