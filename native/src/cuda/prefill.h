// Reads a prompt on the tensor cores, many tokens at once: a launch for each step of a layer (kernels/cuda/prefill.cu). Always dense, as prompts are.
#pragma once

#include <span>

#include "program.h"

namespace hunch::cuda {

class Prefill {
 public:
  // Fewer tokens are no faster here than one after the other.
  static constexpr size_t kLeast = 16;

  // Makes room for batches of `most` tokens. Null where the memory does not suffice (or kPrefillTokens would not help): tokens then run one by one.
  static std::unique_ptr<Prefill> open(const DeviceModel& model, const SessionBuffers& b);
  // Launches, on `stream`, what `count` tokens at positions [position, position + count) need: their keys and values join the cache. tokens: device memory,
  // [count], or [count + 1] with scores. With `nll` (device memory, [count]) also each token's surprise at the next one, and whether that was the likeliest.
  Result run(void* stream, const int32_t* tokens, uint32_t count, uint32_t position, float* nll, uint8_t* greedy);

  uint32_t most() const { return most_; }
  uint64_t bytes() const { return memory_.bytes(); }

 private:
  Prefill(const DeviceModel& model, const SessionBuffers& b) : m_(model), b_(b), memory_(model.memory.owner()) {}
  template <class T>
  void launch(void* kernel, uint32_t x, uint32_t y, uint32_t z, uint32_t threads, uint32_t shared, T& arguments);
  void norm(const Norm& norm);
  void multiply(const Matrix& w, bool turned, const float* scale, const float* bias, float* out, uint32_t out_stride, Epilogue epilogue, uint32_t parts = 1);
  void into_branch(const Matrix& w, bool turned, const float* scale, const float* bias, const Norm& after);
  void attention(uint32_t layer, bool only_cache);
  void mlp(uint32_t layer);
  void scores(const int32_t* targets, float* nll, uint8_t* greedy);

  const DeviceModel& m_;
  const SessionBuffers& b_;
  Memory memory_;
  uint32_t most_ = 0, parts_ = 1;
  float* x_ = nullptr;                       // [most][width] the residual stream
  float* branch_ = nullptr;                  // [parts][most][width] what joins it next
  uint16_t* halves_ = nullptr;               // [most][max(width, heads * head_width, ffn_width)] what is multiplied next
  float* scale_ = nullptr;                   // [most] of it
  float* qkv_ = nullptr;                     // [most][(heads + 2 kv_heads) head_width]
  uint16_t* queries_ = nullptr;
  float* wide_ = nullptr;                    // [most][ffn_width], then the scores' parts
  // Of the batch at hand.
  void* stream_ = nullptr;
  uint32_t count_ = 0, position_ = 0;
  const Norm* pending_ = nullptr;            // through which branch_ joins x_; null: there is none
  Result result_ = kSuccess;
};

}  // namespace hunch::cuda
