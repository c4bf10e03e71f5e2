#include "state_file.h"

#include <cerrno>

namespace hunch {

static constexpr char kMagic[8] = {'h', 'u', 'n', 'c', 'h', 'c', 'a', '2'};

// One multiply per 8 bytes.
uint64_t checksum(uint64_t sum, const void* data, size_t n) {
  const uint8_t* p = static_cast<const uint8_t*>(data);
  const auto mix = [&](uint64_t word) {
    sum = (sum ^ word) * 0x9E3779B97F4A7C15ull;
    sum ^= sum >> 32;
  };
  size_t i = 0;
  for (uint64_t word; i + 8 <= n; i += 8) std::memcpy(&word, p + i, 8), mix(word);
  uint64_t last = 0;
  if (i < n) std::memcpy(&last, p + i, n - i);
  mix(last ^ n);
  return sum;
}

StateWriter::~StateWriter() {
  if (!file_) return;
  std::fclose(file_);
  std::remove(temporary_.c_str());
}

Status StateWriter::open(const std::string& path) {
  path_ = path;
  temporary_ = path + ".part";
  file_ = std::fopen(temporary_.c_str(), "wb");
  if (!file_) return Status::error("bad-request", "Cannot write " + path + ": " + std::strerror(errno) + ". Choose another place.");
  failed_ = std::fwrite(kMagic, 1, sizeof kMagic, file_) != sizeof kMagic;
  return Status::fine();
}

void StateWriter::bytes(const void* p, size_t n) {
  sum_ = checksum(sum_, p, n);
  if (!failed_ && n && std::fwrite(p, 1, n, file_) != n) failed_ = true;
}

Status StateWriter::commit() {
  const uint64_t sum = sum_;
  if (!failed_) failed_ = std::fwrite(&sum, 1, sizeof sum, file_) != sizeof sum;
  if (std::fclose(file_) != 0) failed_ = true;
  file_ = nullptr;
#ifdef _WIN32
  if (!failed_) std::remove(path_.c_str());  // rename does not replace there
#endif
  if (!failed_ && std::rename(temporary_.c_str(), path_.c_str()) == 0) return Status::fine();
  const int error = errno;
  std::remove(temporary_.c_str());
  return Status::error("disk-full", "Writing " + path_ + " failed: " + std::strerror(error) + ". Free some space and try again.");
}

StateReader::~StateReader() {
  if (file_) std::fclose(file_);
}

Status StateReader::open(const std::string& path) {
  file_ = std::fopen(path.c_str(), "rb");
  if (!file_) return Status::error("not-found", "Cannot open " + path + ": " + std::strerror(errno) + ".");
  char magic[sizeof kMagic];
#ifdef _WIN32
  const auto seek = [&](int64_t to, int from) { return _fseeki64(file_, to, from); };
  const auto tell = [&] { return (int64_t)_ftelli64(file_); };
#else
  const auto seek = [&](int64_t to, int from) { return fseeko(file_, to, from); };
  const auto tell = [&] { return (int64_t)ftello(file_); };
#endif
  const bool sized = seek(0, SEEK_END) == 0;
  const int64_t size = sized ? tell() : -1;
  if (size < (int64_t)(sizeof magic + sizeof sum_) || seek(0, SEEK_SET) != 0 || std::fread(magic, 1, sizeof magic, file_) != sizeof magic ||
      std::memcmp(magic, kMagic, sizeof magic) != 0)
    return Status::error("bad-request", path + " is not a saved calibration of this version.");
  left_ = (uint64_t)size - sizeof magic - sizeof sum_;
  return Status::fine();
}

bool StateReader::bytes(void* p, size_t n) {
  if (n > left_ || (n && std::fread(p, 1, n, file_) != n)) return false;
  left_ -= n;
  sum_ = checksum(sum_, p, n);
  return true;
}

bool StateReader::finish() {
  uint64_t sum = 0;
  return left_ == 0 && std::fread(&sum, 1, sizeof sum, file_) == sizeof sum && sum == sum_;
}

}  // namespace hunch
