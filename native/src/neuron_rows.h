// A layer's MLP stored by neuron: what a neuron needs lies together, so that a neuron that is skipped is not read.
#pragma once

#include "pool.h"
#include "rows.h"

namespace hunch {

// Of neuron n: its first row [width] (gate; up where there is no gate) in one stream, and its bundle: up row (gated only) and down row
// [width] (column n of the down matrix) one after the other, from a cache line's start. Neurons come in parts whose sums are added in order:
// the parts are the same for any number of lanes, and so is the result.
struct NeuronRows {
  uint32_t neurons = 0, width = 0, part_neurons = 0, parts = 0;
  bool gated = false;
  RowType first = RowType::f32, up = RowType::f32, down = RowType::f32;
  size_t first_stride = 0, bundle_stride = 0, down_offset = 0;
  std::vector<uint32_t> columns;  // row_columns of down
  // Bundles (and first rows) have no memory in the slices: they come through the model's NeuronStore.
  bool on_disk = false, first_on_disk = false;

  // One lane's parts and where their neurons' rows begin.
  struct Slice {
    Range parts;
    uint8_t *first = nullptr, *bundles = nullptr;
  };
  std::vector<Slice> slices;

  bool present() const { return !slices.empty(); }
  Range neurons_of(uint32_t part) const { return {part * part_neurons, std::min(neurons, (part + 1) * part_neurons)}; }
  Range neurons_of(const Slice& s) const { return {std::min(neurons, s.parts.begin * part_neurons), std::min(neurons, s.parts.end * part_neurons)}; }
  uint64_t bytes() const { return (uint64_t)neurons * (first_stride + bundle_stride); }
};

// Those of a layer's neurons that are computed, where others are computed elsewhere.
struct NeuronSubset {
  std::vector<uint32_t> list;        // ascending, counted from the slice's first
  std::vector<uint32_t> part_begin;  // [parts + 1] where a part's neurons begin in the list
  std::vector<uint8_t> has;          // [neurons]
};

NeuronRows neuron_rows(uint32_t neurons, uint32_t width, bool gated, TensorType first, TensorType up, RowType down, unsigned lanes);

}  // namespace hunch
