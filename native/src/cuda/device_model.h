// A model's weights on the GPU.
#pragma once

#include <functional>

#include "../../kernels/cuda/program.h"
#include "device.h"
#include "placement.h"
#include "model.h"
#include "weights.h"

namespace hunch::cuda {

// What an architecture's name implies; the rest is in the header and the tensors.
struct Traits {
  RopeStyle rope = RopeStyle::interleaved;
  float embedding_scale = 1;
  uint32_t position_offset = 0;
  bool gated = true;
};

struct DeviceLayer {
  cuda::Norm attention_norm{}, ffn_norm{}, post_attention_norm{}, post_ffn_norm{}, q_norm{}, k_norm{};
  // Queries, keys and values: one matrix where they have one format, else apart. Rows of queries come first.
  uint32_t attention_parts = 0;
  Matrix qkv[3]{};
  float* qkv_bias = nullptr;   // [(heads + 2 kv_heads) head_width]
  Matrix o{};
  float* o_bias = nullptr;
  Matrix gate_up{};            // dense: pairs of gate and up rows; without a gate the up rows
  Matrix down{};               // dense: [width][ffn_width]
  Matrix first{}, up{}, down_rows{};  // by neuron: the bundles' gate and up as pairs (up alone without a gate), up, and down
  bool by_neuron = false;
  uint32_t hot = 0;            // neurons that are here; fewer than the model's: the CPU computes the others
  float *up_bias = nullptr, *down_bias = nullptr;
  bool windowed = false;
};

// A predictor's factors on the GPU.
struct DevicePredictor {
  bool present = false, relu = false;
  PredictorSource source = PredictorSource::same;
  uint32_t rank = 0;
  Matrix a{}, b{};             // b: neurons; [rows][rank] bytes (padded rank)
  float *bias = nullptr, *head_b = nullptr;  // heads: b in f32
};

// Bytes of the GPU's memory that a model's parts take.
struct Footprint {
  struct Layer {
    uint64_t attention = 0, dense = 0;  // dense: the MLP's matrices; 0: the file has only its neurons
    uint64_t neuron = 0;                // of one neuron's bundle; 0: not by neuron
    double always = 0;                  // of it, the gate: what is read of every neuron
  };
  std::vector<Layer> layers;
  uint64_t embedding = 0, positions = 0, output = 0;  // output 0: it is the embedding
  uint64_t whole(uint32_t neurons) const;  // all of it
};

class DeviceModel {
 public:
  // by_neuron: MLPs without true zeros also get bundles. placement: what of the model comes here; null: all. Errors: out-of-memory, model-unsupported, what reading gives.
  static Status load(std::shared_ptr<Device> device, const ModelSpec& spec, const Traits& traits, const Weights& weights, bool by_neuron,
                     const std::function<void(float)>& progress, std::shared_ptr<DeviceModel>& out, const Placement* placement = nullptr);
  static Footprint footprint(const ModelSpec& spec, const Traits& traits, const Weights& weights, bool by_neuron);
  bool split(uint32_t layer) const { return layer >= placement.cpu_layers && layers[layer].by_neuron && layers[layer].hot < spec.ffn_width; }
  uint32_t turns() const;  // of the CPU, in a token
  Status set_predictors(const Predictors& predictors);
  uint64_t mlp_bytes(uint32_t layer) const;  // that a dense token reads

  ModelSpec spec;
  Traits traits;
  Memory memory;
  std::vector<DeviceLayer> layers;
  Placement placement;         // `hot` is empty where layers are not split by neuron
  cuda::Norm output_norm{};
  Matrix embedding{}, positions{}, output{};
  std::vector<float> rope_factors;
  uint64_t token_bytes = 0;    // of weights that a dense token reads
  std::vector<DevicePredictor> mlp, heads;  // by layer; empty: none
  uint32_t predictors_version = 0;

  explicit DeviceModel(std::shared_ptr<Device> device) : memory(std::move(device)) {}

 private:
  std::unique_ptr<Memory> predictor_memory_;
};

// From the CPU's model, whose architecture has filled it in.
Traits traits_of(const Model& model);

}  // namespace hunch::cuda
