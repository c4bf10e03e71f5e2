// The engine's session on a GPU: what generate, score and bench do there. The CPU's model stays loaded beside it: traces, lenses, comparisons, edits and
// calibrations run on it.
#include "hook.h"

#include <algorithm>

#include "../engine_impl.h"

namespace hunch {

GpuReport gpus() {
  GpuReport out;
  int version = 0;
  for (const cuda::Gpu& g : cuda::list_gpus(out.problem, version)) out.gpus.push_back({g.name, g.memory, g.major * 10 + g.minor, g.usable, g.problem});
  if (version) out.driver = std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
  out.built = cuda::token_image().bytes > 0;
  if (!out.built && out.problem.empty()) out.problem = "This build of Hunch was made without CUDA.";
  return out;
}

namespace cuda {

Status load_beside(const ModelSpec& spec, const LoadOptions& options, const Model& model, std::shared_ptr<DeviceModel>& out, ModelInfo& info) {
  if (options.device == "cpu") return Status::fine();
  if (options.device != "cuda" && options.device != "auto") return Status::error("bad-request", "The device is cpu, cuda or auto, not '" + options.device + "'.");
  const auto load = [&]() -> Status {
    if (!token_image().bytes && !replaced()) return Status::error("gpu-unavailable", "This build of Hunch was made without CUDA. Build it where nvcc is found (docs/cuda.md), or run on the CPU.");
    std::shared_ptr<Device> device;
    if (Status s = Device::open(-1, device); !s.ok()) return s;
    const uint64_t budget = options.gpu_budget ? std::min(options.gpu_budget, device->free_memory()) : device->free_memory();
    uint64_t needed = model.weight_bytes_per_token;  // at least
    if (needed > budget)
      return Status::error("out-of-memory", "The model needs at least " + std::to_string(needed >> 20) + " MB of the GPU's memory; " + std::to_string(budget >> 20) +
                                                " MB may be used. Choose a smaller model or a larger share, or run on the CPU.");
    TensorFile file;
    ModelSpec copy = spec;
    if (Status s = file.open(copy); !s.ok()) return s;
    if (Status s = DeviceModel::load(device, spec, traits_of(model), FileWeights(file), options.by_neuron, options.progress, out); !s.ok()) return s;
    Token layout{};
    if (Status s = lay_out(*out, layout); !s.ok()) return s;
    info.device = device->gpu.name;
    info.gpu_bytes = out->memory.bytes();
    return Status::fine();
  };
  const Status status = load();
  if (status.ok()) return status;
  out = nullptr;
  if (options.device == "cuda") return status;
  info.device_note = status.message;
  return Status::fine();
}

}  // namespace cuda

bool Session::Impl::extend_on_gpu(std::span<const int32_t> tokens, const Plan* plan, Logits logits, const std::atomic<bool>& cancel, const std::function<void(uint32_t)>& progress) {
  for (uint32_t done = 0; done < tokens.size();) {
    const auto batch = tokens.subspan(done, std::min<size_t>(cuda::kPrefillTokens, tokens.size() - done));
    const bool last = done + batch.size() == tokens.size();
    const auto begin = Clock::now();
    const std::lock_guard gpu_turn(engine.gpu_turn);
    failure = gpu->set_plan(plan);
    if (failure.ok()) failure = gpu->extend(batch, (uint32_t)history.size(), last && logits != Logits::none ? scratch.logits.data() : nullptr, cancel);
    if (!failure.ok() || cancel) return false;
    if (tokens.size() == 1) count(1, ms_since(begin) * 1e-3);
    history.insert(history.end(), batch.begin(), batch.end());
    done += (uint32_t)batch.size();
    if (progress) progress(done);
  }
  return true;
}

void Session::Impl::count(uint64_t tokens, double seconds) {
  std::lock_guard turn(engine.turn);
  counted.tokens += tokens, counted.seconds += seconds;
}

Status Session::Impl::take_failure() { return std::exchange(failure, Status::fine()); }

// Greedy text without a trip to the CPU for each token. `id` was drawn and told; ends as generate() would, or when the plan changes (again = true).
Status Session::Impl::decode_on_gpu(int32_t id, const Plan* plan, const GenerateOptions& o, const GenerateEvents& events, const std::atomic<bool>& cancel, GenerateResult& result, bool& again) {
  const uint32_t position = (uint32_t)history.size(), most = o.max_tokens - result.generated_tokens;
  std::shared_ptr<const Plan> began;
  {
    std::lock_guard lock(plan_mutex);
    began = current_plan;
  }
  uint32_t drawn = 0;
  bool stopped = false;
  last_drawn = id;
  again = false;
  const auto token = [&](int32_t next) {
    history.push_back(last_drawn);
    last_drawn = next;
    result.generated_tokens++;
    if (events.token) events.token(next, {});
    std::lock_guard lock(plan_mutex);
    again = current_plan != began;
    return !again;
  };
  const auto begin = Clock::now();
  const std::lock_guard gpu_turn(engine.gpu_turn);
  Status status = gpu->set_plan(plan);
  if (status.ok()) status = gpu->greedy(std::span(&id, 1), position, most, o.stop_tokens, token, cancel, drawn, stopped);
  count(drawn, ms_since(begin) * 1e-3);
  if (!status.ok()) return status;
  if (stopped) history.push_back(last_drawn);
  if (stopped) result.reason = StopReason::stop_token;
  else if (cancel) result.reason = StopReason::cancelled;
  else if (result.generated_tokens >= o.max_tokens) result.reason = StopReason::max_tokens, again = false;
  else if (!again) result.reason = StopReason::context_full;
  return Status::fine();
}

Status Session::Impl::score_on_gpu(std::span<const int32_t> tokens, uint32_t from, const Plan* plan, float* nll, uint8_t* greedy) {
  const uint32_t common = (uint32_t)history.size();
  if (common < from && !extend_on_gpu(tokens.subspan(common, from - common), plan, Logits::none, never, {})) return take_failure();
  const std::lock_guard gpu_turn(engine.gpu_turn);
  if (Status s = gpu->set_plan(plan); !s.ok()) return s;
  if (Status s = gpu->score(tokens.subspan(from), from, nll, greedy); !s.ok()) return s;
  history.insert(history.end(), tokens.begin() + from, tokens.end() - 1);
  return Status::fine();
}

// Tokens one by one, on the GPU's clock.
Status Session::Impl::time_on_gpu(std::span<const int32_t> tokens, const Plan* plan, double& ms) {
  std::vector<int32_t> ids(tokens.begin(), tokens.end());
  ids.push_back(tokens.back());  // the last one has something to be scored against
  float each = 0;
  const std::lock_guard gpu_turn(engine.gpu_turn);
  if (Status s = gpu->set_plan(plan); !s.ok()) return s;
  if (Status s = gpu->time(ids, (uint32_t)history.size(), each); !s.ok()) return s;
  history.insert(history.end(), tokens.begin(), tokens.end());
  count(tokens.size(), each * 1e-3 * (double)tokens.size());
  ms = each * (double)tokens.size();
  return Status::fine();
}

void Session::Impl::add_gpu_counts(Activity& a) {
  std::vector<uint64_t> neurons, heads;
  if (!gpu->counts(neurons, heads).ok()) return;
  const ModelSpec& m = engine.model.spec;
  a.bytes = a.tokens * gpu->model().token_bytes;
  for (uint32_t i = 0; i < m.layers; i++) {
    const cuda::DeviceLayer& l = gpu->model().layers[i];
    if (neurons[i]) {  // bundles of these, and, where no predictor names them, the gates of all
      a.bytes -= a.tokens * gpu->model().mlp_bytes(i);
      a.bytes += neurons[i] * l.first.stride;
      if (i >= gpu->model().mlp.size() || !gpu->model().mlp[i].present)
        a.bytes += (a.tokens * m.ffn_width - std::min(neurons[i], a.tokens * m.ffn_width)) * cuda::row_stride(l.first.format, m.width);
    }
    // Layers that ran densely count nothing.
    const uint64_t all = a.tokens * m.ffn_width;
    a.computed[i] = neurons[i] ? std::min(neurons[i], all) : all;
    a.named[i] = neurons[i];
    a.heads[i] = heads[i] ? std::min<uint64_t>(heads[i], a.tokens * m.heads) : a.tokens * m.heads;
  }
}

}  // namespace hunch
