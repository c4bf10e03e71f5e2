// Interventions: what chosen neurons and heads say instead of what they would.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine.h"

namespace hunch {

struct Edits {
  std::vector<std::vector<Edit>> neurons, heads;  // [layers], by index; later edits of the same one replace earlier ones

  // Of neurons [begin, end) of the layer.
  std::pair<const Edit*, const Edit*> neurons_in(uint32_t layer, uint32_t begin, uint32_t end) const {
    const std::vector<Edit>& all = neurons[layer];
    const auto before = [](const Edit& e, uint32_t index) { return e.index < index; };
    const auto first = std::lower_bound(all.begin(), all.end(), begin, before);
    const auto last = std::lower_bound(first, all.end(), end, before);
    return {all.data() + (first - all.begin()), all.data() + (last - all.begin())};
  }
};

inline float edited(const Edit& e, float h) {
  switch (e.action) {
    case Edit::Action::off: return 0;
    case Edit::Action::clamp: return std::clamp(h, -std::fabs(e.value), std::fabs(e.value));
    case Edit::Action::force: return e.value;
  }
  return h;
}

// Euclidean, in double precision.
inline float norm_of(const float* x, uint32_t n) {
  double sum = 0;
  for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
  return (float)std::sqrt(sum);
}

// Of a head, by its norm.
inline void edit_head(const Edit& e, float* x, uint32_t n) {
  const float norm = norm_of(x, n), wanted = edited(e, norm);
  if (wanted == norm || norm == 0) return;
  for (uint32_t i = 0; i < n; i++) x[i] *= wanted / norm;
}

}  // namespace hunch
