// The engine's session on a GPU: what generate, score and bench do there. The CPU's model stays loaded beside it: traces, lenses, comparisons, edits and
// calibrations run on it.
#include "hook.h"

#include <algorithm>

#include "../engine_impl.h"
#include "kernels.h"

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

namespace {

constexpr double kHandshake = 15e-6;  // seconds: post, see, add up, answer, see

// Bytes a second that the GPU copies within its memory, read and written; a guess where there is no room to try.
double copy_speed(const std::shared_ptr<Device>& device, uint64_t room) {
  constexpr double kGuess = 400e9;
  const size_t n = std::min<size_t>(64u << 20, room / 4) / 256 * 256;
  Memory memory(device);
  const DevicePointer from = n ? memory.take(n, "a copy") : 0, to = n ? memory.take(n, "a copy") : 0;
  if (!from || !to) return kGuess;
  const Driver& d = device->d;
  void *begin = nullptr, *end = nullptr;
  float ms = 0;
  Result r = d.EventCreate(&begin, 0);
  if (r == kSuccess) r = d.EventCreate(&end, 0);
  for (int pass = 0; pass < 2 && r == kSuccess; pass++) {
    if (pass) d.EventRecord(begin, nullptr);
    for (int i = 0; i < 8 && r == kSuccess; i++) r = d.MemcpyDtoDAsync(to, from, n, nullptr);
    if (pass) d.EventRecord(end, nullptr);
    if (r == kSuccess) r = d.StreamSynchronize(nullptr);
  }
  if (r == kSuccess) r = d.EventElapsedTime(&ms, begin, end);
  if (begin) d.EventDestroy(begin);
  if (end) d.EventDestroy(end);
  return r == kSuccess && ms > 0 ? 16.0 * (double)n / (ms * 1e-3) : kGuess;
}

// What of the model comes to the GPU: its weights take the budget that was given, or what is free beside a conversation; `whole`: all of it does. Errors:
// out-of-memory, bad-request.
Status divide(const LoadOptions& options, const Model& model, unsigned threads, const Footprint& f, const std::shared_ptr<Device>& device, bool& whole, Placement& out) {
  const ModelSpec& m = model.spec;
  const uint64_t free = device->free_memory();
  // A session's parts of MLPs by block, logits and vectors, and the keys and values of 2048 positions; of a small GPU a quarter.
  const auto room = [&](uint32_t layers) {
    const uint64_t session = 4ull * (device->blocks + 1) * m.width + 8ull * m.vocabulary + (1u << 20);
    const uint64_t cache = (uint64_t)4 * layers * m.kv_heads * m.head_width * std::min(m.trained_context, 2048u);
    const uint64_t left = free - std::min<uint64_t>(session + cache, free / 4);
    return options.gpu_budget ? std::min(options.gpu_budget, left) : left;
  };
  whole = f.whole(m.ffn_width) <= room(m.layers);
  if (whole) return Status::fine();
  if (model.store)
    return Status::error("out-of-memory", "The model is partly on disk, and the GPU's memory does not hold all of it; the two cannot share it. Give it more of the GPU's memory or of the main memory, or run on the CPU.");
  const auto needs = [&](uint32_t first, bool neurons_too) {  // layers from `first` on, with the head
    uint64_t sum = (f.output ? f.output + (first ? 0 : f.embedding) : f.embedding) + (first ? 0 : f.positions);
    for (uint32_t i = first; i < m.layers; i++)
      sum += f.layers[i].attention + (!neurons_too ? 0 : f.layers[i].dense ? f.layers[i].dense : f.layers[i].neuron * m.ffn_width);
    return sum;
  };
  // The CPU computes single neurons where it has them apart; norms behind a branch would come between the two sides' sums.
  bool by_neuron = true;
  for (uint32_t i = 0; i < m.layers; i++) {
    const Layer& l = model.layers[i];
    by_neuron = by_neuron && l.rows.present() && f.layers[i].neuron && !l.post_attention_norm.present() && !l.post_ffn_norm.present();
  }
  uint32_t& first = out.cpu_layers;
  while (first < m.layers && needs(first, !by_neuron) > room(m.layers - first)) first++;
  const uint64_t budget = room(m.layers - first);
  if (needs(first, !by_neuron) > budget)
    return Status::error("out-of-memory", "Even the output head needs " + std::to_string(needs(m.layers, true) >> 20) + " MB of the GPU's memory; " + std::to_string(budget >> 20) +
                                              " MB may be used. Choose a larger share, or run on the CPU.");
  if (!by_neuron) return Status::fine();
  const bool measured = !options.frequencies.empty();
  if (measured && (options.frequencies.size() != m.layers || std::any_of(options.frequencies.begin(), options.frequencies.end(), [&](const auto& l) { return l.size() != m.ffn_width; })))
    return Status::error("bad-request", "Frequencies are one number for each of the model's neurons, layer by layer.");
  std::vector<LayerCost> costs(m.layers);
  for (uint32_t i = 0; i < m.layers; i++) {
    LayerCost& c = costs[i];
    c.neuron_bytes = f.layers[i].neuron;
    c.always = f.layers[i].always, c.often = (double)c.neuron_bytes - c.always;
    c.frequency = measured ? options.frequencies[i] : std::vector<float>(m.ffn_width, 0.12f);
    for (float& x : c.frequency) x = x >= 0 && x <= 1 ? x : 0;
  }
  const double cpu = read_bandwidth(threads, std::clamp<uint64_t>(model.weight_bytes_per_token, 1u << 20, 256u << 20)) * 1e9;
  place_neurons(costs, first, budget - needs(first, false), {copy_speed(device, free), cpu > 0 ? cpu : 20e9, kHandshake}, out);
  return Status::fine();
}

std::string said(const DeviceModel& m, bool measured) {
  const ModelSpec& s = m.spec;
  std::string text;
  if (const uint32_t k = m.placement.cpu_layers) text = (k == 1 ? "The first layer runs" : "The first " + std::to_string(k) + " layers run") + std::string(" on the CPU");
  uint64_t hot = 0;
  const uint64_t all = (uint64_t)(s.layers - m.placement.cpu_layers) * s.ffn_width;
  for (uint32_t i = m.placement.cpu_layers; i < s.layers; i++) hot += m.split(i) ? m.layers[i].hot : s.ffn_width;
  if (hot < all) {
    const std::string share = std::to_string(hot * 100 / all) + " % of the neurons are on the GPU, " + (measured ? "those that are active most often" : "chosen without measured frequencies") +
                              "; the others are computed by the CPU";
    text += text.empty() ? share : "; of the others, " + share;
  }
  return text.empty() ? text : text + ", because the GPU's memory does not hold the whole model.";
}

}  // namespace

