// A calibration's state on disk: numbers and vectors in the order they are written, with a checksum. Readers check every length against what is
// left, so that a damaged file is refused and never followed.
#pragma once

#include <cstdio>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "engine.h"

namespace hunch {

// Goes on from `sum`; both sides call it with the same pieces.
uint64_t checksum(uint64_t sum, const void* data, size_t n);

// Writes beside the path and takes its place at commit(), so that a crash leaves the old file.
class StateWriter {
 public:
  ~StateWriter();
  Status open(const std::string& path);
  void bytes(const void* p, size_t n);
  template <class T>
  void value(const T& v) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes(&v, sizeof v);
  }
  template <class T>
  void vector(const std::vector<T>& v) {
    static_assert(std::is_trivially_copyable_v<T>);
    value((uint64_t)v.size());
    bytes(v.data(), v.size() * sizeof(T));
  }
  Status commit();  // errors: disk-full, bad-request (a place that cannot be written)

 private:
  std::string path_, temporary_;
  std::FILE* file_ = nullptr;
  uint64_t sum_ = 0;
  bool failed_ = false;
};

class StateReader {
 public:
  ~StateReader();
  Status open(const std::string& path);  // errors: not-found, bad-request (no such file of ours)
  bool bytes(void* p, size_t n);
  template <class T>
  bool value(T& v) {
    static_assert(std::is_trivially_copyable_v<T>);
    return bytes(&v, sizeof v);
  }
  template <class T>
  bool vector(std::vector<T>& v) {
    uint64_t n = 0;
    if (!value(n) || n > left_ / sizeof(T)) return false;
    v.resize((size_t)n);
    return bytes(v.data(), v.size() * sizeof(T));
  }
  // A vector that must have this length.
  template <class T>
  bool vector(std::vector<T>& v, size_t length) {
    return vector(v) && v.size() == length;
  }
  bool finish();  // everything was read and the checksum holds

 private:
  std::FILE* file_ = nullptr;
  uint64_t left_ = 0, sum_ = 0;
};

}  // namespace hunch
