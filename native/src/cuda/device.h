// One GPU with its kernels loaded, and memory on it.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "../../kernels/cuda/prefill.h"
#include "driver.h"

namespace hunch::cuda {

// Functions of kernels/cuda/prefill.cu.
struct PrefillKernels {
  void *embed = nullptr, *norm = nullptr, *turn = nullptr, *score = nullptr;
  void* attend[kHeadWidths] = {};           // heads of up to 64, 128, 256 numbers
  void* multiply[2][kFormats] = {};         // as the rows are, and turned
};

class Device {
 public:
  // index: of list_gpus(); -1 = the usable one with the most memory. Errors: gpu-unavailable, gpu-failed, out-of-memory.
  static Status open(int index, std::shared_ptr<Device>& out);
  ~Device();
  const Driver& d;
  Gpu gpu;
  uint32_t blocks = 0;         // of the token kernel: one a multiprocessor
  uint32_t shared_limit = 0;   // bytes that a block may ask for, beside its own
  void* token = nullptr;
  PrefillKernels prefill;
  void enter() const { d.CtxSetCurrent(context_); }
  uint64_t free_memory() const;

 private:
  explicit Device(const Driver& driver) : d(driver) {}
  Result find_prefill();
  int device_ = 0;
  void *context_ = nullptr, *module_ = nullptr, *prefill_module_ = nullptr;
  bool retained_ = false;
};

// Allocations of one owner, freed together. The first failure stays.
class Memory {
 public:
  explicit Memory(std::shared_ptr<Device> device) : device_(std::move(device)) {}
  ~Memory();
  Memory(const Memory&) = delete;
  // Zeroed; 0 after a failure.
  DevicePointer take(size_t bytes, const char* what);
  template <class T>
  T* array(size_t n, const char* what) {
    return reinterpret_cast<T*>(take(n * sizeof(T), what));
  }
  // Memory of the host that the GPU can write: the host's pointer.
  void* mapped(size_t bytes, DevicePointer& on_device);
  Status copy(DevicePointer to, const void* from, size_t bytes);
  template <class T>
  T* upload(const std::vector<T>& values, const char* what) {
    if (values.empty()) return nullptr;
    T* to = array<T>(values.size(), what);
    if (to) copy(reinterpret_cast<DevicePointer>(to), values.data(), values.size() * sizeof(T));
    return to;
  }
  const Status& status() const { return status_; }
  uint64_t bytes() const { return bytes_; }
  Device& device() const { return *device_; }
  const std::shared_ptr<Device>& owner() const { return device_; }

 private:
  std::shared_ptr<Device> device_;
  std::vector<DevicePointer> pieces_;
  std::vector<void*> mapped_;
  uint64_t bytes_ = 0;
  Status status_;
};

}  // namespace hunch::cuda
