#include "capture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "frames.h"

namespace hunch {

void Capture::allocate(const ModelSpec& m, unsigned lanes, uint32_t part_neurons) {
  const size_t n = (size_t)m.layers * m.ffn_width, h = (size_t)m.layers * m.heads;
  block = summary_block(m);
  blocks = (m.ffn_width + block - 1) / block;
  states.assign(n, 0);
  values.assign(n, 0);
  gates.assign(n, 0);
  head_flags.assign(h, 0);
  head_norms.assign(h, 0);
  layers.assign(m.layers, {});
  bytes.assign((size_t)lanes * (m.layers + 2), 0);
  audited.assign((size_t)lanes * part_neurons, 0);
  for (auto* cells : {&named, &computed, &active, &missed}) cells->assign((size_t)m.layers * blocks, 0);
  peak.assign((size_t)m.layers * blocks, 0);
}

void Capture::note_dense(const ModelSpec& m, uint32_t layer, uint32_t begin, uint32_t end, const float* h) {
  const size_t at = (size_t)layer * m.ffn_width + begin;
  std::copy_n(h, end - begin, values.data() + at);
  if (m.activation != Activation::relu && m.activation != Activation::drelu) {
    std::fill_n(states.data() + at, end - begin, (uint8_t)(kComputed | kActive));
    return;
  }
  for (uint32_t i = 0; i < end - begin; i++) states[at + i] = h[i] != 0 ? kComputed | kActive : kComputed;
}

// How many of these states have each bit; eight at a time.
static void count_states(const uint8_t* state, uint32_t n, uint32_t (&count)[4]) {
  constexpr uint64_t ones = 0x0101010101010101;
  uint32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t eight;
    std::memcpy(&eight, state + i, 8);
    for (unsigned bit = 0; bit < 4; bit++) count[bit] += (uint32_t)std::popcount(eight >> bit & ones);
  }
  for (; i < n; i++)
    for (unsigned bit = 0; bit < 4; bit++) count[bit] += state[i] >> bit & 1;
}

static float largest(const float* v, uint32_t n) {
  float lane[16] = {};
  uint32_t i = 0;
  for (; i + 16 <= n; i += 16)
    for (uint32_t j = 0; j < 16; j++) lane[j] = std::max(lane[j], std::fabs(v[i + j]));
  for (; i < n; i++) lane[0] = std::max(lane[0], std::fabs(v[i]));
  return *std::max_element(lane, lane + 16);
}

void Capture::summarise(const ModelSpec& m, uint32_t layer) {
  LayerNotes& notes = layers[layer];
  notes.named = notes.computed = notes.active = notes.missed = 0;
  for (uint32_t b = 0; b < blocks; b++) {
    const uint32_t begin = b * block, n = std::min(block, m.ffn_width - begin);
    const size_t at = (size_t)layer * m.ffn_width + begin, cell = (size_t)layer * blocks + b;
    uint32_t count[4] = {};
    count_states(states.data() + at, n, count);
    notes.named += count[0], notes.computed += count[1], notes.active += count[2], notes.missed += count[3];
    named[cell] = (uint16_t)count[0], computed[cell] = (uint16_t)count[1], active[cell] = (uint16_t)count[2], missed[cell] = (uint16_t)count[3];
    peak[cell] = count[2] ? largest(values.data() + at, n) : 0;
  }
}

}  // namespace hunch
