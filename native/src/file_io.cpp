#include "file_io.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#ifdef _WIN32
#include <io.h>
#include <windows.h>
#else
#include <sys/uio.h>
#include <unistd.h>
#endif

namespace hunch {

#ifdef _WIN32
static std::wstring wide(const std::string& path) {  // open() would take the path's bytes for the code page's characters
  std::wstring out(path.size() + 1, 0);
  if (!MultiByteToWideChar(CP_UTF8, 0, path.c_str(), -1, out.data(), (int)out.size())) out[0] = 0;
  return out;
}
#endif

int open_to_read(const std::string& path, [[maybe_unused]] bool uncached) {
#ifdef _WIN32
  // Shared, as elsewhere: an open file may be removed, and replaced by another.
  const HANDLE h = CreateFileW(wide(path).c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, nullptr);
  if (h == INVALID_HANDLE_VALUE) {
    errno = GetLastError() == ERROR_ACCESS_DENIED ? EACCES : ENOENT;
    return -1;
  }
  const int fd = _open_osfhandle((intptr_t)h, _O_RDONLY | _O_BINARY);
  if (fd < 0) CloseHandle(h);
  return fd;
#else
#ifdef O_DIRECT
  if (uncached)
    if (const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT); fd >= 0 || errno != EINVAL) return fd;
#endif
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
#ifdef F_NOCACHE
  if (uncached && fd >= 0) fcntl(fd, F_NOCACHE, 1);
#endif
  return fd;
#endif
}

void close_file(int fd) { close(fd); }

int64_t file_bytes(int fd) {
#ifdef _WIN32
  struct __stat64 info;
  return _fstat64(fd, &info) ? -1 : (int64_t)info.st_size;
#else
  struct stat info;
  return fstat(fd, &info) ? -1 : (int64_t)info.st_size;
#endif
}

static bool read_one(int fd, uint64_t at, uint8_t* p, size_t bytes) {
  while (bytes > 0) {
    errno = 0;
#ifdef _WIN32
    OVERLAPPED where{};
    where.Offset = (DWORD)at;
    where.OffsetHigh = (DWORD)(at >> 32);
    DWORD got = 0;
    if (!ReadFile((HANDLE)_get_osfhandle(fd), p, (DWORD)std::min<size_t>(bytes, 1u << 30), &got, &where)) {
      if (GetLastError() != ERROR_HANDLE_EOF) errno = EIO;
      got = 0;
    }
    const int64_t n = got;
#else
    const int64_t n = pread(fd, p, bytes, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
#endif
    if (n <= 0) return false;
    p += n, at += (uint64_t)n, bytes -= (size_t)n;
  }
  return true;
}

bool read_at(int fd, uint64_t at, std::span<const Piece> pieces) {
#ifdef __linux__
  constexpr size_t kMost = 128;
  if (pieces.size() > 1 && pieces.size() <= kMost) {
    iovec all[kMost];
    size_t total = 0;
    for (size_t i = 0; i < pieces.size(); i++) all[i] = {pieces[i].to, pieces[i].bytes}, total += pieces[i].bytes;
    if (preadv(fd, all, (int)pieces.size(), (off_t)at) == (ssize_t)total) return true;
  }  // else one by one, which says where it fails
#endif
  for (const Piece& p : pieces) {
    if (!read_one(fd, at, p.to, p.bytes)) return false;
    at += p.bytes;
  }
  return true;
}

void forget_cached([[maybe_unused]] int fd, [[maybe_unused]] uint64_t at, [[maybe_unused]] uint64_t bytes) {
#ifdef POSIX_FADV_DONTNEED
  posix_fadvise(fd, (off_t)at, (off_t)bytes, POSIX_FADV_DONTNEED);
#endif
}

bool sync_file(const std::string& path) {
#ifdef _WIN32
  const int fd = _wopen(wide(path).c_str(), _O_RDWR | _O_BINARY);
  const bool done = fd >= 0 && _commit(fd) == 0;
#else
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = fd >= 0 && fsync(fd) == 0;
#endif
  if (fd >= 0) close_file(fd);
  return done;
}

}  // namespace hunch
