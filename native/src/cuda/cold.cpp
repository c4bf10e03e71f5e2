#include "cold.h"

#include <algorithm>
#include <new>

#include "lane.h"
#include "neuron_lane.h"
#include "program.h"

namespace hunch::cuda {

namespace {
constexpr int kSpins = 4000;         // some 0.1 ms, as long as a layer takes; then another process may have the core
}  // namespace

ColdSide::ColdSide(const CpuParts& parts, const DeviceModel& model, Memory& memory, HostShared& shared, volatile int32_t* progress, int32_t* tokens)
    : parts_(parts), model_(model), shared_(shared), progress_(progress), host_tokens_(tokens) {
  const ModelSpec& m = model.spec;
  DevicePointer at = 0;
  const auto floats = [&](size_t n, float*& here) {
    here = static_cast<float*>(memory.mapped(n * sizeof(float), at));
    return reinterpret_cast<float*>(at);
  };
  shared.posted[0] = floats(kMaxRank + 32, posted_[0]);
  shared.posted[1] = floats(m.width, posted_[1]);
  shared.answer = floats(m.width, answer_);
  void* flags = memory.mapped(sizeof(Flags) + 64, at);
  if (!memory.status().ok()) return;
  const size_t off = (64 - reinterpret_cast<uintptr_t>(flags) % 64) % 64;
  flags_ = new (static_cast<uint8_t*>(flags) + off) Flags{};
  const auto on_device = [&](const void* p) { return reinterpret_cast<uint32_t*>(at + (size_t)(static_cast<const uint8_t*>(p) - static_cast<uint8_t*>(flags))); };
  for (uint32_t i = 0; i < kPosts; i++) shared.asked[i] = on_device(&flags_->asked[i][0]);
  shared.answered = on_device(&flags_->answered), shared.late = on_device(&flags_->late);

  cold_.resize(m.layers);
  for (uint32_t i = 0; i < m.layers; i++) {
    if (!model.split(i)) continue;
    split_.push_back(i);
    const NeuronRows& r = parts.model->layers[i].rows;
    NeuronSubset& c = cold_[i];
    c.has.assign(r.neurons, 1);
    for (uint32_t n : model.placement.hot[i]) c.has[n] = 0;
    c.part_begin.assign(r.parts + 1, 0);
    for (const NeuronRows::Slice& slice : r.slices)
      for (uint32_t part = slice.parts.begin; part < slice.parts.end; part++) {
        c.part_begin[part] = (uint32_t)c.list.size();
        for (uint32_t n = r.neurons_of(part).begin; n < r.neurons_of(part).end; n++)
          if (c.has[n]) c.list.push_back(n - r.neurons_of(slice).begin);
      }
    c.part_begin[r.parts] = (uint32_t)c.list.size();
  }
  thread_ = std::thread([this] { work(); });
}

ColdSide::~ColdSide() {
  if (!thread_.joinable()) return;
  end();
  stopping_ = true;
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  thread_.join();
}

void ColdSide::begin(std::span<const int32_t> tokens, uint32_t position, const Plan* plan, uint32_t at_once) {
  if (turn_.owns_lock()) end();
  turn_ = std::unique_lock(*parts_.turn);
  parts_.scratch->predictors = parts_.predictors->get();
  parts_.scratch->edits = nullptr;
  parts_.scratch->counting = true;
  for (auto& line : flags_->asked) line[0] = 0;
  flags_->answered = flags_->late = 0;
  tokens_.assign(tokens.begin(), tokens.end());
  first_ = batch_ = batch_end_ = position, at_once_ = at_once;
  plan_ = plan ? std::optional<Plan>(*plan) : std::nullopt;
  routes_.assign(model_.spec.layers, {});
  const bool zeros = model_.spec.activation == Activation::relu || model_.spec.activation == Activation::drelu;
  for (uint32_t i : split_) {
    if (plan && i < plan->layers.size()) routes_[i] = plan->layers[i];
    routes_[i].mlp = mlp_route(model_, plan, i);
    // What is zero adds nothing: dense's bits without reading it.
    if (routes_[i].mlp == MlpRoute::dense && zeros) routes_[i] = {.mlp = MlpRoute::exact, .head_threshold = {}};
  }
  finished_ = 0;
  quit_.store(false, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

void ColdSide::end() {
  if (!turn_.owns_lock()) return;
  quit_.store(true, std::memory_order_release);
  const uint32_t round = round_.load(std::memory_order_relaxed);
  for (uint32_t idle; (idle = idle_.load(std::memory_order_acquire)) != round;) idle_.wait(idle, std::memory_order_acquire);
  turn_.unlock();
}

void ColdSide::work() {
  uint32_t seen = 0;
  for (;;) {
    uint32_t round;
    for (int spins = 0; (round = round_.load(std::memory_order_acquire)) == seen; spins++) {  // tokens that the host samples come one by one
      if (spins < kSpins) relax();
      else round_.wait(seen, std::memory_order_acquire);
    }
    seen = round;
    if (stopping_) return;
    serve();
    idle_.store(round, std::memory_order_release);
    idle_.notify_all();
  }
}

void ColdSide::serve() {
  bool more = true;
  for (uint32_t p = first_; more; p++) {
    if (model_.placement.cpu_layers && !run_layers(p)) return;
    if (split_.empty()) continue;
    parts_.pool->run([&](unsigned lane) {
      const bool all = run_turns(p, lane, parts_.pool->size());
      if (lane == 0) more = all;
    });
  }
}

int32_t ColdSide::reached() const { return std::atomic_ref<int32_t>(const_cast<int32_t&>(progress_[0])).load(std::memory_order_acquire); }

// The layers before the GPU's, of the token at this position; false: it will not come.
bool ColdSide::run_layers(uint32_t p) {
  const Model& m = *parts_.model;
  // The GPU has the answer before once it is through with that token; and then the next token is known.
  for (int spins = 0; reached() < (int32_t)p; spins++) {
    if (quit_.load(std::memory_order_acquire)) return false;
    if (spins < kSpins) relax();
    else std::this_thread::yield();
  }
  if (std::atomic_ref<int32_t>(const_cast<int32_t&>(progress_[1])).load(std::memory_order_acquire) || p >= parts_.kv->context()) return false;
  if (p == batch_end_) {
    const uint32_t known = first_ + (uint32_t)tokens_.size();
    const int32_t drawn = p < known ? 0 : host_tokens_[p];
    if (drawn < 0 || (uint32_t)drawn >= m.spec.vocabulary) return false;
    const auto ids = p < known ? std::span<const int32_t>(tokens_).subspan(p - first_, std::min(at_once_, known - p)) : std::span<const int32_t>(&drawn, 1);
    if (!forward(m, *parts_.pool, *parts_.kv, *parts_.scratch, ids, p, plan_ ? &*plan_ : nullptr, Logits::none, quit_, 0, model_.placement.cpu_layers)) return false;
    batch_ = p, batch_end_ = p + (uint32_t)ids.size();
    parts_.scratch->counting = true;
  }
  std::copy_n(parts_.scratch->x.data() + (size_t)(p - batch_) * m.spec.width, m.spec.width, answer_);
  flags_->answered.store(p * shared_.turns + 1, std::memory_order_release);
  return true;
}

bool ColdSide::posted(uint32_t as, uint32_t number) const {
  const std::atomic<uint32_t>& asked = flags_->asked[as][0];
  for (int spins = 0; asked.load(std::memory_order_acquire) != number; spins++) {
    // Looked at once more: what the GPU posted before it came to a halt is seen by every lane or by none.
    if (quit_.load(std::memory_order_acquire)) return asked.load(std::memory_order_acquire) == number;
    if (spins < kSpins) relax();
    else std::this_thread::yield();
  }
  return true;
}

// One lane's share of all layers of a token; false: the GPU asks for no more. All lanes come.
bool ColdSide::run_turns(uint32_t p, unsigned lane, unsigned lanes) {
  const Model& m = *parts_.model;
  Scratch& s = *parts_.scratch;
  Lane w{m, *m.kernels, *parts_.pool, *parts_.kv, s, nullptr, 1, p, lane, lanes};
  s.neurons[lane].early_layer[0] = s.neurons[lane].early_layer[1] = ~0u;
  uint32_t number = p * shared_.turns + (model_.placement.cpu_layers > 0);
  for (uint32_t i : split_) {
    number++;
    const Layer& l = m.layers[i];
    const LayerPlan& plan = routes_[i];
    const Predictor* predictor = plan.mlp == MlpRoute::predicted ? &s.predictors->mlp[i] : nullptr;
    if (predictor && predictor->source != PredictorSource::same) {
      if (!posted(0, number)) return false;
      score_ahead(w, i, *predictor, plan.score_threshold, posted_[0], &cold_[i], true);
    }
    if (!posted(1, number)) return false;
    NeuronLane neurons{w, l, l.rows, plan, nullptr, predictor, s.neurons[lane], w.prepare(posted_[1], m.spec.width, &l.ffn_norm), i, 0, 1};
    neurons.only = &cold_[i];
    neurons.run();
    parts_.pool->barrier();
    // This lane's places: the parts in their order. The GPU adds the biases.
    const uint32_t places = (uint32_t)l.rows.columns.size();
    const Range blocks = w.share_of((places + 15) / 16);
    const uint32_t begin = blocks.begin * 16, count = std::min(blocks.end * 16, places) - std::min(begin, places);
    float* sum = s.lane[lane].f.data();
    std::copy_n(s.parts.data() + begin, count, sum);
    for (uint32_t part = 1; part < l.rows.parts; part++) w.k.add(sum, s.parts.data() + (size_t)part * places + begin, count);
    for (uint32_t c = 0; c < count; c++)
      if (l.rows.columns[begin + c] < m.spec.width) answer_[l.rows.columns[begin + c]] = sum[c];
    if ((finished_.fetch_add(1, std::memory_order_acq_rel) + 1) % lanes == 0) flags_->answered.store(number, std::memory_order_release);
  }
  return true;
}

}  // namespace hunch::cuda
