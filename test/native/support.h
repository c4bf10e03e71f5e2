// What every native test needs: numbers that are the same on every platform, and buffers that notice a stray write.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "kernels.h"

namespace hunch {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr TensorType kAllTypes[] = {TensorType::F32,  TensorType::F16,  TensorType::BF16, TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_1,
                                    TensorType::Q5_0, TensorType::Q5_1, TensorType::Q4_K, TensorType::Q5_K, TensorType::Q6_K, TensorType::IQ4_NL};
static_assert(std::size(kAllTypes) == kTensorTypes);
constexpr Activation kAllActivations[] = {Activation::silu, Activation::gelu, Activation::relu};

// splitmix64 (Steele 2014): the standard's distributions differ between libraries, this does not.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }
  uint32_t below(uint32_t n) { return (uint32_t)(next() % n); }
  double uniform() { return (double)(next() >> 11) * 0x1p-53; }
  double normal() { return std::sqrt(-2 * std::log(1 - uniform())) * std::cos(6.283185307179586 * uniform()); }
  std::vector<float> normals(size_t n, double deviation = 1) {
    std::vector<float> x(n);
    for (float& v : x) v = (float)(normal() * deviation);
    return x;
  }

 private:
  uint64_t state_;
};

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++)
    if (std::bit_cast<std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>>(a[i]) != std::bit_cast<std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>>(b[i]))
      return false;
  return true;
}

// n floats between two guards, all filled with one NaN that no arithmetic produces.
class Guarded {
 public:
  static constexpr uint32_t kPattern = 0x7FA5A5A5;
  explicit Guarded(size_t n) : n_(n), cells_(n + 2 * kGuard, kPattern) {}
  Guarded(const std::vector<float>& from) : Guarded(from.size()) {
    for (size_t i = 0; i < n_; i++) data()[i] = from[i];
  }
  float* data() { return reinterpret_cast<float*>(cells_.data()) + kGuard; }
  float operator[](size_t i) const { return std::bit_cast<float>(cells_[i + kGuard]); }
  bool untouched(size_t i) const { return cells_[i + kGuard] == kPattern; }
  bool guards_hold() const {
    for (size_t i = 0; i < kGuard; i++)
      if (cells_[i] != kPattern || cells_[n_ + kGuard + i] != kPattern) return false;
    return true;
  }
  std::vector<float> values() const {
    std::vector<float> v(n_);
    for (size_t i = 0; i < n_; i++) v[i] = (*this)[i];
    return v;
  }

 private:
  static constexpr size_t kGuard = 32;
  size_t n_;
  std::vector<uint32_t> cells_;
};

// Activations of some tokens in the forms that a kernel set makes of them.
struct QuantisedActivations {
  std::vector<float> f, d;
  std::vector<int8_t> q;
  std::vector<int32_t> sum;
  QuantisedActivations(const Kernels& k, std::vector<float> x, uint32_t tokens, uint32_t cols) : f(std::move(x)) {
    if (cols % kQuantBlock) return;
    q.resize(f.size());
    d.resize(f.size() / kQuantBlock);
    sum.resize(d.size() * 2);
    for (uint32_t t = 0; t < tokens; t++) {
      const size_t at = (size_t)t * cols;
      k.quantize(f.data() + at, cols, q.data() + at, d.data() + at / kQuantBlock, sum.data() + at / kQuantBlock * 2);
    }
  }
  Activations view(size_t token, uint32_t cols) const {
    const size_t at = token * cols;
    if (q.empty()) return {f.data() + at, nullptr, nullptr, nullptr};
    return {f.data() + at, q.data() + at, d.data() + at / kQuantBlock, sum.data() + at / kQuantBlock * 2};
  }
};

}  // namespace hunch
