// A loaded model: immutable weights in the kernels' layout. Which tensors go where is the architecture's business (arch_<name>.cpp).
#pragma once

#include <functional>

#include "arena.h"
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
  std::vector<float> q_bias, k_bias, v_bias, o_bias, up_bias, down_bias;
  bool windowed = false;
};

struct Model {
  ModelSpec spec;
  const Kernels* kernels = nullptr;
  Arena arena;
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
};

// Collects what an architecture wants to load, then reads and packs it all in one parallel pass.
class Loader {
 public:
  Loader(const TensorFile& file, Model& model) : file_(file), model_(model) {}
  // Matrices are laid out in the order they are asked for; end_stage() closes those that the forward pass reads between two barriers.
  void matrix(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out);
  // The matrix whose column j is the file's row j (a down projection stored by neuron). Quantised types become Q8_0: the blocks run the other
  // way, and at 8 bits what rounding adds cannot be seen in the perplexity.
  void transposed(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out);
  // together: the lanes divide the stage's bytes as if its matrices were one (else each matrix, group by group in turn).
  void end_stage(bool together);
  void vector(const std::string& name, uint32_t length, std::vector<float>& out);
  void optional_vector(const std::string& name, uint32_t length, std::vector<float>& out);
  // The parts that every supported decoder has, under their GGUF names: token_embd, output_norm, output, blk.N.attn_{q,k,v,output},
  // attn_norm, ffn_norm, ffn_{gate,up,down} and, where the file has them, the biases and norms beside them.
  void decoder(bool gated);
  Status run(Pool& pool, const std::function<void(float)>& progress);

 private:
  struct Job {
    const TensorInfo* tensor;
    PackedMatrix* out;
    bool transposed;
  };
  struct Stage {
    size_t begin, end;  // of jobs_
    bool together;
  };
  void divide(const Stage& stage, unsigned lanes);
  bool place(unsigned lanes);
  Status fill(const Job& job, const Slice& slice) const;
  Status fill_transposed(const Job& job, const Slice& slice) const;
  const TensorFile& file_;
  Model& model_;
  Status status_;  // the first error
  std::vector<Job> jobs_;
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

Status load_model(const ModelSpec& spec, const Kernels* kernels, Pool& pool, const std::function<void(float)>& progress, Model& out);

}  // namespace hunch
