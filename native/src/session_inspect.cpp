// What a session says about itself: capture of decode steps, edits, traces and the logit lens.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine_impl.h"

namespace hunch {

void Session::set_capture(const CaptureOptions& options) {
  std::lock_guard lock(impl_->plan_mutex);
  impl_->capture_options = options;
}

Status Session::set_edits(std::span<const Edit> list) {
  const ModelSpec& m = impl_->engine.model.spec;
  std::shared_ptr<Edits> next;
  if (!list.empty()) {
    next = std::make_shared<Edits>();
    next->neurons.resize(m.layers);
    next->heads.resize(m.layers);
  }
  for (const Edit& e : list) {
    const bool neuron = e.kind == Edit::Kind::neuron;
    const uint32_t count = neuron ? m.ffn_width : m.heads;
    if (e.layer >= m.layers || e.index >= count)
      return Status::error("bad-request", std::string("There is no ") + (neuron ? "neuron " : "head ") + std::to_string(e.index) + " in layer " +
                                              std::to_string(e.layer) + ": the model has " + std::to_string(m.layers) + " layers of " + std::to_string(count) + ".");
    if (!std::isfinite(e.value)) return Status::error("bad-request", "An edit's value is not a number.");
    std::vector<Edit>& of = (neuron ? next->neurons : next->heads)[e.layer];
    const auto at = std::lower_bound(of.begin(), of.end(), e.index, [](const Edit& x, uint32_t index) { return x.index < index; });
    if (at != of.end() && at->index == e.index) *at = e;
    else of.insert(at, e);
  }
  std::lock_guard lock(impl_->plan_mutex);
  impl_->current_edits = std::move(next);
  return Status::fine();
}

void Session::Impl::take_edits() {
  std::lock_guard lock(plan_mutex);
  if (edits == current_edits) return;
  edits = current_edits;
  history.clear();
}

bool Session::Impl::captures() const {
  std::lock_guard lock(plan_mutex);
  return capture_options.mode != CaptureMode::off;
}

Status Session::Impl::begin_capture(const CaptureOptions& options) try {
  if (!capture) {
    uint32_t part = 0;
    for (const Layer& l : engine.model.layers) part = std::max(part, l.rows.present() ? l.rows.part_neurons : 0);
    auto made = std::make_unique<Capture>();
    made->allocate(engine.model.spec, engine.pool.size(), part);
    capture = std::move(made);
  }
  capture->on = true;
  capture->full = options.mode == CaptureMode::full;
  capture->begin_step();
  capture->audit = options.audit_every && until_audit == 0;
  until_audit = options.audit_every ? (until_audit ? until_audit : options.audit_every) - 1 : 0;
  scratch.capture = capture.get();
  return Status::fine();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "Not enough memory to note down activations. Close the activation panel, or other programs.");
}

void Session::Impl::end_capture(int32_t id, double seconds) {
  capture->on = false;
  capture->microseconds = (float)(seconds * 1e6);
  std::lock_guard turn(engine.turn);
  const FrameHead head{engine.sequence++, (uint32_t)history.size() - 1, id};
  capture->sum_up();
  encode_summary(engine.model, *capture, head, frame);
  if (!capture->full) return;
  encode_record(engine.model, *capture, head, record);
  engine.ring.write(head.sequence, record);
}

Status Session::Impl::step(int32_t id, const Plan* plan, const std::atomic<bool>& cancel, bool& ran) {
  CaptureOptions options;
  {
    std::lock_guard lock(plan_mutex);
    options = capture_options;
  }
  frame.clear();
  if (options.mode != CaptureMode::off && !uses_gpu())  // a reply that began on the GPU ends there, and notes nothing down
    if (Status status = begin_capture(options); !status.ok()) return status;
  const auto begin = Clock::now();
  const uint64_t predicting = scratch.neurons[0].predictor_ns;
  ran = extend(std::span(&id, 1), plan, Logits::last, cancel);
  if (capture && capture->on) {
    const uint64_t now = scratch.neurons[0].predictor_ns;  // less than before where activity() took it in between
    capture->predictor_microseconds = (float)(now >= predicting ? now - predicting : now) * 1e-3f;
    if (ran) end_capture(id, ms_since(begin) * 1e-3);
    capture->on = false;
  }
  return Status::fine();
}

