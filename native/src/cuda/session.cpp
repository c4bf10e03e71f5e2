#include "session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <thread>

#include "rope.h"

namespace hunch::cuda {

namespace {
constexpr uint32_t kAhead = 4;  // tokens in flight: the host hears of one while the next ones run

const std::atomic<bool> never{false};

Status no_number() { return Status::error("model-invalid", "The model's output is not a number. The file is probably damaged: download it again."); }
constexpr uint64_t kAnswerNs = 30'000'000'000;  // that the kernel waits for the CPU's part: a whole model's worth on a slow machine
}

Status DeviceSession::open(std::shared_ptr<DeviceModel> model, uint32_t context, std::unique_ptr<DeviceSession>& out, const CpuParts* cpu) {
  std::unique_ptr<DeviceSession> s(new DeviceSession(std::move(model)));
  const ModelSpec& m = s->model_->spec;
  Memory& memory = s->memory_;
  const Device& device = memory.device();
  const uint32_t hw = m.head_width, blocks = device.blocks;
  SessionBuffers& b = s->b_;
  Token& t = s->token_;
  if (Status status = lay_out(*s->model_, t); !status.ok()) return status;
  b.context = context;
  const char* what = "the context";
  for (float*& x : b.x) x = memory.array<float>(m.width, what);
  b.branch = memory.array<float>(m.width, what);
  if (std::any_of(s->model_->layers.begin(), s->model_->layers.end(), [](const DeviceLayer& l) { return l.by_neuron; })) b.partials = memory.array<float>((size_t)(blocks + 1) * m.width, what);  // the last is the CPU's
  b.qkv = memory.array<float>((size_t)(m.heads + 2 * m.kv_heads) * hw, what);
  b.hidden = memory.array<float>(m.ffn_width, what);
  for (int i = 0; i < 2; i++) b.mlp_hidden[i] = memory.array<float>(4096 + 32, what), b.head_hidden[i] = memory.array<float>(4096 + 32, what);
  const size_t cache = (size_t)(m.layers - s->model_->placement.cpu_layers) * m.kv_heads * context * hw;
  b.keys = memory.array<uint16_t>(cache, what), b.values = memory.array<uint16_t>(cache, what);
  if (s->model_->traits.rope != RopeStyle::none) {
    const RopeTable table = make_rope_table(m.rope, m.rope_width, context, s->model_->rope_factors);
    b.cosine = memory.upload(table.cosine, what), b.sine = memory.upload(table.sine, what);
    if (m.window) {
      const RopeTable near = make_rope_table(m.window_rope, m.rope_width, context, {});
      b.window_cosine = memory.upload(near.cosine, what), b.window_sine = memory.upload(near.sine, what);
    }
  }
  b.thresholds = memory.array<float>((size_t)m.layers * 3, what);
  b.counted = memory.array<unsigned long long>((size_t)m.layers * 2, what);
  b.logits = memory.array<float>(m.vocabulary, what);

  t.state = memory.array<State>(1, what);
  t.barrier = memory.array<uint32_t>(64, what);
  t.tokens = memory.array<int32_t>(context + 1, what);
  t.nll = memory.array<float>(context, what);
  t.greedy = memory.array<uint8_t>(context, what);
  t.best = memory.array<float>(blocks, what), t.best_sum = memory.array<float>(blocks, what);
  t.best_id = memory.array<int32_t>(blocks, what);
  t.logits = b.logits;
  t.max_splits = b.max_splits = std::clamp(blocks / m.kv_heads, 1u, std::clamp(kSums / m.heads, 1u, 32u));
  t.part_max = memory.array<float>((size_t)m.heads * t.max_splits, what), t.part_sum = memory.array<float>((size_t)m.heads * t.max_splits, what);
  t.part_acc = memory.array<float>((size_t)m.heads * t.max_splits * hw, what);
  t.context = context, t.vocabulary = m.vocabulary, t.width = m.width, t.heads = m.heads, t.kv_heads = m.kv_heads, t.head_width = hw;
  t.epsilon = m.norm_epsilon;
  t.spin_limit = 1u << 24;
#ifdef HUNCH_MARKS
  t.marks = memory.array<long long>(kMarks * 1024, what);
#endif

  DevicePointer on_device = 0;
  s->host_tokens_ = static_cast<int32_t*>(memory.mapped((context + 1) * sizeof(int32_t), on_device));
  t.host_tokens = reinterpret_cast<int32_t*>(on_device);
  s->host_progress_ = static_cast<volatile int32_t*>(memory.mapped(256, on_device));
  t.host_progress = reinterpret_cast<volatile int32_t*>(on_device);
  s->staged_ = static_cast<State*>(memory.mapped(sizeof(State), on_device));
  s->staged_tokens_ = static_cast<int32_t*>(memory.mapped((context + 1) * sizeof(int32_t), on_device));
  s->staged_floats_ = static_cast<float*>(memory.mapped(std::max<size_t>(m.vocabulary, context) * sizeof(float), on_device));
  if (!memory.status().ok()) return memory.status();
  if (s->model_->turns()) {
    if (!cpu) return Status::error("internal", "A part of the model is the CPU's, and nothing runs it.");
    t.spin_limit <<= 4;  // its blocks wait while the CPU computes
    t.host.turns = s->model_->turns();
    t.host.limit_ns = kAnswerNs;
    s->cold_ = std::make_unique<ColdSide>(*cpu, *s->model_, memory, t.host, s->host_progress_, s->host_tokens_);
    if (!memory.status().ok()) return memory.status();
  }

  const Driver& d = device.d;
  device.enter();
  if (const Result r = d.StreamCreate(&s->stream_, 1); r != kSuccess) return failure(d, r, "preparing the context");
  // Any plan's list fits: at most 7 stages a layer.
  s->stage_room_ = (size_t)m.layers * 8 + 4;
  s->stages_ = memory.array<Stage>(s->stage_room_, what);
  t.stages = s->stages_;
  if (!memory.status().ok()) return memory.status();
  if (Status status = s->rebuild(); !status.ok()) return status;

  void* graph = nullptr;
  Result r = d.StreamBeginCapture(s->stream_, 2);  // relaxed: other threads may go on
  if (r == kSuccess) {
    void* arguments[] = {&t};
    r = d.LaunchCooperativeKernel(device.token, device.blocks, 1, 1, kBlockThreads, 1, 1, t.shared_bytes, s->stream_, arguments);
    const Result end = d.StreamEndCapture(s->stream_, &graph);
    if (r == kSuccess) r = end;
  }
  if (r == kSuccess) r = d.GraphInstantiateWithFlags(&s->graph_, graph, 0);
  if (graph) d.GraphDestroy(graph);
  if (r != kSuccess) return failure(d, r, "preparing the context");
  if (!s->cold_) s->prefill_ = Prefill::open(*s->model_, b);  // last: it may do without
  out = std::move(s);
  return Status::fine();
}

DeviceSession::~DeviceSession() {
  const Device& device = memory_.device();
  device.enter();
  cold_ = nullptr;
  if (stream_) device.d.StreamSynchronize(stream_);
  if (graph_) device.d.GraphExecDestroy(graph_);
  if (stream_) device.d.StreamDestroy(stream_);
}

Status DeviceSession::rebuild() {
  const std::vector<Stage> stages = build_program(*model_, b_, token_, plan_ ? &*plan_ : nullptr);
  for (const Stage& s : stages)
    if ((s.want_float && s.n > token_.max_float) || (s.want_quantised && s.n > token_.max_quantised) || s.scores.rank > token_.max_quantised)
      return Status::error("internal", "A vector of the GPU's stages is longer than its room.");
  if (stages.size() > stage_room_) return Status::error("internal", "The GPU's list of stages is longer than its room.");
  if (Status s = memory_.copy(reinterpret_cast<DevicePointer>(stages_), stages.data(), stages.size() * sizeof(Stage)); !s.ok()) return s;
  stage_count_ = (int32_t)stages.size();
  predictors_version_ = model_->predictors_version;
  const std::vector<float> thresholds = thresholds_of(*model_, plan_ ? &*plan_ : nullptr);
  return memory_.copy(reinterpret_cast<DevicePointer>(b_.thresholds), thresholds.data(), thresholds.size() * sizeof(float));
}

Status DeviceSession::set_plan(const Plan* plan) {
  const Plan* old = plan_ ? &*plan_ : nullptr;
  const bool stages_stay = same_routes(old, plan) && predictors_version_ == model_->predictors_version;
  if (stages_stay && !plan) return Status::fine();
  plan_ = plan ? std::optional<Plan>(*plan) : std::nullopt;
  if (!stages_stay) return rebuild();
  const std::vector<float> thresholds = thresholds_of(*model_, plan);
  return memory_.copy(reinterpret_cast<DevicePointer>(b_.thresholds), thresholds.data(), thresholds.size() * sizeof(float));
}

// Puts the tokens in place and says where to begin. Nothing of this session is running.
Status DeviceSession::start(std::span<const int32_t> tokens, uint32_t position, bool score, bool last, std::span<const int32_t> stop, uint32_t at_once) {
  const Device& device = memory_.device();
  const Driver& d = device.d;
  device.enter();
  std::copy(tokens.begin(), tokens.end(), staged_tokens_);
  uint32_t epoch = 0;  // of the barrier: the kernel keeps it
  Result r = d.MemcpyDtoHAsync(&epoch, reinterpret_cast<DevicePointer>(&token_.state->epoch), sizeof epoch, stream_);
  if (r == kSuccess) r = d.StreamSynchronize(stream_);
  if (r == kSuccess && host_progress_[1] == 4) {  // blocks left it at different places
    epoch = 0;
    r = d.MemsetD8Async(reinterpret_cast<DevicePointer>(token_.barrier), 0, sizeof epoch, stream_);
  }
  if (r != kSuccess) return failure(d, r, "starting");
  State& s = *staged_;
  s.epoch = epoch;
  s.position = (int32_t)position, s.known = (int32_t)(position + tokens.size());
  s.stopped = 0, s.score = score, s.want_last = last;
  s.stage_count = stage_count_;
  s.stop_count = (int32_t)std::min<size_t>(stop.size(), std::size(s.stop));
  std::copy_n(stop.begin(), s.stop_count, s.stop);
  host_progress_[0] = launched_ = (int32_t)position;
  host_progress_[1] = 0;
  if (cold_) cold_->begin(tokens, position, plan_ ? &*plan_ : nullptr, at_once);
  r = d.MemcpyHtoDAsync(reinterpret_cast<DevicePointer>(token_.tokens + position), staged_tokens_, tokens.size() * sizeof(int32_t), stream_);
  if (r == kSuccess) r = d.MemcpyHtoDAsync(reinterpret_cast<DevicePointer>(token_.state), staged_, sizeof(State), stream_);
  return r == kSuccess ? Status::fine() : failure(d, r, "starting");
}

DeviceSession::Serving::~Serving() {
  if (!s.cold_) return;
  s.memory_.device().d.StreamSynchronize(s.stream_);  // what it says was said before
  s.cold_->end();
}

void DeviceSession::doze(int32_t position) const {
  int32_t last = -1;
  for (int naps = 0, at; naps < 2000 && (at = host_progress_[0]) < position && !host_progress_[1]; last = at) {
    naps = at == last ? naps + 1 : 0;  // a GPU that stands still may be lost: asking it will tell
    std::this_thread::sleep_for(std::chrono::microseconds(naps < 200 ? 20 : 1000));
  }
}

Status DeviceSession::launch() {
  const Driver& d = memory_.device().d;
  launched_++;
  const Result r = d.GraphLaunch(graph_, stream_);
  return r == kSuccess ? Status::fine() : failure(d, r, "computing a token");
}
Status DeviceSession::wait(const char* doing) {
  const Driver& d = memory_.device().d;
  if (cold_) doze(launched_);
  const Result r = d.StreamSynchronize(stream_);
  if (r != kSuccess) return failure(d, r, doing);
  return ended();
}
Status DeviceSession::ended() const {
  if (host_progress_[1] == 3) return no_number();
  if (cold_ && cold_->late()) return Status::error("gpu-failed", "The CPU's part of a token took longer than the GPU waits. Close programs that use the processor, or give the model more of the GPU's memory.");
  if (host_progress_[1] == 4)
    return Status::error("gpu-failed", "The GPU's kernel waited too long for its own blocks and gave up. Close programs that use the GPU and try again, or run on the CPU.");
  return Status::fine();
}

size_t DeviceSession::batched(size_t count) const {
  if (!batches_ || !prefill_ || cold_ || count < Prefill::kLeast) return 0;
  if (plan_)
    for (const LayerPlan& l : plan_->layers)
      if (l.mlp != MlpRoute::dense || l.head_threshold) return 0;
  return count;
}

Status DeviceSession::run_batches(std::span<const int32_t> tokens, size_t count, uint32_t position, bool score, const std::atomic<bool>& cancel) {
  const Device& device = memory_.device();
  const Driver& d = device.d;
  device.enter();
  host_progress_[1] = 0;
  std::copy(tokens.begin(), tokens.end(), staged_tokens_);
  int32_t* ids = token_.tokens + position;
  if (const Result r = d.MemcpyHtoDAsync(reinterpret_cast<DevicePointer>(ids), staged_tokens_, tokens.size() * sizeof(int32_t), stream_); r != kSuccess) return failure(d, r, "starting");
  for (size_t at = 0; at < count && !cancel.load(std::memory_order_relaxed);) {
    const uint32_t n = (uint32_t)std::min<size_t>(prefill_->most(), count - at), where = position + (uint32_t)at;
    if (const Result r = prefill_->run(stream_, ids + at, n, where, score ? token_.nll + where : nullptr, token_.greedy + where); r != kSuccess) return failure(d, r, "reading the prompt");
    if (Status s = wait("reading the prompt"); !s.ok()) return s;
    at += n;
  }
  return Status::fine();
}

Status DeviceSession::extend(std::span<const int32_t> tokens, uint32_t position, float* logits, const std::atomic<bool>& cancel) {
  // The last token has its logits from the token kernel, which goes on from there.
  if (const size_t n = batched(tokens.size() - (logits ? 1 : 0))) {
    if (Status s = run_batches(tokens.first(n), n, position, false, cancel); !s.ok()) return s;
    tokens = tokens.subspan(n), position += (uint32_t)n;
    if (tokens.empty() || cancel.load(std::memory_order_relaxed)) return Status::fine();
  }
  const Serving serving{*this};
  const size_t in_flight = cold_ ? kAhead : 64;
  if (Status s = start(tokens, position, false, logits != nullptr, {}); !s.ok()) return s;
  const Driver& d = memory_.device().d;
  for (size_t i = 0; i < tokens.size(); i++) {
    if (cancel.load(std::memory_order_relaxed)) break;
    if (Status s = launch(); !s.ok()) return s;
    if (i % in_flight == in_flight - 1)
      if (Status s = wait("reading the prompt"); !s.ok()) return s;
  }
  if (logits)
    if (const Result r = d.MemcpyDtoHAsync(staged_floats_, reinterpret_cast<DevicePointer>(b_.logits), model_->spec.vocabulary * sizeof(float), stream_); r != kSuccess)
      return failure(d, r, "computing a token");
  if (Status s = wait("computing a token"); !s.ok()) return s;
  if (logits) std::copy_n(staged_floats_, model_->spec.vocabulary, logits);
  return Status::fine();
}

Status DeviceSession::greedy(std::span<const int32_t> prompt, uint32_t position, uint32_t most, std::span<const int32_t> stop,
                             const std::function<bool(int32_t)>& token, const std::atomic<bool>& cancel, uint32_t& drawn, bool& stopped) {
  drawn = 0, stopped = false;
  const Serving serving{*this};
  if (Status s = start(prompt, position, false, true, stop); !s.ok()) return s;
  const uint32_t first = position + (uint32_t)prompt.size();  // where the first drawn token goes
  const uint32_t launches = (uint32_t)std::min<uint64_t>((uint64_t)prompt.size() - 1 + most, b_.context - position);
  uint32_t launched = 0;
  bool go = true;
  while (go && drawn < most && !cancel.load(std::memory_order_relaxed)) {
    while (launched < launches && launched < (uint32_t)prompt.size() + drawn + kAhead) {
      if (Status s = launch(); !s.ok()) return s;
      launched++;
    }
    // The token at `first + drawn` is there once the position behind has been reached.
    const int32_t wanted = (int32_t)(first + drawn);
    uint32_t polls = 0;
    while (host_progress_[0] < wanted && !host_progress_[1]) {
      if (cancel.load(std::memory_order_relaxed)) {
        go = false;
        break;
      }
      if (cold_) std::this_thread::sleep_for(std::chrono::microseconds(20));
      if (++polls > 2000) {  // a fault of the GPU shows only here
        polls = 0;
        std::this_thread::yield();
        if (launched >= launches || drawn + prompt.size() + kAhead <= launched) {
          const Result r = memory_.device().d.StreamSynchronize(stream_);
          if (r != kSuccess) return failure(memory_.device().d, r, "computing a token");
        }
      }
    }
    if (!go) break;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (host_progress_[0] < wanted) break;
    const int32_t id = *const_cast<volatile int32_t*>(host_tokens_ + wanted);
    if (id < 0) break;
    drawn++;
    if (std::find(stop.begin(), stop.end(), id) != stop.end()) {
      stopped = true;
      break;
    }
    go = token(id);
    if (wanted >= (int32_t)b_.context) break;
  }
  return wait("computing a token");
}

Status DeviceSession::score(std::span<const int32_t> tokens, uint32_t position, float* nll, uint8_t* greedy) {
  const Driver& d = memory_.device().d;
  const Serving serving{*this};
  const size_t n = tokens.size() - 1;
  if (batched(n)) {
    if (Status s = run_batches(tokens, n, position, true, never); !s.ok()) return s;
  } else {
    if (Status s = start(tokens, position, true, false, {}); !s.ok()) return s;
    for (size_t i = 0; i < n; i++) {
      if (Status s = launch(); !s.ok()) return s;
      if (i % 64 == 63)
        if (Status s = wait("scoring a text"); !s.ok()) return s;
    }
  }
  Result r = d.MemcpyDtoHAsync(nll, reinterpret_cast<DevicePointer>(token_.nll + position), n * sizeof(float), stream_);
  if (r == kSuccess && greedy) r = d.MemcpyDtoHAsync(greedy, reinterpret_cast<DevicePointer>(token_.greedy + position), n, stream_);
  if (r != kSuccess) return failure(d, r, "scoring a text");
  if (Status s = wait("scoring a text"); !s.ok()) return s;
  return std::all_of(nll, nll + n, [](float v) { return std::isfinite(v); }) ? Status::fine() : no_number();
}

Status DeviceSession::time(std::span<const int32_t> tokens, uint32_t position, float& ms) {
  const Driver& d = memory_.device().d;
  const Serving serving{*this};
  if (Status s = start(tokens, position, true, false, {}, 1); !s.ok()) return s;
  void *begin = nullptr, *end = nullptr;
  Result r = d.EventCreate(&begin, 0);
  if (r == kSuccess) r = d.EventCreate(&end, 0);
  if (r == kSuccess) r = d.EventRecord(begin, stream_);
  for (size_t i = 0; i + 1 < tokens.size() && r == kSuccess; i++) r = d.GraphLaunch(graph_, stream_), launched_++;
  if (r == kSuccess) r = d.EventRecord(end, stream_);
  if (cold_ && r == kSuccess) doze(launched_);
  if (r == kSuccess) r = d.StreamSynchronize(stream_);
  if (r == kSuccess) r = d.EventElapsedTime(&ms, begin, end);
  if (begin) d.EventDestroy(begin);
  if (end) d.EventDestroy(end);
  ms /= (float)(tokens.size() - 1);
  return r == kSuccess ? ended() : failure(d, r, "being timed");
}

Status DeviceSession::counts(std::vector<uint64_t>& neurons, std::vector<uint64_t>& heads) {
  const uint32_t layers = model_->spec.layers;
  std::vector<unsigned long long> both((size_t)layers * 2);
  const Device& device = memory_.device();
  const Driver& d = device.d;
  device.enter();
  const DevicePointer at = reinterpret_cast<DevicePointer>(b_.counted);
  Result r = d.MemcpyDtoHAsync(both.data(), at, both.size() * sizeof(both[0]), stream_);
  if (r == kSuccess) r = d.MemsetD8Async(at, 0, both.size() * sizeof(both[0]), stream_);
  if (r == kSuccess) r = d.StreamSynchronize(stream_);
  if (r != kSuccess) return failure(d, r, "being asked for its counts");
  neurons.assign(both.begin(), both.begin() + layers);
  heads.assign(both.begin() + layers, both.end());
  return Status::fine();
}

}  // namespace hunch::cuda
