#include "device.h"

#include <algorithm>

namespace hunch::cuda {

namespace {
constexpr int kSharedOptIn = 97;                            // CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
constexpr int kFuncShared = 1, kFuncMaxDynamicShared = 8;   // CU_FUNC_ATTRIBUTE_…
constexpr unsigned kMapped = 2, kPortable = 1;              // CU_MEMHOSTALLOC_…
}  // namespace

Status Device::open(int index, std::shared_ptr<Device>& out) {
  Status why;
  const Driver* d = driver(why);
  if (!d) return why;
  std::string none;
  int version = 0;
  const std::vector<Gpu> all = list_gpus(none, version);
  const Gpu* chosen = nullptr;
  for (const Gpu& g : all)
    if (index >= 0 ? g.index == index : g.usable && (!chosen || g.memory > chosen->memory)) chosen = &g;
  if (!chosen || !chosen->usable) {
    std::string reason = chosen ? chosen->name + ": " + chosen->problem : none;
    if (reason.empty())
      for (const Gpu& g : all) reason += (reason.empty() ? "" : " ") + g.name + ": " + g.problem;
    return Status::error("gpu-unavailable", "No GPU can be used. " + (reason.empty() ? std::string("There is none of that number.") : reason) + " Run on the CPU instead.");
  }
  std::shared_ptr<Device> device(new Device(*d));
  device->gpu = *chosen;
  if (const Result r = d->DeviceGet(&device->device_, chosen->index); r != kSuccess) return failure(*d, r, "being opened");
  if (const Result r = d->DevicePrimaryCtxRetain(&device->context_, device->device_); r != kSuccess) return failure(*d, r, "being opened");
  device->retained_ = true;
  device->enter();
  Result loaded = d->ModuleLoadData(&device->module_, token_image().data);
  if (loaded == kSuccess) loaded = d->ModuleLoadData(&device->prefill_module_, prefill_image().data);
  if (const Result r = loaded; r != kSuccess) {
    const char* text = nullptr;
    d->GetErrorString(r, &text);
    return Status::error("gpu-unavailable", "NVIDIA's driver does not accept Hunch's kernels (" + std::string(text ? text : "no reason given") + "). Update the driver, or run on the CPU.");
  }
  if (const Result r = d->ModuleGetFunction(&device->token, device->module_, "hunch_token"); r != kSuccess) return failure(*d, r, "looking up its kernels");
  if (const Result r = device->find_prefill(); r != kSuccess) return failure(*d, r, "looking up its kernels");
  int limit = 0, own = 0;
  d->DeviceGetAttribute(&limit, kSharedOptIn, device->device_);
  d->FuncGetAttribute(&own, kFuncShared, device->token);
  device->shared_limit = (uint32_t)std::max(0, limit - own);
  if (const Result r = d->FuncSetAttribute(device->token, kFuncMaxDynamicShared, (int)device->shared_limit); r != kSuccess) return failure(*d, r, "setting up its kernels");
  device->blocks = (uint32_t)std::min(chosen->multiprocessors, 256);
  out = std::move(device);
  return Status::fine();
}

Result Device::find_prefill() {
  const auto find = [&](void*& to, const std::string& name, uint32_t shared) {
    Result r = d.ModuleGetFunction(&to, prefill_module_, ("hunch_" + name).c_str());
    if (r == kSuccess && shared) r = d.FuncSetAttribute(to, kFuncMaxDynamicShared, (int)shared);
    return r;
  };
  PrefillKernels& k = prefill;
  Result r = find(k.embed, "embed", 0);
  if (r == kSuccess) r = find(k.norm, "norm", 0);
  if (r == kSuccess) r = find(k.turn, "turn", 0);
  if (r == kSuccess) r = find(k.score, "score", 0);
  for (uint32_t i = 0; i < kHeadWidths && r == kSuccess; i++) r = find(k.attend[i], "attend_" + std::to_string(64u << i), attend_shared(64u << i));
  constexpr const char* names[kFormats] = {"f32", "f16", "bf16", "nibbles", "nibbles_min", "fives", "bytes", "sixes"};
  for (uint32_t i = 0; i < 2 * kFormats && r == kSuccess; i++)
    r = find(k.multiply[i / kFormats][i % kFormats], std::string(i < kFormats ? "multiply_" : "turned_") + names[i % kFormats], multiply_shared((Format)(i % kFormats)));
  return r;
}

Device::~Device() {
  if (!retained_) return;
  enter();
  if (prefill_module_) d.ModuleUnload(prefill_module_);
  if (module_) d.ModuleUnload(module_);
  d.DevicePrimaryCtxRelease(device_);
}

uint64_t Device::free_memory() const {
  size_t free = 0, total = 0;
  enter();
  return d.MemGetInfo(&free, &total) == kSuccess ? free : 0;
}

Memory::~Memory() {
  device_->enter();
  for (DevicePointer p : pieces_) device_->d.MemFree(p);
  for (void* p : mapped_) device_->d.MemFreeHost(p);
}

DevicePointer Memory::take(size_t bytes, const char* what) {
  if (!status_.ok()) return 0;
  device_->enter();
  DevicePointer p = 0;
  const size_t size = (std::max<size_t>(bytes, 1) + 255) / 256 * 256;
  Result r = device_->d.MemAlloc(&p, size);
  if (r == kSuccess) {
    pieces_.push_back(p);
    bytes_ += size;
    r = device_->d.MemsetD8Async(p, 0, size, nullptr);
    if (r == kSuccess) r = device_->d.StreamSynchronize(nullptr);
  }
  if (r != kSuccess) {
    status_ = failure(device_->d, r, std::string("making room for ") + what);
    return 0;
  }
  return p;
}

void* Memory::mapped(size_t bytes, DevicePointer& on_device) {
  if (!status_.ok()) return nullptr;
  device_->enter();
  void* p = nullptr;
  Result r = device_->d.MemHostAlloc(&p, bytes, kMapped | kPortable);
  if (r == kSuccess) {
    mapped_.push_back(p);
    r = device_->d.MemHostGetDevicePointer(&on_device, p, 0);
  }
  if (r != kSuccess) {
    status_ = failure(device_->d, r, "sharing memory with the CPU");
    return nullptr;
  }
  return p;
}

Status Memory::copy(DevicePointer to, const void* from, size_t bytes) {
  if (!status_.ok()) return status_;
  device_->enter();
  Result r = device_->d.MemcpyHtoDAsync(to, from, bytes, nullptr);
  if (r == kSuccess) r = device_->d.StreamSynchronize(nullptr);
  if (r != kSuccess) status_ = failure(device_->d, r, "receiving the model");
  return status_;
}

}  // namespace hunch::cuda