Status Session::trace(std::span<const int32_t> tokens, uint32_t from, const std::function<void(int32_t, std::span<const uint8_t>)>& token,
                      const std::atomic<bool>& cancel, std::vector<float>& nll) {
  Impl& s = *impl_;
  if (Status status = s.check(tokens); !status.ok()) return status;
  if (from == 0 || from >= tokens.size()) return Status::error("bad-request", "A trace needs a prompt of at least one token, and tokens after it.");
  const OnCpu cpu(s);
  s.take_edits();
  const auto stopped = [&] {
    Status failure = s.take_failure();
    return failure.ok() ? Status::error("cancelled", "The run was cancelled.") : failure;
  };
  const uint32_t vocabulary = s.engine.model.spec.vocabulary;
  const Kernels& k = *s.engine.model.kernels;
  s.history.clear();
  if (!s.extend(tokens.first(from), nullptr, Logits::last, cancel)) return stopped();
  s.frame.clear();
  s.uncorrected = 0;
  nll.clear();
  for (uint32_t i = from; i < tokens.size(); i++) {
    nll.push_back(surprise(k, s.scratch.logits.data(), vocabulary, tokens[i]));
    token(tokens[i], s.frame);
    if (i + 1 == tokens.size()) break;
    std::shared_ptr<const Plan> plan;
    bool ran = false;
    if (Status status = s.take_plan(plan); !status.ok()) return status;
    if (Status status = s.step(tokens[i], plan.get(), cancel, ran); !status.ok()) return status;
    if (!ran || !s.correct(plan.get(), cancel)) return stopped();
  }
  return Status::fine();
}

Status Session::lens(std::span<const int32_t> tokens, uint32_t top, Lens& out) {
  Impl& s = *impl_;
  const ModelSpec& m = s.engine.model.spec;
  if (Status status = s.check(tokens); !status.ok()) return status;
  top = std::min(top, m.vocabulary);
  if (top == 0 || top > 1000) return Status::error("bad-request", "A lens shows between 1 and 1000 tokens of each layer.");
  const OnCpu cpu(s);
  s.take_edits();
  const auto common = std::mismatch(tokens.begin(), tokens.end() - 1, s.history.begin(), s.history.end()).first - tokens.begin();
  s.history.resize((size_t)common);
  const auto before = tokens.subspan((size_t)common, tokens.size() - 1 - (size_t)common);
  if (!s.extend(before, nullptr, Logits::none, never)) return s.take_failure();
  std::vector<float> residuals((size_t)m.layers * m.width);
  s.scratch.residuals = residuals.data();
  const bool ran = s.extend(tokens.last(1), nullptr, Logits::none, never);
  s.scratch.residuals = nullptr;
  if (!ran) return s.take_failure();

  const Kernels& k = *s.engine.model.kernels;
  std::vector<int32_t> order(m.vocabulary);
  out.ids.clear(), out.probabilities.clear();
  for (uint32_t layer = 0; layer < m.layers; layer++) {
    std::lock_guard turn(s.engine.turn);
    output_logits(s.engine.model, s.engine.pool, s.kv, s.scratch, residuals.data() + (size_t)layer * m.width);
    const float* logits = s.scratch.logits.data();
    const float max = k.max_of(logits, m.vocabulary);
    const double sum = k.sum_exp(logits, m.vocabulary, max);
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + top, order.end(),
                      [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
    for (uint32_t i = 0; i < top; i++) {
      out.ids.push_back(order[i]);
      out.probabilities.push_back((float)(std::exp((double)logits[order[i]] - max) / sum));
    }
  }
  return Status::fine();
}

}  // namespace hunch
