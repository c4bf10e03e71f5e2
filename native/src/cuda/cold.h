// The CPU's part of a token that runs on the GPU: layers that come before the GPU's, and the neurons that the GPU's memory does not hold.
//
// The GPU asks and waits inside its kernel (kernels/cuda/host_turn.cuh); here the engine's pool spins on the flags while tokens run. What was posted before the
// GPU came to a halt is always answered, so that all lanes agree on when it is over.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <thread>

#include "device_model.h"
#include "forward.h"

namespace hunch::cuda {

// What of the engine and of a session the CPU's part works with. All of it outlives the session on the GPU.
struct CpuParts {
  const Model* model;
  Pool* pool;
  std::mutex* turn;  // of the pool; held from begin() to end()
  KvCache* kv;       // of the layers that run here
  Scratch* scratch;
  const std::shared_ptr<const PredictorSet>* predictors;  // guarded by turn
};

class ColdSide {
 public:
  // Fills in `shared`; what it points to is `memory`'s. progress: [0] the position that the GPU has reached, [1] why it stopped; tokens: [context] as it appends them.
  ColdSide(const CpuParts& parts, const DeviceModel& model, Memory& memory, HostShared& shared, volatile int32_t* progress, int32_t* tokens);
  ~ColdSide();
  ColdSide(const ColdSide&) = delete;
  // Answers turns of the tokens from `position` on, of which these are given, until end(). Nothing runs on the GPU at either moment. One thread calls both.
  // at_once: given tokens whose first layers run together; few enough that the GPU's wait stays short.
  void begin(std::span<const int32_t> tokens, uint32_t position, const Plan* plan, uint32_t at_once);
  void end();
  bool late() const { return flags_ && flags_->late.load(std::memory_order_acquire) != 0; }  // the GPU gave up waiting

 private:
  struct Flags {
    alignas(64) std::atomic<uint32_t> asked[kPosts][16];  // the first of each line
    alignas(64) std::atomic<uint32_t> answered;
    alignas(64) std::atomic<uint32_t> late;
  };
  void work();
  void serve();
  bool run_layers(uint32_t position);
  bool run_turns(uint32_t position, unsigned lane, unsigned lanes);
  bool posted(uint32_t as, uint32_t number) const;
  int32_t reached() const;

  const CpuParts parts_;
  const DeviceModel& model_;
  const HostShared& shared_;
  volatile int32_t* progress_;
  int32_t* host_tokens_;
  Flags* flags_ = nullptr;
  float *posted_[kPosts] = {}, *answer_ = nullptr;
  std::vector<NeuronSubset> cold_;  // [layers]; empty where a layer is not split
  std::vector<uint32_t> split_;     // those that are, in order

  // Of what begin() began.
  std::unique_lock<std::mutex> turn_;
  std::vector<int32_t> tokens_;
  uint32_t first_ = 0, at_once_ = 1, batch_ = 0, batch_end_ = 0;  // run_layers: positions whose residual streams are in the scratch
  std::optional<Plan> plan_;
  std::vector<LayerPlan> routes_;  // [layers] of the neurons here
  std::atomic<uint32_t> finished_{0};  // lanes with turns

  std::atomic<bool> quit_{false}, stopping_{false};
  std::atomic<uint32_t> round_{0}, idle_{0};
  std::thread thread_;
};

}  // namespace hunch::cuda
