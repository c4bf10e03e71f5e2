// What one decode step computed, noted down by its lanes as they go. frames.h turns it into bytes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "engine.h"

namespace hunch {

// Bits of a neuron's state; electron/contract/frames.ts names them.
constexpr uint8_t kNamed = 1, kComputed = 2, kActive = 4, kMissed = 8;
constexpr uint8_t kHeadNamed = 1, kHeadComputed = 2;

struct LayerNotes {
  MlpRoute route = MlpRoute::dense;
  bool heads_predicted = false, names = false, gates_known = false;
  float microseconds = 0, gate_threshold = 0, score_threshold = 0;
  uint32_t named = 0, computed = 0, active = 0, missed = 0;  // neurons, after Capture::sum_up()
};

// Neurons by layer: appended layer after layer, within a layer by index.
struct NeuronList {
  std::vector<uint32_t> index;  // [layers * neurons] of which `size` are there
  std::vector<uint32_t> begin;  // [layers + 1]
  uint32_t size = 0;
  std::span<const uint32_t> of(uint32_t layer) const { return std::span(index).subspan(begin[layer], begin[layer + 1] - begin[layer]); }
};

// By block of neurons.
struct BlockCounts {
  std::vector<uint16_t> named, idle, active, missed;      // [layers][blocks] neurons; idle: computed, but not active
  std::vector<float> peak;                                // [layers][blocks] largest |value|
  bool any_named = false, any_idle = false, any_missed = false;  // else those are all 0
  void allocate(size_t cells);
  void clear();
  void add(const BlockCounts& other);
};

// What one lane noted. It alone touches it during a step.
struct LaneCapture {
  NeuronList active, idle, named, missed;
  std::vector<float> value, gate;    // of `active`, for records: act(gate) * up, and the gate before its activation
  std::vector<uint32_t> audited;     // neurons of the layer at hand whose gates let something through
  std::vector<float> audit_gates;    // [part_neurons]
  BlockCounts blocks;
  std::vector<uint64_t> bytes;       // [layers + 2] count of weight bytes at each layer's start, at the output's, and at the end
};

struct Capture {
  bool on = false;     // the pass at hand is noted down
  bool full = false;   // with values, for a record
  bool audit = false;  // and looks at what it skips
  uint32_t shift = 0, blocks = 0;  // 2^shift neurons per block; blocks per layer

  std::vector<LaneCapture> lanes;
  std::vector<LayerNotes> layers;
  std::vector<uint8_t> head_flags;  // [layers][heads]
  std::vector<float> head_norms;    // [layers][heads], NaN = not computed
  float microseconds = 0, predictor_microseconds = 0;
  BlockCounts total;                // of all lanes, after sum_up()
  std::vector<uint16_t> computed;   // [layers][blocks] idle and active

  void allocate(const ModelSpec& m, unsigned lane_count, uint32_t part_neurons);
  void begin_step();
  // A lane's neurons, by index: named by a predictor or a low-bit copy; let through on an audit.
  void note_named(unsigned lane, uint32_t layer, uint32_t first, const uint32_t* chosen, uint32_t n);
  void note_audited(unsigned lane, uint32_t first, const uint32_t* chosen, uint32_t n);
  // Active neurons first + chosen[i], by index, with their values; gates[chosen[i]]: before their activation (null: not known).
  void note_active(unsigned lane, uint32_t layer, uint32_t first, const uint32_t* chosen, uint32_t n, const float* values, const float* gates) {
    LaneCapture& l = lanes[lane];
    uint16_t* counts = l.blocks.active.data() + (size_t)layer * blocks;
    float* peaks = l.blocks.peak.data() + (size_t)layer * blocks;
    uint32_t* index = l.active.index.data() + l.active.size;
    for (uint32_t i = 0; i < n; i++) {
      const uint32_t neuron = first + chosen[i], b = neuron >> shift;
      index[i] = neuron;
      counts[b]++;
      peaks[b] = std::max(peaks[b], std::fabs(values[i]));
    }
    if (full) {
      std::copy_n(values, n, l.value.data() + l.active.size);
      for (uint32_t i = 0; i < n; i++) l.gate[l.active.size + i] = gates ? gates[chosen[i]] : 0;
    }
    l.active.size += n;
  }
  void note_idle(unsigned lane, uint32_t layer, uint32_t neuron) {
    LaneCapture& l = lanes[lane];
    l.blocks.any_idle = true;
    l.blocks.idle[(size_t)layer * blocks + (neuron >> shift)]++;
    l.idle.index[l.idle.size++] = neuron;
  }
  // A dense MLP's neurons [begin, end): all were computed.
  void note_dense(const ModelSpec& m, unsigned lane, uint32_t layer, uint32_t begin, uint32_t end, const float* h);
  void end_layer(unsigned lane, uint32_t layer);
  void sum_up();
};

}  // namespace hunch