Status load_beside(const ModelSpec& spec, const LoadOptions& options, const Model& model, std::shared_ptr<DeviceModel>& out, ModelInfo& info) {
  if (options.device == "cpu") return Status::fine();
  if (options.device != "cuda" && options.device != "auto") return Status::error("bad-request", "The device is cpu, cuda or auto, not '" + options.device + "'.");
  const auto load = [&]() -> Status {
    if (!token_image().bytes && !replaced()) return Status::error("gpu-unavailable", "This build of Hunch was made without CUDA. Build it where nvcc is found (docs/cuda.md), or run on the CPU.");
    std::shared_ptr<Device> device;
    if (Status s = Device::open(-1, device); !s.ok()) return s;
    TensorFile file;
    ModelSpec copy = spec;
    if (Status s = file.open(copy); !s.ok()) return s;
    const FileWeights weights(file);
    const Traits traits = traits_of(model);
    Placement placement;
    bool whole = true;
    if (Status s = divide(options, model, info.threads, DeviceModel::footprint(copy, traits, weights, options.by_neuron), device, whole, placement); !s.ok()) return s;
    if (Status s = DeviceModel::load(device, spec, traits, weights, options.by_neuron, options.progress, out, whole ? nullptr : &placement); !s.ok()) return s;
    Token layout{};
    if (Status s = lay_out(*out, layout); !s.ok()) return s;
    info.device = device->gpu.name;
    info.gpu_bytes = out->memory.bytes();
    info.device_note = said(*out, !options.frequencies.empty());
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

// To what the CPU's lanes counted of their part.
void Session::Impl::add_gpu_counts(Activity& a) {
  std::vector<uint64_t> neurons, heads;
  if (!gpu->counts(neurons, heads).ok()) return;
  const ModelSpec& m = engine.model.spec;
  const cuda::DeviceModel& device = gpu->model();
  const bool split = device.turns() > 0;
  a.bytes = a.tokens * device.token_bytes + (split ? a.bytes - std::min(a.bytes, a.tokens * engine.model.always_bytes) : 0);
  for (uint32_t i = 0; i < device.placement.cpu_layers; i++) {
    const Layer& l = engine.model.layers[i];
    for (const PackedMatrix* p : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) a.bytes += a.tokens * p->bytes();
  }
  for (uint32_t i = device.placement.cpu_layers; i < m.layers; i++) {
    const cuda::DeviceLayer& l = device.layers[i];
    const uint64_t here = l.by_neuron ? l.hot : m.ffn_width, all = a.tokens * here;
    if (neurons[i]) {  // bundles of these, and, where no predictor names them, the gates of all
      a.bytes -= a.tokens * device.mlp_bytes(i);
      a.bytes += neurons[i] * l.first.stride;
      if (i >= device.mlp.size() || !device.mlp[i].present) a.bytes += (all - std::min(neurons[i], all)) * cuda::row_stride(l.first.format, m.width);
    }
    // Layers that ran densely count nothing.
    a.computed[i] = (device.split(i) ? a.computed[i] : 0) + (neurons[i] ? std::min(neurons[i], all) : all);
    a.named[i] = (device.split(i) ? a.named[i] : 0) + neurons[i];
    a.heads[i] = heads[i] ? std::min<uint64_t>(heads[i], a.tokens * m.heads) : a.tokens * m.heads;
  }
}

}  // namespace hunch
