// A model file opened for reading, with the tensor table checked against its real length.
// pread, not mmap: a file that shrinks under us must give an error, not a SIGBUS.
#pragma once

#include <unordered_map>

#include "engine.h"

namespace hunch {

class TensorFile {
 public:
  TensorFile() = default;
  TensorFile(const TensorFile&) = delete;
  ~TensorFile();
  // Checks every tensor: known block size, no overflow, offset + size within the file.
  Status open(const ModelSpec& spec);
  const TensorInfo* find(const std::string& name) const;
  // The tensor by name, refused unless its shape is [columns, rows] (rows 1 = a vector).
  Status matrix(const std::string& name, uint64_t columns, uint64_t rows, const TensorInfo*& out) const;
  // Thread-safe. Reads bytes [from, from + bytes) of the tensor.
  Status read(const TensorInfo& tensor, uint64_t from, uint64_t bytes, void* out) const;
  Status vector(const std::string& name, uint64_t length, std::vector<float>& out) const;  // any float type

 private:
  std::string path_;
  std::unordered_map<std::string, const TensorInfo*> table_;
  int fd_ = -1;
};

uint64_t row_bytes(TensorType type, uint64_t columns);  // of the file's layout; columns must fill whole blocks
uint64_t block_columns(TensorType type);

}  // namespace hunch
