// A driver without a GPU: its memory is the host's, and its one kernel is the list of stages in plain C++. A test double: it checks what the host
// does (uploading, the stages, plans, sessions), not the kernels.
#pragma once

#include "../../native/src/cuda/driver.h"

namespace hunch::cuda {

struct FakeGpu {
  bool absent = false;          // no device
  int major = 9, minor = 0;
  int multiprocessors = 3;
  size_t memory = 1u << 30;     // cuMemAlloc fails past it
  int fail_launches_after = -1; // "device lost" from this launch on
  size_t allocated = 0;
  bool impatient = false;       // gives up on the CPU's part at once
  uint64_t joins = 0;           // answers of the CPU that were taken in
  uint64_t launches = 0, copies = 0, graphs = 0;
};

// Puts the fake in the driver's place while it lives.
class FakeDriver {
 public:
  FakeDriver();
  ~FakeDriver();
  FakeGpu& gpu();
};

// Cases that need a real GPU are skipped, not passed, where there is none.
bool no_gpu();

}  // namespace hunch::cuda
