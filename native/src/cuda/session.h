// One timeline on the GPU.
#pragma once

#include <atomic>
#include <span>

#include "cold.h"
#include "prefill.h"

namespace hunch::cuda {

class DeviceSession {
 public:
  // cpu: what computes the CPU's part; needed where the model has one (DeviceModel::turns).
  static Status open(std::shared_ptr<DeviceModel> model, uint32_t context, std::unique_ptr<DeviceSession>& out, const CpuParts* cpu = nullptr);
  ~DeviceSession();

  // How the next tokens run; null = dense. Only other routes rebuild the stages; other thresholds are one copy.
  Status set_plan(const Plan* plan);
  // Runs tokens at positions [position, position + size) behind what the cache holds; then copies the last one's logits [vocabulary] to `logits`
  // unless it is null. Stops early when `cancel` is seen. Errors: gpu-failed, model-invalid.
  Status extend(std::span<const int32_t> tokens, uint32_t position, float* logits, const std::atomic<bool>& cancel);
  // After extend() with `logits` or greedy(): goes on with the likeliest token, up to `most` times; `token` gets every token and says whether to go on.
  // `at`: position of the first token that is drawn. Returns how many were drawn, and whether a stop token ended it (the last one).
  Status greedy(std::span<const int32_t> prompt, uint32_t position, uint32_t most, std::span<const int32_t> stop, const std::function<bool(int32_t)>& token,
                const std::atomic<bool>& cancel, uint32_t& drawn, bool& stopped);
  // nll[i], greedy[i] of tokens[i + 1] for the positions [position, position + size - 1).
  Status score(std::span<const int32_t> tokens, uint32_t position, float* nll, uint8_t* greedy);
  // Times launches of single tokens, on the GPU's clock, in ms a token; each has its logits.
  Status time(std::span<const int32_t> tokens, uint32_t position, float& ms);
  // Neurons and heads that single-token steps computed since the last call, by layer.
  Status counts(std::vector<uint64_t>& neurons, std::vector<uint64_t>& heads);

  // Whether prompts and texts to be scored run many tokens at once (where the plan is dense), which is so unless a test or a benchmark wants to see the
  // other way. The last bits of a token's keys and values depend on the way.
  void use_batches(bool on) { batches_ = on; }
  const Prefill* prefill() const { return prefill_.get(); }  // null: there was no memory for it

  const DeviceModel& model() const { return *model_; }
  uint32_t context() const { return b_.context; }
  const SessionBuffers& buffers() const { return b_; }
#ifdef HUNCH_MARKS
  long long* marks() const { return token_.marks; }
  int stages() const { return stage_count_; }
#endif

 private:
  explicit DeviceSession(std::shared_ptr<DeviceModel> model) : model_(std::move(model)), memory_(model_->memory.owner()) {}
  Status start(std::span<const int32_t> tokens, uint32_t position, bool score, bool last, std::span<const int32_t> stop, uint32_t at_once = 16);
  // extend() and score() of the first `count` tokens, many at once; 0: one by one.
  size_t batched(size_t count) const;
  Status run_batches(std::span<const int32_t> tokens, size_t count, uint32_t position, bool score, const std::atomic<bool>& cancel);
  Status launch();
  Status wait(const char* doing);
  Status ended() const;
  Status rebuild();
  // While it lives the CPU answers what start() began; then nothing of this session runs on the GPU any more.
  struct Serving {
    DeviceSession& s;
    ~Serving();
  };
  // Waits without taking a core from the lanes that answer, until the GPU has passed this position or ended.
  void doze(int32_t position) const;

  std::shared_ptr<DeviceModel> model_;
  Memory memory_;
  SessionBuffers b_;
  Token token_{};
  void *stream_ = nullptr, *graph_ = nullptr;
  int32_t* host_tokens_ = nullptr;
  volatile int32_t* host_progress_ = nullptr;
  State* staged_ = nullptr;      // host memory that copies start from
  int32_t* staged_tokens_ = nullptr;
  float* staged_floats_ = nullptr;  // [max(vocabulary, context)]
  Stage* stages_ = nullptr;
  size_t stage_room_ = 0;
  int32_t stage_count_ = 0;
  std::optional<Plan> plan_;
  std::unique_ptr<Prefill> prefill_;
  bool batches_ = true;
  uint32_t predictors_version_ = 0;
  int32_t launched_ = 0;         // position behind the last token that was launched
  std::unique_ptr<ColdSide> cold_;  // null: the GPU does all of it
};

}  // namespace hunch::cuda
