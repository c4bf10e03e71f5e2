// Files read at given places, from any thread, on every platform. Paths are UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace hunch {

// uncached: past the system's file cache (O_DIRECT, F_NOCACHE), where the file system can; every read must then begin at a multiple of
// kDirectBlock, in the file and in memory, and be as long. -1: errno says why.
constexpr size_t kDirectBlock = 512;
int open_to_read(const std::string& path, bool uncached = false);
void close_file(int fd);
// Bytes of the file; -1: errno says why.
int64_t file_bytes(int fd);

struct Piece {
  uint8_t* to;
  size_t bytes;
};
// Fills the pieces one after the other from `at` on, in one call of the system where it has one. false: errno says why, 0 = the file ends there.
bool read_at(int fd, uint64_t at, std::span<const Piece> pieces);
inline bool read_at(int fd, uint64_t at, void* to, size_t bytes) {
  const Piece one{static_cast<uint8_t*>(to), bytes};
  return read_at(fd, at, {&one, 1});
}
// Tells the system that these bytes will not be read again soon.
void forget_cached(int fd, uint64_t at, uint64_t bytes);
// All that was written to the file is on the disk. false: errno says why.
bool sync_file(const std::string& path);

}  // namespace hunch
