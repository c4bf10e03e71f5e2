// What Engine and Session hide from their callers.
#pragma once

#include <chrono>
#include <mutex>

#include "cuda/hook.h"
#include "forward.h"
#include "frames.h"
#include "governor.h"
#include "ring.h"
#include "sampler.h"
#include "speculation.h"

namespace hunch {

using Clock = std::chrono::steady_clock;
inline double ms_since(Clock::time_point begin) { return std::chrono::duration<double, std::milli>(Clock::now() - begin).count(); }
inline const std::atomic<bool> never{false};  // for what nobody cancels

struct Engine::Impl {
  explicit Impl(unsigned threads) : pool(threads), governor(pool.size()) {}
  Model model;
  std::shared_ptr<cuda::DeviceModel> gpu;  // null: on the CPU
  std::mutex gpu_turn;                     // of what runs there; taken before turn
  Pool pool;
  Screens screens;                                 // guarded by turn
  std::shared_ptr<const PredictorSet> predictors;  // guarded by turn
  Governor governor;  // of decoding; guarded by turn
  std::mutex turn;  // one pass at a time: sessions take turns on the pool
  // Of a model that is partly on disk: its store gives up room for predictors, low-bit copies and `more` bytes. Behind turn. Errors: out-of-memory.
  Status make_room(uint64_t more);
  ModelInfo info{};
  uint32_t sequence = 0;  // of captured steps; guarded by turn
  Ring ring;
};

struct Session::Impl {
  std::shared_ptr<Engine> keep;  // the weights outlive their last session
  Engine::Impl& engine;
  KvCache kv;
  Scratch scratch;
  std::vector<int32_t> history;  // tokens whose keys and values are in the cache, in order
  Activity counted;              // tokens and seconds; guarded by engine.turn
  Drafting drafting;             // kept between replies: what it learned is about the model and the machine
  mutable std::mutex plan_mutex;
  std::shared_ptr<const Plan> current_plan, ready_plan;  // ready_plan: of the thread that runs
  CaptureOptions capture_options;                        // guarded by plan_mutex
  std::shared_ptr<const Edits> current_edits;            // guarded by plan_mutex
  std::shared_ptr<const Edits> edits;                    // of the thread that runs
  std::unique_ptr<Capture> capture;                      // made when it is first needed
  uint32_t until_audit = 0;
  std::vector<uint8_t> frame, record;                    // of the last step; frame is empty unless it was captured

  Impl(std::shared_ptr<Engine> owner, Engine::Impl& e) : keep(std::move(owner)), engine(e) {}
  std::unique_ptr<cuda::DeviceSession> gpu;  // null: on the CPU
  bool on_cpu = false;                       // although there is a GPU: what only the CPU can do (OnCpu)
  Status failure;                            // of the GPU, or of the disk that neurons come from; extend() then says false
  int32_t last_drawn = 0;
  bool uses_gpu() const { return gpu && !on_cpu; }
  bool extend_on_gpu(std::span<const int32_t> tokens, const Plan* plan, Logits logits, const std::atomic<bool>& cancel, const std::function<void(uint32_t)>& progress);
  Status take_failure();
  Status decode_on_gpu(int32_t id, const Plan* plan, const GenerateOptions& o, const GenerateEvents& events, const std::atomic<bool>& cancel, GenerateResult& result, bool& again);
  Status score_on_gpu(std::span<const int32_t> tokens, uint32_t from, const Plan* plan, float* nll, uint8_t* greedy);
  Status time_on_gpu(std::span<const int32_t> tokens, const Plan* plan, double& ms);
  void add_gpu_counts(Activity& a);
  void count(uint64_t tokens, double seconds);
  Status check(std::span<const int32_t> tokens) const;
  Status check(const Plan& plan) const;
  // forward() on the CPU, behind engine.turn; false = cancelled, or `failure` says why.
  bool pass(std::span<const int32_t> tokens, uint32_t position, const Plan* plan, Logits logits, const std::atomic<bool>& cancel, unsigned active = 0);
  // Runs tokens from history.size() on, in batches; false = cancelled, or `failure` says why.
  bool extend(std::span<const int32_t> tokens, const Plan* plan, Logits logits, const std::atomic<bool>& cancel,
              const std::function<void(uint32_t)>& progress = {});
  // A decode step of the text itself, captured if that is asked for; false = cancelled. Errors: out-of-memory.
  Status step(int32_t id, const Plan* plan, const std::atomic<bool>& cancel, bool& ran);
  bool captures() const;  // decode steps are to be noted down, which only the CPU does
  Status begin_capture(const CaptureOptions& options);
  void end_capture(int32_t id, double seconds);
  // Gives the next pass the model's predictors and this session's edits; behind engine.turn.
  void equip() { scratch.predictors = engine.predictors.get(), scratch.edits = edits.get(); }
  // Edits that changed since the last pass count from now on, and make what the cache holds a text of another model.
  void take_edits();
  // After a decode step: writes the last tokens' keys and values again, densely, when the plan says it is time. false = cancelled.
  bool correct(const Plan* plan, const std::atomic<bool>& cancel);
  uint32_t uncorrected = 0;  // tokens at history's end that a sparse step wrote
  // Steps of `plan` after the token `id`: what it thinks comes next. Writes the cache past history's end.
  std::vector<int32_t> draft(int32_t id, uint32_t most, const Plan* plan, Sampler& greedy, const std::atomic<bool>& cancel);
  // Runs id and drafts as one dense batch behind history and leaves all their logits; history grows by id. false = cancelled.
  bool verify(int32_t id, std::span<const int32_t> drafts, const Plan* lossless, const std::atomic<bool>& cancel);
  // Dense's bits, with as little as that takes.
  Plan lossless_plan() const;
  // With the low-bit copies it needs made. Errors: out-of-memory.
  Status take_plan(std::shared_ptr<const Plan>& out);
  Status make_ready(const std::shared_ptr<const Plan>& plan);
  void set_plan(std::shared_ptr<const Plan> next);
};

// While it lives, a session of a GPU runs on the CPU. The two do not share a cache: the text begins anew before and behind.
template <class Impl>
class OnCpu {
 public:
  explicit OnCpu(Impl& s, bool wanted = true) : s_(s), active_(wanted && s.gpu) {
    if (active_) s_.on_cpu = true, s_.history.clear();
  }
  ~OnCpu() {
    if (active_) s_.on_cpu = false, s_.history.clear();
  }

 private:
  Impl& s_;
  bool active_;
};

}  // namespace hunch
