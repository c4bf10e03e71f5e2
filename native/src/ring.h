// Records of recent steps in a file of a fixed size, the oldest making room for the newest.
#pragma once

#include <deque>
#include <fstream>
#include <mutex>
#include <string>

#include "engine.h"

namespace hunch {

class Ring {
 public:
  ~Ring();
  // The file becomes the ring's alone and goes with it. 0 bytes: no ring. Errors: disk-full (it cannot be written).
  Status open(const std::string& path, uint64_t bytes);
  // A record larger than the ring, or one that cannot be written any more, is not kept.
  void write(uint32_t sequence, const std::vector<uint8_t>& record);
  bool read(uint32_t sequence, std::vector<uint8_t>& out);

 private:
  struct Entry {
    uint32_t sequence;
    uint64_t offset, size;
  };
  void close();
  std::mutex mutex_;
  std::fstream file_;
  std::string path_;
  uint64_t bytes_ = 0, cursor_ = 0;
  std::deque<Entry> entries_;  // oldest first; by sequence
};

}  // namespace hunch
