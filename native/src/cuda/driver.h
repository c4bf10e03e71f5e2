// NVIDIA's driver, found when the program runs: nothing of it is linked, so the same build starts where there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine.h"

namespace hunch::cuda {

using Result = int;            // CUresult
using DevicePointer = uint64_t;  // CUdeviceptr
struct LaunchConfig {          // CUlaunchConfig
  unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes;
  void* stream;
  void* attributes;
  unsigned attribute_count;
};

// Names are the driver's without `cu`; the versions are those of the header of CUDA 12.
struct Driver {
  Result (*Init)(unsigned) = nullptr;
  Result (*DriverGetVersion)(int*) = nullptr;
  Result (*GetErrorString)(Result, const char**) = nullptr;
  Result (*DeviceGetCount)(int*) = nullptr;
  Result (*DeviceGet)(int*, int) = nullptr;
  Result (*DeviceGetName)(char*, int, int) = nullptr;
  Result (*DeviceTotalMem)(size_t*, int) = nullptr;
  Result (*DeviceGetAttribute)(int*, int, int) = nullptr;
  Result (*DevicePrimaryCtxRetain)(void**, int) = nullptr;
  Result (*DevicePrimaryCtxRelease)(int) = nullptr;
  Result (*CtxSetCurrent)(void*) = nullptr;
  Result (*ModuleLoadData)(void**, const void*) = nullptr;
  Result (*ModuleUnload)(void*) = nullptr;
  Result (*ModuleGetFunction)(void**, void*, const char*) = nullptr;
  Result (*FuncSetAttribute)(void*, int, int) = nullptr;
  Result (*FuncGetAttribute)(int*, int, void*) = nullptr;
  Result (*MemGetInfo)(size_t*, size_t*) = nullptr;
  Result (*MemAlloc)(DevicePointer*, size_t) = nullptr;
  Result (*MemFree)(DevicePointer) = nullptr;
  Result (*MemHostAlloc)(void**, size_t, unsigned) = nullptr;
  Result (*MemFreeHost)(void*) = nullptr;
  Result (*MemHostGetDevicePointer)(DevicePointer*, void*, unsigned) = nullptr;
  Result (*MemcpyHtoDAsync)(DevicePointer, const void*, size_t, void*) = nullptr;
  Result (*MemcpyDtoHAsync)(void*, DevicePointer, size_t, void*) = nullptr;
  Result (*MemcpyDtoDAsync)(DevicePointer, DevicePointer, size_t, void*) = nullptr;
  Result (*MemsetD8Async)(DevicePointer, unsigned char, size_t, void*) = nullptr;
  Result (*StreamCreate)(void**, unsigned) = nullptr;
  Result (*StreamDestroy)(void*) = nullptr;
  Result (*StreamSynchronize)(void*) = nullptr;
  Result (*StreamBeginCapture)(void*, int) = nullptr;
  Result (*StreamEndCapture)(void*, void**) = nullptr;
  Result (*GraphInstantiateWithFlags)(void**, void*, unsigned long long) = nullptr;
  Result (*GraphLaunch)(void*, void*) = nullptr;
  Result (*GraphExecDestroy)(void*) = nullptr;
  Result (*GraphDestroy)(void*) = nullptr;
  Result (*EventCreate)(void**, unsigned) = nullptr;
  Result (*EventRecord)(void*, void*) = nullptr;
  Result (*EventSynchronize)(void*) = nullptr;
  Result (*EventElapsedTime)(float*, void*, void*) = nullptr;
  Result (*EventDestroy)(void*) = nullptr;
  Result (*LaunchKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**) = nullptr;
  Result (*LaunchCooperativeKernel)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**) = nullptr;
};

constexpr Result kSuccess = 0, kOutOfMemory = 2;

// The driver, initialised, or why there is none. Thread-safe; looks once.
const Driver* driver(Status& why);
// Tests put a driver of their own in its place (null: the real one again).
void use_driver(const Driver* instead);
bool replaced();

// A failed call as a sentence: what was being done, what the driver says and what to do.
Status failure(const Driver& d, Result result, const std::string& doing);

struct Gpu {
  int index = 0;
  std::string name;
  uint64_t memory = 0;   // bytes
  int major = 0, minor = 0, multiprocessors = 0;
  bool usable = false;
  std::string problem;   // a sentence; empty where usable
};
// What is there, and why it cannot be used. An empty list comes with the reason in `why`.
std::vector<Gpu> list_gpus(std::string& why, int& driver_version);

// The kernels in this build; empty where it was built without CUDA.
struct Image {
  const unsigned char* data;
  size_t bytes;
};
Image token_image();
Image prefill_image();

}  // namespace hunch::cuda
