#include "capture.h"

#include <algorithm>
#include <bit>

#include "frames.h"

namespace hunch {

void BlockCounts::allocate(size_t cells) {
  for (auto* counts : {&named, &idle, &active, &missed}) counts->assign(cells, 0);
  peak.assign(cells, 0);
}

// What is all 0 is left alone: at a thousand tokens a second that counts.
void BlockCounts::clear() {
  if (any_named) std::fill(named.begin(), named.end(), 0);
  if (any_idle) std::fill(idle.begin(), idle.end(), 0);
  if (any_missed) std::fill(missed.begin(), missed.end(), 0);
  any_named = any_idle = any_missed = false;
  std::fill(active.begin(), active.end(), 0);
  std::fill(peak.begin(), peak.end(), 0.0f);
}

static void add_counts(std::vector<uint16_t>& to, const std::vector<uint16_t>& from) {
  uint16_t* __restrict__ a = to.data();
  const uint16_t* __restrict__ b = from.data();
  for (size_t i = 0; i < to.size(); i++) a[i] = (uint16_t)(a[i] + b[i]);
}

void BlockCounts::add(const BlockCounts& other) {
  if (other.any_named) add_counts(named, other.named);
  if (other.any_idle) add_counts(idle, other.idle);
  if (other.any_missed) add_counts(missed, other.missed);
  any_named |= other.any_named, any_idle |= other.any_idle, any_missed |= other.any_missed;
  add_counts(active, other.active);
  float* __restrict__ a = peak.data();
  const float* __restrict__ b = other.peak.data();
  for (size_t i = 0; i < peak.size(); i++) a[i] = a[i] < b[i] ? b[i] : a[i];
}

void Capture::allocate(const ModelSpec& m, unsigned lane_count, uint32_t part_neurons) {
  const size_t heads = (size_t)m.layers * m.heads;
  const uint32_t block = summary_block(m);
  shift = (uint32_t)std::countr_zero(block);
  blocks = (m.ffn_width + block - 1) / block;
  head_flags.assign(heads, 0);
  head_norms.assign(heads, 0);
  layers.assign(m.layers, {});
  lanes.assign(lane_count, {});
  total.allocate((size_t)m.layers * blocks);
  for (LaneCapture& l : lanes) {
    for (NeuronList* list : {&l.active, &l.idle, &l.named, &l.missed}) {
      list->begin.assign(m.layers + 1, 0);
      list->index.resize((size_t)m.layers * m.ffn_width);
    }
    l.value.resize((size_t)m.layers * m.ffn_width);
    l.gate.resize((size_t)m.layers * m.ffn_width);
    l.audit_gates.assign(part_neurons, 0);
    l.bytes.assign(m.layers + 2, 0);
    l.blocks.allocate((size_t)m.layers * blocks);
  }
}

void Capture::begin_step() {
  for (LaneCapture& l : lanes) {
    for (NeuronList* list : {&l.active, &l.idle, &l.named, &l.missed}) {
      list->size = 0;
      std::fill(list->begin.begin(), list->begin.end(), 0);
    }
    l.audited.clear();
    std::fill(l.bytes.begin(), l.bytes.end(), 0);  // a lane that takes no part reads nothing
    l.blocks.clear();
  }
}

void Capture::note_named(unsigned lane, uint32_t layer, uint32_t first, const uint32_t* chosen, uint32_t n) {
  LaneCapture& l = lanes[lane];
  l.blocks.any_named |= n > 0;
  for (uint32_t i = 0; i < n; i++) {
    l.blocks.named[(size_t)layer * blocks + ((first + chosen[i]) >> shift)]++;
    if (full) l.named.index[l.named.size++] = first + chosen[i];
  }
}

void Capture::note_audited(unsigned lane, uint32_t first, const uint32_t* chosen, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) lanes[lane].audited.push_back(first + chosen[i]);
}

void Capture::note_dense(const ModelSpec& m, unsigned lane, uint32_t layer, uint32_t begin, uint32_t end, const float* h) {
  const bool zeros = m.activation == Activation::relu || m.activation == Activation::drelu;
  for (uint32_t i = begin; i < end; i++) {
    const uint32_t self = 0;
    if (zeros && h[i - begin] == 0) note_idle(lane, layer, i);
    else note_active(lane, layer, i, &self, 1, h + (i - begin), nullptr);
  }
}

void Capture::end_layer(unsigned lane, uint32_t layer) {
  LaneCapture& l = lanes[lane];
  const auto active = l.active.index.begin();
  const auto last = std::set_difference(l.audited.begin(), l.audited.end(), active + l.active.begin[layer], active + l.active.size, l.missed.index.begin() + l.missed.size);
  l.missed.size = (uint32_t)(last - l.missed.index.begin());
  l.audited.clear();
  l.blocks.any_missed |= l.missed.size > l.missed.begin[layer];
  for (size_t i = l.missed.begin[layer]; i < l.missed.size; i++) l.blocks.missed[(size_t)layer * blocks + (l.missed.index[i] >> shift)]++;
  for (NeuronList* list : {&l.active, &l.idle, &l.named, &l.missed}) list->begin[layer + 1] = list->size;
}

void Capture::sum_up() {
  total.clear();
  for (const LaneCapture& l : lanes) total.add(l.blocks);
  computed.resize(total.active.size());
  for (size_t c = 0; c < computed.size(); c++) computed[c] = (uint16_t)(total.idle[c] + total.active[c]);
  for (size_t i = 0; i < layers.size(); i++) {
    LayerNotes& n = layers[i];
    n.named = n.computed = n.active = n.missed = 0;
    for (size_t c = i * blocks; c < (i + 1) * blocks; c++)
      n.named += total.named[c], n.computed += computed[c], n.active += total.active[c], n.missed += total.missed[c];
  }
}

}  // namespace hunch
