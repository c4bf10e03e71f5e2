// A model's weights on the GPU.
#pragma once

#include <functional>

#include "../../kernels/cuda/program.h"
#include "device.h"
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

class DeviceModel {
 public:
  // by_neuron: MLPs without true zeros also get bundles. Errors: out-of-memory, model-unsupported, what reading gives.
  static Status load(std::shared_ptr<Device> device, const ModelSpec& spec, const Traits& traits, const Weights& weights, bool by_neuron,
                     const std::function<void(float)>& progress, std::shared_ptr<DeviceModel>& out);
  Status set_predictors(const Predictors& predictors);
  uint64_t mlp_bytes(uint32_t layer) const;  // that a dense token reads

  ModelSpec spec;
  Traits traits;
  Memory memory;
  std::vector<DeviceLayer> layers;
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
