#include "tensor_file.h"

#include <cerrno>
#include <cstring>

#include "file_io.h"
#include "half.h"

namespace hunch {

struct TypeRow {
  const char* name;
  uint32_t columns, bytes;  // of a block
};
static const TypeRow types[kTensorTypes] = {{"F32", 1, 4},     {"F16", 1, 2},     {"BF16", 1, 2},     {"Q8_0", 32, 34},   {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
                                            {"Q5_0", 32, 22},  {"Q5_1", 32, 24},  {"Q4_K", 256, 144}, {"Q5_K", 256, 176}, {"Q6_K", 256, 210}, {"IQ4_NL", 32, 18}};

std::optional<TensorType> tensor_type_from_name(std::string_view name) {
  for (size_t i = 0; i < std::size(types); i++)
    if (name == types[i].name) return (TensorType)i;
  return std::nullopt;
}
const char* tensor_type_name(TensorType type) { return types[(size_t)type].name; }
uint64_t block_columns(TensorType type) { return types[(size_t)type].columns; }
uint64_t row_bytes(TensorType type, uint64_t columns) { return columns / types[(size_t)type].columns * types[(size_t)type].bytes; }

TensorFile::~TensorFile() {
  if (fd_ >= 0) close_file(fd_);
}

static std::string shape_text(const TensorInfo& t) {
  std::string s = "[";
  for (size_t i = 0; i < t.shape.size(); i++) s += (i ? ", " : "") + std::to_string(t.shape[i]);
  return s + "]";
}

Status TensorFile::open(const ModelSpec& spec) {
  path_ = spec.path;
  fd_ = open_to_read(path_);
  if (fd_ < 0)
    return Status::error("model-missing", "Cannot open the model file " + path_ + ": " + std::strerror(errno) +
                                              ". Check that it still exists and may be read, or download it again.");
  const int64_t size = file_bytes(fd_);
  if (size < 0) return Status::error("model-missing", "Cannot read the size of " + path_ + ": " + std::strerror(errno) + ".");
  const uint64_t file_size = (uint64_t)size;

  for (const TensorInfo& t : spec.tensors) {
    const std::string where = "Tensor " + t.name + " of " + path_;
    if (t.shape.empty() || t.shape.size() > 4) return Status::error("model-invalid", where + " has no usable shape.");
    uint64_t rows = 1;
    for (size_t i = 0; i < t.shape.size(); i++) {
      if (t.shape[i] == 0 || t.shape[i] > (1u << 30)) return Status::error("model-invalid", where + " has the impossible shape " + shape_text(t) + ".");
      if (i > 0) {
        if (rows > (1ull << 40) / t.shape[i]) return Status::error("model-invalid", where + " is too large: " + shape_text(t) + ".");
        rows *= t.shape[i];
      }
    }
    if (t.shape[0] % block_columns(t.type) != 0)
      return Status::error("model-invalid", where + ": " + tensor_type_name(t.type) + " needs rows of whole blocks of " +
                                                std::to_string(block_columns(t.type)) + ", the shape is " + shape_text(t) + ".");
    const uint64_t row = row_bytes(t.type, t.shape[0]);  // <= 2^32
    if (t.offset > file_size || rows > (file_size - t.offset) / row)
      return Status::error("model-truncated", where + " ends past the end of the file (" + std::to_string(file_size) +
                                                  " bytes). The file is incomplete: download it again.");
    if (!table_.emplace(t.name, &t).second) return Status::error("model-invalid", where + " appears twice.");
  }
  return Status::fine();
}

const TensorInfo* TensorFile::find(const std::string& name) const {
  const auto it = table_.find(name);
  return it == table_.end() ? nullptr : it->second;
}

Status TensorFile::matrix(const std::string& name, uint64_t columns, uint64_t rows, const TensorInfo*& out) const {
  out = find(name);
  if (!out) return Status::error("model-invalid", "The model " + path_ + " has no tensor " + name + ", which its architecture needs.");
  uint64_t have = 1;
  for (size_t i = 1; i < out->shape.size(); i++) have *= out->shape[i];
  if (out->shape[0] != columns || have != rows)
    return Status::error("model-invalid", "Tensor " + name + " of " + path_ + " has the shape " + shape_text(*out) + ", expected [" +
                                              std::to_string(columns) + ", " + std::to_string(rows) + "].");
  return Status::fine();
}

Status TensorFile::read(const TensorInfo& tensor, uint64_t from, uint64_t bytes, void* out) const {
  if (read_at(fd_, tensor.offset + from, out, bytes)) return Status::fine();
  return Status::error("model-truncated", "Reading tensor " + tensor.name + " of " + path_ + " failed" +
                                              (errno ? std::string(": ") + std::strerror(errno) : ": the file got shorter") +
                                              ". Check the disk, or download the model again.");
}

Status TensorFile::vector(const std::string& name, uint64_t length, std::vector<float>& out) const {
  const TensorInfo* t;
  if (Status s = matrix(name, length, 1, t); !s.ok()) return s;
  if (block_columns(t->type) != 1)
    return Status::error("model-unsupported", "Tensor " + name + " of " + path_ + " is " + tensor_type_name(t->type) + "; norms must be F32, F16 or BF16.");
  std::vector<uint8_t> raw(row_bytes(t->type, length));
  if (Status s = read(*t, 0, raw.size(), raw.data()); !s.ok()) return s;
  out.resize(length);
  for (uint64_t i = 0; i < length; i++) {
    if (t->type == TensorType::F32) std::memcpy(&out[i], &raw[4 * i], 4);
    else {
      uint16_t h;
      std::memcpy(&h, &raw[2 * i], 2);
      out[i] = t->type == TensorType::F16 ? f16_to_f32(h) : bf16_to_f32(h);
    }
  }
  return Status::fine();
}

}  // namespace hunch
