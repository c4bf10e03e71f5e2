// Where a device model's weights come from: a GGUF file, or (benchmarks) nowhere.
#pragma once

#include "tensor_file.h"

namespace hunch::cuda {

class Weights {
 public:
  virtual ~Weights() = default;
  virtual const TensorInfo* find(const std::string& name) const = 0;
  // Bytes [from, from + bytes) of the tensor, in the file's layout. Thread-safe.
  virtual Status read(const TensorInfo& tensor, uint64_t from, uint64_t bytes, void* out) const = 0;
};

class FileWeights : public Weights {
 public:
  explicit FileWeights(const TensorFile& file) : file_(file) {}
  const TensorInfo* find(const std::string& name) const override { return file_.find(name); }
  Status read(const TensorInfo& t, uint64_t from, uint64_t bytes, void* out) const override { return file_.read(t, from, bytes, out); }

 private:
  const TensorFile& file_;
};

}  // namespace hunch::cuda
