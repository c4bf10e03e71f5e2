#include <chrono>
#include <new>

#include "engine_impl.h"

namespace hunch {

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;
const ModelInfo& Engine::info() const { return impl_->info; }

Residency Engine::residency() {
  const ModelSpec& m = impl_->model.spec;
  Residency r;
  r.gpu.assign(m.layers, 0);
  r.memory.assign(m.layers, m.ffn_width);
  r.disk.assign(m.layers, 0);
  r.gpu_bytes = impl_->info.gpu_bytes;
  r.memory_bytes = impl_->model.arena.size() - impl_->model.arena.left();
  if (impl_->model.store) impl_->model.store->report(impl_->pool.size(), r);
  for (uint32_t i = 0; impl_->gpu && i < m.layers; i++) {
    r.gpu[i] = i < impl_->gpu->placement.cpu_layers ? 0 : impl_->gpu->split(i) ? impl_->gpu->layers[i].hot : m.ffn_width;
    if (r.gpu[i] == m.ffn_width) r.memory[i] = r.disk[i] = 0;
    else r.memory[i] -= r.gpu[i];  // a model that is partly on disk has no such layer
  }
  return r;
}

static Status no_memory(const char* what) {
  return Status::error("out-of-memory", std::string("Not enough memory for ") + what +
                                            ". Close other programs, choose a smaller model or a shorter context.");
}

Status Engine::load(const ModelSpec& spec, const LoadOptions& options, std::shared_ptr<Engine>& out) try {
  const auto begin = std::chrono::steady_clock::now();
  const Isa isa = options.isa.value_or(supported_isas().front());
  const Kernels* kernels = kernels_for(isa);
  if (!kernels) return Status::error("bad-request", std::string("This CPU or build cannot run the ") + isa_name(isa) + " kernels.");
  if (options.threads > 256) return Status::error("bad-request", "threads must lie between 0 and 256.");

  auto impl = std::make_unique<Impl>(options.threads ? options.threads : physical_cores());
  if (Status s = load_model(spec, kernels, impl->pool, options, impl->model); !s.ok()) return s;
  impl->info = {isa, impl->pool.size(), impl->model.weight_bytes_per_token, impl->model.parameter_count, 0, {}, {}, 0};
  if (Status s = cuda::load_beside(spec, options, impl->model, impl->gpu, impl->info); !s.ok()) return s;
  impl->info.load_ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  out.reset(new Engine(std::move(impl)));
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory("the model");
} catch (const std::exception& e) {
  return Status::error("internal", std::string("Loading the model failed: ") + e.what());
}

Status Engine::new_session(uint32_t context, std::unique_ptr<Session>& out) try {
  if (context < 16 || context > (1u << 20)) return Status::error("bad-request", "The context length must lie between 16 and 1048576.");
  const ModelSpec& m = impl_->model.spec;
  if (impl_->model.positions.present() && context > m.trained_context)  // learned positions end there
    return Status::error("bad-request", "This model knows " + std::to_string(m.trained_context) + " positions; the context length may not exceed them.");
  auto s = std::make_unique<Session::Impl>(shared_from_this(), *impl_);
  if (!s->kv.allocate(m.layers, m.kv_heads, m.head_width, context)) return no_memory("the context");
  s->scratch.allocate(impl_->model, context, impl_->pool.size());
  s->scratch.screens = &impl_->screens;
  s->history.reserve(context);
  if (impl_->gpu) {
    const cuda::CpuParts parts{&impl_->model, &impl_->pool, &impl_->turn, &s->kv, &s->scratch, &impl_->predictors};
    if (Status status = cuda::DeviceSession::open(impl_->gpu, context, s->gpu, &parts); !status.ok()) return status;
  }
  out.reset(new Session(std::move(s)));
  return Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory("the context");
}

Status Engine::set_predictors(const Predictors& predictors) {
  auto packed = std::make_shared<PredictorSet>();
  if (Status s = pack_predictors(impl_->model, predictors, *packed); !s.ok()) return s;
  std::shared_ptr<const PredictorSet> other = std::move(packed);
  std::scoped_lock turns(impl_->gpu_turn, impl_->turn);
  std::swap(impl_->predictors, other);
  if (Status s = impl_->make_room(0); !s.ok()) {
    std::swap(impl_->predictors, other);
    return s;
  }
  if (impl_->gpu) return impl_->gpu->set_predictors(predictors);
  return Status::fine();
}

Status Engine::Impl::make_room(uint64_t more) {
  if (!model.store || model.store->leave((predictors ? predictors->bytes() : 0) + screens.bytes() + more)) return Status::fine();
  return Status::error("out-of-memory", "The memory budget has no room for the predictors and low-bit copies of this place of the slider. Choose a denser one, or allow more memory.");
}

Status Engine::predict(uint32_t layer, bool heads, std::span<const float> inputs, std::vector<float>& scores) {
  std::shared_ptr<const PredictorSet> set;
  {
    std::lock_guard turn(impl_->turn);
    set = impl_->predictors;
  }
  const uint32_t width = impl_->model.spec.width;
  const std::vector<Predictor>* list = set ? heads ? &set->heads : &set->mlp : nullptr;
  if (!list || layer >= list->size() || !(*list)[layer].present())
    return Status::error("bad-request", "Layer " + std::to_string(layer) + " has no predictor of its " + (heads ? "heads." : "neurons."));
  if (inputs.empty() || inputs.size() % width) return Status::error("bad-request", "A predictor takes rows of " + std::to_string(width) + " numbers.");
  const Predictor& p = (*list)[layer];
  const uint32_t n = (uint32_t)(inputs.size() / width);
  scores.resize((size_t)n * p.bias.size());
  predictor_scores(*impl_->model.kernels, p, inputs.data(), n, scores.data());
  return Status::fine();
}

Status Engine::set_ring(const std::string& path, uint64_t bytes) { return impl_->ring.open(path, bytes); }
bool Engine::record(uint32_t sequence, std::vector<uint8_t>& out) { return impl_->ring.read(sequence, out); }

}  // namespace hunch
