// The naive double-precision truth that the kernels and the engine are held against. Written from the formats and the formulas,
// sharing no code with native/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine.h"

namespace oracle {

using hunch::Activation;
using hunch::TensorType;

double from_half(uint16_t h);
uint16_t to_half(double x);  // nearest, ties to even; NaN gives 0x7E00 with the sign
double from_bfloat(uint16_t h);

uint32_t block_columns(TensorType type);
size_t row_bytes(TensorType type, uint32_t cols);

struct Row {
  std::vector<double> value;
  std::vector<double> size;  // what the value is a sum of, in absolute terms: |d q| + |m|; rounding errors are relative to this
};
Row dequantise(TensorType type, const uint8_t* raw, uint32_t cols);

// Blocks of 32: value = d * q with d = max|x| / 127 in float, q = round(x * (127 / max|x|)) in float, as the engine documents.
std::vector<double> quantised_activations(const std::vector<double>& x);

std::vector<double> rms_norm(const std::vector<double>& x, const std::vector<double>& w, double epsilon);
std::vector<double> layer_norm(const std::vector<double>& x, const std::vector<double>& w, const std::vector<double>& b, double epsilon);
void rope(hunch::RopeStyle style, double* x, uint32_t rope_width, double position, double base);
double activation(Activation a, double x);
double log_sum_exp(const std::vector<double>& x);

// softmax(scores) V over positions [from, positions): keys and values [positions][width].
std::vector<double> attend(const std::vector<double>& query, const std::vector<std::vector<double>>& keys,
                           const std::vector<std::vector<double>>& values, size_t positions, size_t from = 0);

}  // namespace oracle
