// A small random model in a file of its own, with the forward pass of its architecture in plain double precision beside it.
#pragma once

#include <filesystem>
#include <map>

#include "weights.h"

namespace hunch {

struct TinyOptions {
  std::string architecture = "llama";
  TensorType matrices = TensorType::F32;
  TensorType embedding = TensorType::F32;
  TensorType norms = TensorType::F32;
  bool tied = true;
  Activation activation = Activation::silu;
  uint32_t layers = 2, width = 64, heads = 4, kv_heads = 2, head_width = 16, ffn_width = 96, vocabulary = 97;
  uint32_t rope_width = 0;       // 0 = head_width
  uint32_t trained_context = 2048;
  uint32_t window = 0, window_pattern = 0;
  bool rope_factors = false;
  uint32_t post_norms_from = ~0u;  // layers from this one on have norms after their branches; gemma3: all
  bool down_by_neuron = false;     // blk.N.ffn_down_t instead of ffn_down
  bool by_neuron = false;          // run() loads the MLPs by neuron, whatever the activation, and every layer runs exactly
  uint64_t seed = 1;
};

class TinyModel {
 public:
  explicit TinyModel(const TinyOptions& options);
  ~TinyModel();
  TinyModel(const TinyModel&) = delete;
  ModelSpec spec;
  bool by_neuron() const { return o_.by_neuron; }
  // Logits [tokens][vocabulary] after each token.
  std::vector<std::vector<double>> forward(const std::vector<int32_t>& tokens) const;
  // Bytes of the matrices that every token reads, and the number of weights in all matrices.
  uint64_t bytes_per_token = 0, parameters = 0;
  std::filesystem::path path;

 private:
  struct Matrix {
    uint32_t cols;
    bool quantised;
    std::vector<std::vector<double>> rows;
  };
  void add(const std::string& name, TensorType type, uint32_t cols, uint32_t rows, double deviation, double centre = 0);
  bool has(const std::string& name) const { return tensors_.count(name) > 0; }
  const std::vector<double>& vector(const std::string& name) const { return tensors_.at(name).rows[0]; }
  std::vector<double> multiply(const std::string& name, const std::vector<double>& x) const;  // with its bias, if any
  std::vector<double> multiply_by_neuron(const std::string& name, const std::vector<double>& x) const;
  std::vector<double> norm(const std::string& name, const std::vector<double>& x) const;
  void rotate(double* head, size_t position, bool windowed) const;

  TinyOptions o_;
  Random random_;
  std::map<std::string, Matrix> tensors_;
  std::vector<uint8_t> file_;
};

// An empty path in the temporary folder that no other test uses.
std::filesystem::path temporary_path();

std::vector<int32_t> random_tokens(uint32_t count, uint32_t vocabulary, uint64_t seed);

}  // namespace hunch
