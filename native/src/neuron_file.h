// The neurons of a model in a file of their own, in the layout that the kernels read, so that one neuron is one aligned read. A record:
//   [bundle_stride] up and down rows, u64 checksum of them, padding to 64 bytes; [first_stride] first row, u64 checksum; padding to 512 bytes.
// Who has the first rows in memory reads a record's beginning only. Records follow a header of 4096 bytes, layer by layer.
#pragma once

#include <functional>

#include "file_io.h"
#include "neuron_rows.h"

namespace hunch {

class NeuronFile {
 public:
  struct Layer {
    const NeuronRows* rows = nullptr;
    uint64_t offset = 0;         // of the first record
    size_t first = 0;            // where in a record the first row lies
    size_t head = 0, record = 0; // bytes of a record without and with its first row, whole blocks of kDirectBlock
  };

  NeuronFile() = default;
  NeuronFile(const NeuronFile&) = delete;
  ~NeuronFile();
  // `identity`: of the model's file. rows: by layer, and stay where they are.
  void lay_out(std::string path, uint64_t identity, const std::vector<const NeuronRows*>& rows);
  const std::vector<Layer>& layers() const { return layers_; }
  uint64_t bytes() const { return bytes_; }
  const std::string& path() const { return path_; }

  // Errors: not-found (no file), model-invalid (another model's, damaged, or of another version: a sentence says which).
  Status open();
  // Makes the file: fill(layer, neurons, out) writes the rows of these neurons into records that begin at out, record bytes apart. Lanes work
  // on parts; the file appears in one rename. Errors: disk-full, and what fill says.
  using Fill = std::function<Status(size_t layer, Range neurons, uint8_t* out)>;
  Status make(Pool& pool, const Fill& fill, const std::function<void(float)>& progress);

  // Thread-safe, like all below. Pieces begin at a record's start, which is `from`. Errors: model-truncated.
  Status read(uint64_t from, std::span<const Piece> pieces) const;
  // A record in memory, with or without its first row, is as it was written.
  static bool sound(const Layer& layer, const uint8_t* record, bool with_first);
  Status damaged(size_t layer, uint32_t neuron) const;
  // The first row of one neuron [first_stride].
  Status read_first(size_t layer, uint32_t neuron, uint8_t* out) const;

 private:
  struct Header;
  Header header() const;
  std::string path_;
  uint64_t identity_ = 0, bytes_ = 0;
  std::vector<Layer> layers_;
  int fd_ = -1;
  bool direct_ = false;
};

// Of a model's file: its size, time and tensors, and samples of what it holds. 0: it cannot be read.
uint64_t identity_of(const ModelSpec& spec);

}  // namespace hunch
