// A loaded model: immutable weights in the kernels' layout. Which tensors go where is the architecture's business (arch_<name>.cpp).
#pragma once

#include <functional>

#include "arena.h"
#include "neuron_rows.h"
#include "neuron_store.h"
#include "packing.h"
#include "pool.h"

namespace hunch {

// Empty vectors and matrices are parts that an architecture does not have.
struct Norm {
  std::vector<float> weight;  // [n]
  std::vector<float> bias;    // [n]: LayerNorm; empty: RMSNorm
  bool present() const { return !weight.empty(); }
};

struct Layer {
  Norm attention_norm, ffn_norm;            // [width], before the branch
  Norm post_attention_norm, post_ffn_norm;  // [width], after the branch and before the residual (gemma)
  Norm q_norm, k_norm;                      // [head_width], per head
  PackedMatrix q, k, v;                     // [heads * head_width | kv_heads * head_width][width]
  PackedMatrix o;                           // [width][heads * head_width]
  PackedMatrix gate, up;                    // [ffn_width][width]; without a gate: act(up)
  PackedMatrix down;                        // [width][ffn_width]
  NeuronRows rows;                          // the MLP by neuron; ReLU models have only this, others may have both
  std::vector<float> q_bias, k_bias, v_bias, o_bias, up_bias, down_bias;
  bool windowed = false;
};

struct Model {
  ModelSpec spec;
  const Kernels* kernels = nullptr;
  Arena arena;
  std::unique_ptr<NeuronStore> store;  // of MLPs that do not fit the memory budget; null: all weights are in memory
  std::vector<Layer> layers;
  Norm output_norm;         // [width]
  PackedMatrix embedding;   // [vocabulary][width]
  PackedMatrix positions;   // [trained_context + position_offset][width], learned (opt)
  PackedMatrix output;      // [vocabulary][width]; shares the embedding's memory where they are tied
  // What the architecture fixes beyond the header:
  RopeStyle rope_style = RopeStyle::interleaved;
  std::vector<float> rope_factors;  // [rope_width / 2] frequencies are divided by these (llama 3); empty = 1
  float embedding_scale = 1;
  uint32_t position_offset = 0;
  uint64_t weight_bytes_per_token = 0, parameter_count = 0;
  uint64_t always_bytes = 0;  // of weight_bytes_per_token, what no plan saves: all but MLPs by neuron and the output head
};

// Collects what an architecture wants to load, then reads and packs it all in one parallel pass.
class Loader {
 public:
  // on_disk: MLPs are kept by neuron only, in the neuron file.
  Loader(const TensorFile& file, Model& model, unsigned lanes, bool by_neuron, bool on_disk = false)
      : file_(file), model_(model), lanes_(lanes), by_neuron_(by_neuron), on_disk_(on_disk) {}
  // Matrices are laid out in the order they are asked for; end_stage() closes those that the forward pass reads between two barriers.
  void matrix(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out);
  // An MLP by neuron, as a stage of its own. A down projection that the file stores by output is requantised at 8 bits (its blocks run the
  // other way), which cannot be seen in the perplexity.
  void neurons(const std::string& block, bool gated, NeuronRows& out);
  // together: the lanes divide the stage's bytes as if its matrices were one (else each matrix, group by group in turn).
  void end_stage(bool together);
  void vector(const std::string& name, uint32_t length, std::vector<float>& out);
  void optional_vector(const std::string& name, uint32_t length, std::vector<float>& out);
  // The parts that every supported decoder has, under their GGUF names: token_embd, output_norm, output, blk.N.attn_{q,k,v,output},
  // attn_norm, ffn_norm, ffn_{gate,up,down} and, where the file has them, the biases and norms beside them.
  // by_neuron: MLPs whose activation is no ReLU also get their rows.
  void decoder(bool gated);
  // Memory that run() takes for what was asked for so far.
  uint64_t bytes() const;
  // on_disk: finds or makes the neuron file, and a store with what `budget` leaves beside all else. Errors: out-of-memory (names the least that
  // does), disk-full.
  Status open_store(const std::string& path, uint64_t budget, Pool& pool, const std::function<void(float)>& progress);
  Status run(Pool& pool, const std::function<void(float)>& progress);

 private:
  struct Job {
    const TensorInfo* tensor;
    PackedMatrix* out;
  };
  struct NeuronJob {
    const TensorInfo *first, *up, *down;
    bool by_output;  // the file's down projection is [width][neurons]
    NeuronRows* out;
  };
  struct Stage {
    size_t begin, end;  // of jobs_
    bool together;
    NeuronRows* rows;  // instead of jobs
  };
  void divide(const Stage& stage, unsigned lanes);
  bool place(unsigned lanes);
  Status fill(const Job& job, const Slice& slice) const;
  Status fill(const NeuronJob& job, const NeuronRows::Slice& slice) const;
  Status fill_bundles(const NeuronJob& job, Range neurons, uint8_t* out, size_t stride) const;
  Status fill_rows(const TensorInfo& tensor, Range rows, uint32_t cols, uint8_t* out, size_t stride) const;
  Status fill_transposed_rows(const TensorInfo& tensor, RowType type, uint32_t tensor_cols, Range columns, uint32_t tensor_rows, uint8_t* out, size_t stride) const;
  const TensorFile& file_;
  Model& model_;
  const unsigned lanes_;
  const bool by_neuron_, on_disk_;
  Status status_;  // the first error
  std::vector<Job> jobs_;
  std::vector<NeuronJob> neuron_jobs_;
  std::vector<Stage> stages_;
};

// One row per architecture: what to load, and what its name alone says.
struct Architecture {
  const char* name;
  void (*plan)(Model&, Loader&);
};
const Architecture* find_architecture(const std::string& name);
std::string architecture_names();

void plan_llama(Model& model, Loader& loader);
void plan_qwen2(Model& model, Loader& loader);
void plan_qwen3(Model& model, Loader& loader);
void plan_gemma3(Model& model, Loader& loader);
void plan_opt(Model& model, Loader& loader);

// One first row [width] of a layer's MLP by neuron, wherever it lies. Errors: those of the neuron file.
Status first_row(const Model& model, size_t layer, uint32_t neuron, float* out);

// by_neuron, memory_budget and neuron_file: as in the options.
Status load_model(const ModelSpec& spec, const Kernels* kernels, Pool& pool, const LoadOptions& options, Model& out);

}  // namespace hunch
