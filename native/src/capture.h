// What one decode step computed, noted down by its lanes as they go, and summed up by blocks at its end. frames.h turns it into bytes.
#pragma once

#include <cstdint>
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
  uint32_t named = 0, computed = 0, active = 0, missed = 0;  // neurons
};

struct Capture {
  bool on = false;     // the pass at hand is noted down
  bool full = false;   // with its gates, for a record
  bool audit = false;  // and looks at what it skips
  uint32_t block = 0, blocks = 0;  // neurons per block; blocks per layer

  std::vector<uint8_t> states;         // [layers][neurons]
  std::vector<float> values, gates;    // [layers][neurons] act(gate) * up, 0 where not computed; the gate before its activation, where active
  std::vector<uint8_t> head_flags;     // [layers][heads]
  std::vector<float> head_norms;       // [layers][heads], NaN = not computed
  std::vector<LayerNotes> layers;
  std::vector<uint64_t> bytes;         // [lanes][layers + 2] a lane's count of weight bytes at each layer's start, at the output's and at the end
  std::vector<float> audited;          // [lanes][part_neurons] gates of neurons that were not computed
  float microseconds = 0, predictor_microseconds = 0;

  // By block, after summarise().
  std::vector<uint16_t> named, computed, active, missed;  // [layers][blocks]
  std::vector<float> peak;                                // [layers][blocks] largest |value|

  void allocate(const ModelSpec& m, unsigned lanes, uint32_t part_neurons);
  // A dense MLP's neurons [begin, end): all were computed.
  void note_dense(const ModelSpec& m, uint32_t layer, uint32_t begin, uint32_t end, const float* h);
  // Sums up one layer; lanes divide the layers.
  void summarise(const ModelSpec& m, uint32_t layer);
};

}  // namespace hunch
