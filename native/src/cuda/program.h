// Builds the list of stages that the token kernel walks (kernels/cuda/program.h).
#pragma once

#include "device_model.h"

namespace hunch::cuda {

// What a session owns on the GPU.
struct SessionBuffers {
  float* x[2] = {};            // [width] the residual stream, in turns
  float* branch = nullptr;     // [width]
  float* partials = nullptr;   // [blocks][width] of MLPs by neuron
  float* qkv = nullptr;
  float* hidden = nullptr;     // [ffn_width]
  float *mlp_hidden[2] = {}, *head_hidden[2] = {};  // [rank] of predictors, by layer in turns
  uint16_t *keys = nullptr, *values = nullptr;  // [layers][kv_heads][context][head_width]
  float *cosine = nullptr, *sine = nullptr, *window_cosine = nullptr, *window_sine = nullptr;
  float* thresholds = nullptr;  // [layers][3] gate, score, head
  unsigned long long* counted = nullptr;  // [2][layers] neurons, heads
  float* logits = nullptr;
  uint32_t context = 0, max_splits = 1;
};

// plan: null = dense. layout: of lay_out().
std::vector<Stage> build_program(const DeviceModel& model, const SessionBuffers& b, const Token& layout, const Plan* plan);
// How a layer's MLP runs on the GPU with this plan.
MlpRoute mlp_route(const DeviceModel& model, const Plan* plan, uint32_t layer);
// [layers][3]; what a plan says in numbers, as opposed to routes.
std::vector<float> thresholds_of(const DeviceModel& model, const Plan* plan);
// Two plans with the same routes need the same stages.
bool same_routes(const Plan* a, const Plan* b);

// Of a query before its scores become powers of two.
float query_scale(const ModelSpec& spec);

// Where things lie in a block's shared memory and how large the ring's slots are; the sizes are those of all the stages that any plan may use.
// Errors: model-unsupported.
Status lay_out(const DeviceModel& model, Token& t);

}  // namespace hunch::cuda
