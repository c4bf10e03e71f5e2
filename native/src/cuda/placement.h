// Which neurons lie on the GPU and which the CPU computes, for models larger than the GPU's memory (PowerInfer, Song 2023).
#pragma once

#include <cstdint>
#include <vector>

namespace hunch::cuda {

struct Placement {
  uint32_t cpu_layers = 0;                 // layers [0, cpu_layers) run on the CPU as a whole
  bool by_neuron = false;                  // the others' MLPs are split as `hot` says; else they lie on the GPU as a whole
  std::vector<std::vector<uint32_t>> hot;  // [layers] neurons on the GPU, ascending
  double seconds = 0;                      // of a token's MLPs by the model of `place_neurons`
  double least = 0;                        // no placement within the budget is faster than this
};

// What a layer's neurons cost. A neuron i of it moves always + often * frequency[i] bytes a token, wherever it lies.
struct LayerCost {
  uint64_t neuron_bytes = 0;               // of the GPU's memory that a neuron takes
  double always = 0, often = 0;
  std::vector<float> frequency;            // [neurons] share of tokens that it is active in
};
struct Speeds {
  double gpu = 0, cpu = 0;                 // bytes a second
  double handshake = 0;                    // seconds that asking the CPU adds to a layer
};

// Chooses `hot` for layers [first, layers.size()) so that a token is fast and the GPU's share takes at most `budget` bytes. A layer takes
//   F(s) = max(s / gpu, handshake + (W - s) / cpu), or W / gpu where all of it is hot,
// s = bytes that its hot neurons move, W = of all: both sides work at the same time.
//
// Why greedy: F depends on s alone and falls with slope -1 / cpu until the sides balance at s*. If neurons could be cut, what `m` bytes of memory win in a layer
// would be min(s of the best m bytes, s*) / cpu, concave in m when neurons are taken by bytes moved over bytes of memory; and a sum of concave functions under one
// budget is best when the steepest piece is always taken next, which is that order over all layers, leaving out layers that are balanced. Without handshakes that
// optimum, `least`, is below every placement. Whole neurons, where a layer is closed by the first that exceeds its balance, use no more memory than the cut ones at
// any point of the order, so they lack at most that neuron in each closed layer and the one that the budget cuts:
//   seconds - least <= (layers + 1) * (most bytes a neuron moves) / cpu + layers * handshake.
// A layer that is wholly on the GPU saves its handshake: how many are, heaviest first, is tried out, and the fastest kept.
void place_neurons(const std::vector<LayerCost>& layers, uint32_t first, uint64_t budget, const Speeds& speeds, Placement& out);

}  // namespace hunch::cuda
