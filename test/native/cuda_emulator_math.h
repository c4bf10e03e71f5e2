// Plain arithmetic of the fake GPU's kernels.
#pragma once

#include <cmath>
#include <vector>

#include "../../native/kernels/cuda/program.h"
#include "../../native/src/cuda/repack.h"

namespace hunch::cuda {

inline std::vector<float> row_values(const Matrix& m, uint32_t r) {
  std::vector<float> out(m.cols);
  const uint8_t* row = m.pair ? m.data + (size_t)(r / 2) * m.stride + (r % 2 ? m.pair : 0) : m.data + (size_t)r * m.stride;
  unpack_row(m.format, row, m.cols, out.data());
  return out;
}

inline float activated(Act act, float x) {
  if (act == Act::relu || act == Act::drelu) return std::max(x, 0.0f);
  if (act == Act::silu) return x / (1 + std::exp(-x));
  return x / (1 + std::exp(-2 * 0.7978845608f * (0.044715f * x * x * x + x)));
}
inline float through(Act act, float gate, float up) { return activated(act, gate) * (act == Act::drelu ? std::max(up, 0.0f) : up); }

inline void normalise(const Norm& n, float epsilon, std::vector<float>& x) {
  if (!n.weight) return;
  double mean = 0, squares = 0;
  for (float v : x) mean += n.bias ? v / (double)x.size() : 0;
  for (float v : x) squares += (v - mean) * (v - mean);
  const double scale = 1 / std::sqrt(squares / (double)x.size() + epsilon);
  for (size_t i = 0; i < x.size(); i++) x[i] = (float)((x[i] - mean) * scale * n.weight[i] + (n.bias ? n.bias[i] : 0));
}

}  // namespace hunch::cuda
