#include "neuron_file.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <new>
#include <random>
#include <utility>

#include "state_file.h"

namespace hunch {

namespace fs = std::filesystem;

constexpr char kMagic[8] = {'h', 'u', 'n', 'c', 'h', 'n', 'r', 'n'};
constexpr uint32_t kVersion = 1;
constexpr uint64_t kHeaderBytes = 4096;

struct NeuronFile::Header {
  char magic[8];
  uint32_t version, layers;
  uint64_t identity, layout, bytes;
  uint64_t sum;  // of all before
};

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

static void put_sum(uint8_t* rows, size_t bytes) {
  const uint64_t sum = checksum(0, rows, bytes);
  std::memcpy(rows + bytes, &sum, sizeof sum);
}
static bool has_sum(const uint8_t* rows, size_t bytes) {
  const uint64_t sum = checksum(0, rows, bytes);
  return std::memcmp(rows + bytes, &sum, sizeof sum) == 0;
}

// A buffer as uncached reads want it.
struct Aligned {
  explicit Aligned(size_t bytes) : p(static_cast<uint8_t*>(::operator new(bytes, std::align_val_t{4096}))) {}
  ~Aligned() { ::operator delete(p, std::align_val_t{4096}); }
  Aligned(const Aligned&) = delete;
  uint8_t* p;
};

NeuronFile::~NeuronFile() {
  if (fd_ >= 0) close_file(fd_);
}

void NeuronFile::lay_out(std::string path, uint64_t identity, const std::vector<const NeuronRows*>& rows) {
  path_ = std::move(path);
  identity_ = identity;
  bytes_ = kHeaderBytes;
  layers_.clear();
  for (const NeuronRows* r : rows) {
    Layer l;
    l.rows = r;
    l.offset = bytes_;
    l.first = r->bundle_stride + 64;
    l.head = rounded(r->bundle_stride + 8, kDirectBlock);
    l.record = rounded(l.first + r->first_stride + 8, kDirectBlock);
    bytes_ += (uint64_t)r->neurons * l.record;
    layers_.push_back(l);
  }
}

NeuronFile::Header NeuronFile::header() const {
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.version = kVersion;
  h.layers = (uint32_t)layers_.size();
  h.identity = identity_;
  for (const Layer& l : layers_) {
    const NeuronRows& r = *l.rows;
    const uint64_t all[] = {r.neurons, r.width, r.gated, (uint64_t)r.first, (uint64_t)r.up, (uint64_t)r.down, l.offset, l.first, l.head, l.record};
    h.layout = checksum(h.layout, all, sizeof all);
  }
  h.bytes = bytes_;
  h.sum = checksum(0, &h, offsetof(Header, sum));
  return h;
}

Status NeuronFile::open() {
  const auto refuse = [&](const std::string& why) {
    close_file(std::exchange(fd_, -1));  // Windows replaces no file that is open
    return Status::error("model-invalid", "The neuron file " + path_ + " " + why + ". It is made again.");
  };
  if (fd_ >= 0) close_file(fd_);
  fd_ = open_to_read(path_, true);
  if (fd_ < 0) return Status::error(errno == ENOENT ? "not-found" : "model-invalid", "Cannot open the neuron file " + path_ + ": " + std::strerror(errno) + ".");
  direct_ = true;
  Aligned block(kHeaderBytes);
  bool read = read_at(fd_, 0, block.p, kHeaderBytes);
  if (!read && errno == EINVAL) {  // the device wants longer blocks
    close_file(fd_);
    direct_ = false;
    if (fd_ = open_to_read(path_); fd_ >= 0) read = read_at(fd_, 0, block.p, kHeaderBytes);
  }
  if (!read && fd_ < 0) return Status::error("model-invalid", "Cannot open the neuron file " + path_ + ": " + std::strerror(errno) + ".");
  if (!read) return refuse("cannot be read or is too short");
  Header have;
  std::memcpy(&have, block.p, sizeof have);
  const Header want = header();
  if (std::memcmp(have.magic, want.magic, sizeof want.magic) != 0) return refuse("is no neuron file");
  if (have.sum != checksum(0, &have, offsetof(Header, sum))) return refuse("is damaged");
  if (have.version != want.version) return refuse("is of version " + std::to_string(have.version) + ", this program's is " + std::to_string(want.version));
  if (have.identity != want.identity) return refuse("belongs to another model, or to this one before it was changed");
  if (have.layers != want.layers || have.layout != want.layout || have.bytes != want.bytes) return refuse("is laid out otherwise");
  if (file_bytes(fd_) != (int64_t)bytes_) return refuse("is not as long as it was written");
  return Status::fine();
}

Status NeuronFile::make(Pool& pool, const Fill& fill, const std::function<void(float)>& progress) {
  const auto failed = [&](const std::string& why) {
    return Status::error("disk-full", "The neuron file " + path_ + " of " + std::to_string(bytes_ >> 20) + " MB could not be written: " + why +
                                          ". A model larger than its memory budget needs it. Free some disk space, or allow more memory.");
  };
  const fs::path place = fs::u8path(path_);
  const std::string temporary = path_ + "." + std::to_string(std::random_device{}()) + ".part";
  const fs::path part = fs::u8path(temporary);
  std::error_code problem;
  const fs::space_info space = fs::space(place.has_parent_path() ? place.parent_path() : fs::path("."), problem);
  if (!problem && space.available < bytes_) return failed("only " + std::to_string(space.available >> 20) + " MB are free");
  struct Removed {
    const fs::path& path;
    ~Removed() {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
  } removed{part};
  std::ofstream out(part, std::ios::binary | std::ios::trunc);
  if (!out) return failed(std::strerror(errno));

  std::mutex mutex;
  Status status;
  uint32_t parts = 0;
  std::vector<uint32_t> before;  // parts of the layers before
  for (const Layer& l : layers_) before.push_back(parts), parts += l.rows->parts;
  std::atomic<uint32_t> next{0};
  pool.run([&](unsigned lane) {
    std::vector<uint8_t> records;
    for (uint32_t job; (job = next++) < parts;) {
      size_t layer = 0;
      while (layer + 1 < before.size() && before[layer + 1] <= job) layer++;
      const Layer& l = layers_[layer];
      const Range neurons = l.rows->neurons_of(job - before[layer]);
      records.assign((size_t)(neurons.end - neurons.begin) * l.record, 0);
      Status filled = fill(layer, neurons, records.data());
      for (size_t at = 0; filled.ok() && at < records.size(); at += l.record) put_sum(&records[at], l.rows->bundle_stride), put_sum(&records[at + l.first], l.rows->first_stride);
      std::lock_guard lock(mutex);
      if (status.ok()) status = std::move(filled);
      if (!status.ok()) return;
      out.seekp((std::streamoff)(l.offset + (uint64_t)neurons.begin * l.record));
      if (!out.write((const char*)records.data(), (std::streamsize)records.size())) {
        status = failed(std::strerror(errno));
        return;
      }
      if (lane == 0 && progress) progress((float)job / (float)parts);
    }
  });
  if (!status.ok()) return status;
  char block[kHeaderBytes] = {};
  const Header h = header();
  std::memcpy(block, &h, sizeof h);
  out.seekp(0);
  out.write(block, sizeof block);
  out.close();
  if (!out || !sync_file(temporary)) return failed(std::strerror(errno));
  fs::rename(part, place, problem);
  if (problem) return failed(problem.message());
  if (const int fd = open_to_read(path_); fd >= 0) {
    forget_cached(fd, 0, bytes_);
    close_file(fd);
  }
  return open();
}

Status NeuronFile::read(uint64_t from, std::span<const Piece> pieces) const {
  if (read_at(fd_, from, pieces)) {
    if (direct_) return Status::fine();
    uint64_t bytes = 0;
    for (const Piece& p : pieces) bytes += p.bytes;
    forget_cached(fd_, from, bytes);
    return Status::fine();
  }
  return Status::error("model-truncated", "Reading the neuron file " + path_ + " failed" + (errno ? std::string(": ") + std::strerror(errno) : ": the file got shorter") +
                                              ". Check the disk, then load the model again.");
}

bool NeuronFile::sound(const Layer& l, const uint8_t* record, bool with_first) {
  return has_sum(record, l.rows->bundle_stride) && (!with_first || has_sum(record + l.first, l.rows->first_stride));
}

Status NeuronFile::damaged(size_t layer, uint32_t neuron) const {
  std::error_code ignored;
  const fs::path place = fs::u8path(path_), aside = fs::u8path(path_ + ".damaged");
  fs::rename(place, aside, ignored);  // its name is free at once, so that the next load makes it again; Windows removes it when nobody has it open any more
  fs::remove(aside, ignored);
  return Status::error("model-invalid", "The neuron file " + path_ + " is damaged at neuron " + std::to_string(neuron) + " of layer " + std::to_string(layer) +
                                            ". It was removed: load the model again, which makes it anew, and check the disk.");
}

Status NeuronFile::read_first(size_t layer, uint32_t neuron, uint8_t* out) const {
  const Layer& l = layers_[layer];
  Aligned record(l.record);
  const Piece whole{record.p, l.record};
  if (Status s = read(l.offset + (uint64_t)neuron * l.record, {&whole, 1}); !s.ok()) return s;
  if (!sound(l, record.p, true)) return damaged(layer, neuron);
  std::memcpy(out, record.p + l.first, l.rows->first_stride);
  return Status::fine();
}

uint64_t identity_of(const ModelSpec& spec) {
  const int fd = open_to_read(spec.path);
  if (fd < 0) return 0;
  const int64_t size = file_bytes(fd);
  std::error_code problem;
  const auto time = fs::last_write_time(fs::u8path(spec.path), problem).time_since_epoch().count();
  uint64_t sum = checksum(1, &size, sizeof size);
  sum = checksum(sum, &time, sizeof time);
  for (const TensorInfo& t : spec.tensors) {
    sum = checksum(sum, t.name.data(), t.name.size());
    sum = checksum(sum, t.shape.data(), t.shape.size() * sizeof(uint64_t));
    sum = checksum(sum ^ (uint64_t)t.type, &t.offset, sizeof t.offset);
  }
  constexpr int64_t kSamples = 64, kBytes = 4096;
  uint8_t sample[kBytes];
  for (int64_t i = 0; i < kSamples; i++) {
    const int64_t at = size > kBytes ? (size - kBytes) / (kSamples - 1) * i : 0, bytes = std::min(size, kBytes);
    if (!read_at(fd, (uint64_t)at, sample, (size_t)bytes)) sum++;
    else sum = checksum(sum, sample, (size_t)bytes);
  }
  close_file(fd);
  return sum;
}

}  // namespace hunch
