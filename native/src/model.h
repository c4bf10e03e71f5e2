// A loaded model: immutable weights in the kernels' layout. Which tensors go where is the architecture's business (arch_<name>.cpp).
#pragma once

#include <functional>

#include "arena.h"
#include "packing.h"
#include "pool.h"

namespace hunch {

struct Layer {
  std::vector<float> attention_norm, ffn_norm;  // [width]
  PackedMatrix q, k, v;                         // [heads * head_width | kv_heads * head_width][width]
  PackedMatrix o;                               // [width][heads * head_width]
  PackedMatrix gate, up;                        // [ffn_width][width]
  PackedMatrix down;                            // [width][ffn_width]
};

struct Model {
  ModelSpec spec;
  const Kernels* kernels = nullptr;
  Arena arena;
  std::vector<Layer> layers;
  std::vector<float> output_norm;  // [width]
  PackedMatrix embedding;          // [vocabulary][width]
  PackedMatrix output;             // [vocabulary][width]; shares the embedding's memory where they are tied
  uint64_t weight_bytes_per_token = 0, parameter_count = 0;
};

// Collects what an architecture wants to load, then reads and packs it all in one parallel pass.
class Loader {
 public:
  Loader(const TensorFile& file, Model& model) : file_(file), model_(model) {}
  void matrix(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out);
  void vector(const std::string& name, uint32_t length, std::vector<float>& out);
  Status run(Pool& pool, const std::function<void(float)>& progress);

 private:
  struct Job {
    const TensorInfo* tensor;
    PackedMatrix* out;
  };
  const TensorFile& file_;
  Model& model_;
  Status status_;  // the first error
  std::vector<Job> jobs_;
};

// One row per architecture.
struct Architecture {
  const char* name;
  Status (*plan)(const TensorFile&, Model&, Loader&);
};
const Architecture* find_architecture(const std::string& name);
std::string architecture_names();

Status plan_llama(const TensorFile& file, Model& model, Loader& loader);

Status load_model(const ModelSpec& spec, const Kernels* kernels, Pool& pool, const std::function<void(float)>& progress, Model& out);

}  // namespace hunch
