// A driver without a GPU: its memory is the host's, its token kernel is the list of stages in plain C++, and the prompt's kernels are plain loops. A test double:
// it checks what the host does (uploading, the stages, launches, plans, sessions), not the kernels.
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
  bool kernel_source = false;   // the prompt's kernels are their own source (cuda_on_host.cpp), not plain loops
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

// One launch of a kernel of kernels/cuda/prefill.cu (cuda_emulator_prefill.cpp); false: there is none of that name, or its grid does not cover its work.
bool run_prefill_kernel(const std::string& name, unsigned grid_x, unsigned grid_y, unsigned grid_z, const void* argument);

// The same by the kernel's own source, thread by thread; false also where it went wrong: a barrier that nobody reaches, shared memory beyond its bytes, two
// rows of ldmatrix in one bank.
bool run_kernel_source(const std::string& name, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned threads, unsigned shared_bytes, const void* argument);
bool can_run_kernel_source();  // Linux on x86, without sanitizers

// Cases that need a real GPU are skipped, not passed, where there is none.
bool no_gpu();

}  // namespace hunch::cuda
