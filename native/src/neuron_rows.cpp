#include "neuron_rows.h"

#include <algorithm>

namespace hunch {

NeuronRows neuron_rows(uint32_t neurons, uint32_t width, bool gated, TensorType first, TensorType up, RowType down, unsigned lanes) {
  // At most 16 parts: every part costs a sum [width] to be added up; fewer than 32 neurons are not worth one.
  constexpr uint32_t kParts = 16, kLeast = 32;
  NeuronRows r;
  r.neurons = neurons;
  r.width = width;
  r.part_neurons = std::max(kLeast, ((neurons + kParts - 1) / kParts + 15) / 16 * 16);
  r.parts = (neurons + r.part_neurons - 1) / r.part_neurons;
  r.gated = gated;
  r.first = row_type(first);
  r.up = row_type(up);
  r.down = down;
  r.first_stride = row_size(r.first, width);
  r.down_offset = gated ? row_size(r.up, width) : 0;
  r.bundle_stride = (r.down_offset + row_size(down, width) + 63) / 64 * 64;
  r.columns = row_columns(down, width);
  r.slices.resize(lanes);
  for (unsigned lane = 0; lane < lanes; lane++) r.slices[lane].parts = share(r.parts, lane, lanes);
  return r;
}

}  // namespace hunch
