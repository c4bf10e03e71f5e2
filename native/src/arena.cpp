#include "arena.h"

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#endif

namespace hunch {

constexpr size_t kHugePage = 2u << 20;

bool Arena::reserve(size_t bytes) {
  size_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
#ifdef _WIN32
  base_ = static_cast<uint8_t*>(VirtualAlloc(nullptr, size_, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  return base_ != nullptr;
#else
  void* p = mmap(nullptr, size_ + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return false;
  // Cut to a huge-page boundary, or the first pages stay small.
  const uintptr_t at = reinterpret_cast<uintptr_t>(p), aligned = (at + kHugePage - 1) / kHugePage * kHugePage;
  if (aligned > at) munmap(p, aligned - at);
  if (const size_t tail = at + kHugePage - aligned) munmap(reinterpret_cast<void*>(aligned + size_), tail);
  base_ = reinterpret_cast<uint8_t*>(aligned);
#ifdef MADV_HUGEPAGE
  madvise(base_, size_, MADV_HUGEPAGE);
#endif
  return true;
#endif
}

Arena::~Arena() {
  if (!base_) return;
#ifdef _WIN32
  VirtualFree(base_, 0, MEM_RELEASE);
#else
  munmap(base_, size_);
#endif
}

uint8_t* Arena::take(size_t bytes) {
  bytes = padded(bytes);
  if (bytes > size_ - used_) return nullptr;
  uint8_t* p = base_ + used_;
  used_ += bytes;
  return p;
}

}  // namespace hunch
