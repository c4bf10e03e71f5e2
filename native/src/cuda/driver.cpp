#include "driver.h"

#include <mutex>

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace hunch::cuda {

namespace {

std::mutex mutex;
const Driver* instead_of_it = nullptr;

void* open_library() {
#ifdef _WIN32
  return (void*)LoadLibraryExW(L"nvcuda.dll", nullptr, LOAD_LIBRARY_SEARCH_SYSTEM32);
#else
  return dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
#endif
}
void* look_up(void* library, const char* name) {
#ifdef _WIN32
  return (void*)GetProcAddress((HMODULE)library, name);
#else
  return dlsym(library, name);
#endif
}

struct Found {
  Driver table;
  Status status;
  bool looked = false;
};

Status look(Driver& d) {
  void* library = open_library();
  if (!library)
    return Status::error("gpu-unavailable", "There is no NVIDIA driver on this computer. Install NVIDIA's driver to use an NVIDIA GPU, or run on the CPU.");
  const char* missing = nullptr;
  const auto get = [&](auto& to, const char* name) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(look_up(library, name));
    if (!to && !missing) missing = name;
  };
  get(d.Init, "cuInit"), get(d.DriverGetVersion, "cuDriverGetVersion"), get(d.GetErrorString, "cuGetErrorString");
  get(d.DeviceGetCount, "cuDeviceGetCount"), get(d.DeviceGet, "cuDeviceGet"), get(d.DeviceGetName, "cuDeviceGetName");
  get(d.DeviceTotalMem, "cuDeviceTotalMem_v2"), get(d.DeviceGetAttribute, "cuDeviceGetAttribute");
  get(d.DevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain"), get(d.DevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2"), get(d.CtxSetCurrent, "cuCtxSetCurrent");
  get(d.ModuleLoadData, "cuModuleLoadData"), get(d.ModuleUnload, "cuModuleUnload"), get(d.ModuleGetFunction, "cuModuleGetFunction");
  get(d.FuncSetAttribute, "cuFuncSetAttribute"), get(d.FuncGetAttribute, "cuFuncGetAttribute");
  get(d.MemGetInfo, "cuMemGetInfo_v2"), get(d.MemAlloc, "cuMemAlloc_v2"), get(d.MemFree, "cuMemFree_v2");
  get(d.MemHostAlloc, "cuMemHostAlloc"), get(d.MemFreeHost, "cuMemFreeHost"), get(d.MemHostGetDevicePointer, "cuMemHostGetDevicePointer_v2");
  get(d.MemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2"), get(d.MemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2"), get(d.MemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
  get(d.MemsetD8Async, "cuMemsetD8Async"), get(d.StreamCreate, "cuStreamCreate"), get(d.StreamDestroy, "cuStreamDestroy_v2"), get(d.StreamSynchronize, "cuStreamSynchronize");
  get(d.StreamBeginCapture, "cuStreamBeginCapture_v2"), get(d.StreamEndCapture, "cuStreamEndCapture");
  get(d.GraphInstantiateWithFlags, "cuGraphInstantiateWithFlags"), get(d.GraphLaunch, "cuGraphLaunch");
  get(d.GraphExecDestroy, "cuGraphExecDestroy"), get(d.GraphDestroy, "cuGraphDestroy");
  get(d.EventCreate, "cuEventCreate"), get(d.EventRecord, "cuEventRecord"), get(d.EventSynchronize, "cuEventSynchronize");
  get(d.EventElapsedTime, "cuEventElapsedTime"), get(d.EventDestroy, "cuEventDestroy_v2");
  get(d.LaunchKernel, "cuLaunchKernel"), get(d.LaunchCooperativeKernel, "cuLaunchCooperativeKernel");
  if (missing)
    return Status::error("gpu-unavailable", std::string("The NVIDIA driver on this computer is too old: it has no ") + missing + ". Update it (version 580 or newer), or run on the CPU.");
  if (const Result r = d.Init(0); r != kSuccess) {
    const char* text = nullptr;
    d.GetErrorString(r, &text);
    return Status::error("gpu-unavailable", std::string("The NVIDIA driver does not start: ") + (text ? text : "no reason given") + ". Update or reinstall it, or run on the CPU.");
  }
  return Status::fine();
}

constexpr int kMajor = 75, kMinor = 76, kMultiprocessors = 16, kCooperative = 95;

}  // namespace

const Driver* driver(Status& why) {
  std::lock_guard lock(mutex);
  if (instead_of_it) return instead_of_it;
  static Found found;
  if (!found.looked) found.status = look(found.table), found.looked = true;
  why = found.status;
  return found.status.ok() ? &found.table : nullptr;
}

void use_driver(const Driver* instead) {
  std::lock_guard lock(mutex);
  instead_of_it = instead;
}

bool replaced() {
  std::lock_guard lock(mutex);
  return instead_of_it != nullptr;
}

Status failure(const Driver& d, Result result, const std::string& doing) {
  const char* text = nullptr;
  d.GetErrorString(result, &text);
  const std::string says = text ? text : "error " + std::to_string(result);
  if (result == kOutOfMemory)
    return Status::error("out-of-memory", "The GPU ran out of memory while " + doing + ". Give it a smaller share of the model, a shorter context or a smaller model, or run on the CPU.");
  return Status::error("gpu-failed", "The GPU failed while " + doing + ": " + says + ". What was written so far is kept. Try again; if it fails again, run on the CPU and update NVIDIA's driver.");
}

std::vector<Gpu> list_gpus(std::string& why, int& version) {
  std::vector<Gpu> list;
  version = 0;
  Status status;
  const Driver* d = driver(status);
  if (!d) {
    why = status.message;
    return list;
  }
  d->DriverGetVersion(&version);
  int count = 0;
  if (d->DeviceGetCount(&count) != kSuccess || count == 0) {
    why = "The NVIDIA driver finds no GPU that it can use.";
    return list;
  }
  for (int i = 0; i < count; i++) {
    Gpu g;
    g.index = i;
    int device = 0;
    char name[256] = {};
    size_t bytes = 0;
    if (d->DeviceGet(&device, i) != kSuccess || d->DeviceGetName(name, sizeof name - 1, device) != kSuccess || d->DeviceTotalMem(&bytes, device) != kSuccess) {
      g.problem = "The driver gives no information about this GPU.";
      list.push_back(g);
      continue;
    }
    g.name = name, g.memory = bytes;
    int cooperative = 0;
    d->DeviceGetAttribute(&g.major, kMajor, device);
    d->DeviceGetAttribute(&g.minor, kMinor, device);
    d->DeviceGetAttribute(&g.multiprocessors, kMultiprocessors, device);
    d->DeviceGetAttribute(&cooperative, kCooperative, device);
    const int capability = g.major * 10 + g.minor;
    if (!token_image().bytes && !replaced()) g.problem = "This build of Hunch was made without CUDA.";
    else if (capability < 75) g.problem = "It has the compute capability " + std::to_string(g.major) + "." + std::to_string(g.minor) + "; Hunch needs 7.5 or newer.";
    else if (!cooperative) g.problem = "Its driver cannot start kernels that work together (cooperative launch).";
    else g.usable = true;
    list.push_back(g);
  }
  return list;
}

}  // namespace hunch::cuda
