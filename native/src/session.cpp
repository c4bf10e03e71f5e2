#include <algorithm>
#include <chrono>
#include <utility>

#include "engine_impl.h"

namespace hunch {

static bool corrects(const Plan* plan) { return plan && plan->correct_every > 0; }
// As decode steps are corrected: a text is scored in pieces of as many tokens, each then written again.
static size_t batch_size(const Plan* plan) { return corrects(plan) ? std::min(kBatch, plan->correct_every) : kBatch; }

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Status Session::Impl::check(std::span<const int32_t> tokens) const {
  const uint32_t vocabulary = engine.model.spec.vocabulary;
  if (tokens.empty()) return Status::error("bad-request", "There is nothing to run: the prompt has no tokens.");
  for (int32_t id : tokens)
    if (id < 0 || (uint32_t)id >= vocabulary)
      return Status::error("bad-request", "Token " + std::to_string(id) + " is not in the model's vocabulary of " + std::to_string(vocabulary) + ".");
  if (tokens.size() > kv.context())
    return Status::error("context-overflow", "The prompt has " + std::to_string(tokens.size()) + " tokens; the context holds " +
                                                 std::to_string(kv.context()) + ". Shorten it, start a new chat or raise the context length.");
  return Status::fine();
}

Status Session::Impl::check(const Plan& p) const {
  const Model& m = engine.model;
  if (p.vocabulary_bits != 0 && p.vocabulary_bits != 2 && p.vocabulary_bits != 4)
    return Status::error("bad-request", "A copy of the output head has 2 or 4 bits, not " + std::to_string(p.vocabulary_bits) + ".");
  if (!(p.vocabulary_margin >= 0)) return Status::error("bad-request", "The vocabulary margin is negative or not a number.");
  if (p.layers.size() != m.spec.layers)
    return Status::error("bad-request", "The plan has " + std::to_string(p.layers.size()) + " layers, the model " + std::to_string(m.spec.layers) + ".");
  for (size_t i = 0; i < p.layers.size(); i++) {
    const LayerPlan& l = p.layers[i];
    if (!(l.gate_threshold >= 0)) return Status::error("bad-request", "The gate threshold of layer " + std::to_string(i) + " is negative or not a number.");
    if (l.mlp != MlpRoute::dense && !m.layers[i].rows.present())
      return Status::error("bad-request", "Layer " + std::to_string(i) + " cannot skip neurons: the model was loaded without its neurons apart.");
  }
  return Status::fine();
}

Status Session::Impl::take_plan(std::shared_ptr<const Plan>& out) {
  {
    std::lock_guard lock(plan_mutex);
    out = current_plan;
  }
  return make_ready(out);
}

Status Session::Impl::make_ready(const std::shared_ptr<const Plan>& plan) {
  if (plan == ready_plan || !plan) return Status::fine();
  std::lock_guard turn(engine.turn);
  // Room is made before it is taken, where the copies are not there already.
  const uint64_t copies = screens_bytes(engine.model, *plan), have = engine.screens.bytes();
  if (Status s = engine.make_room(copies > have ? copies - have : 0); !s.ok()) return s;
  Status status = make_screens(engine.model, engine.pool, *plan, engine.screens);
  if (status.ok()) status = engine.make_room(0);
  if (status.ok()) ready_plan = plan;
  return status;
}

bool Session::Impl::correct(const Plan* plan, const std::atomic<bool>& cancel) {
  if (!plan || !plan->correct_every) {
    uncorrected = 0;
    return true;
  }
  if (++uncorrected < plan->correct_every) return true;
  const std::vector<int32_t> last(history.end() - std::min<ptrdiff_t>(uncorrected, (ptrdiff_t)history.size()), history.end());
  history.resize(history.size() - last.size());
  uncorrected = 0;
  return extend(last, nullptr, Logits::last, cancel);
}

Plan Session::Impl::lossless_plan() const {
  Plan plan;
  const ModelSpec& m = engine.model.spec;
  const bool zeros = m.activation == Activation::relu || m.activation == Activation::drelu;
  for (const Layer& l : engine.model.layers) plan.layers.push_back({.mlp = zeros && l.rows.present() ? MlpRoute::exact : MlpRoute::dense, .head_threshold = {}});
  return plan;
}

std::vector<int32_t> Session::Impl::draft(int32_t id, uint32_t most, const Plan* plan, Sampler& greedy, const std::atomic<bool>& cancel) {
  std::vector<int32_t> drafts;
  const size_t kept = history.size();
  for (uint32_t i = 0; i < most && id >= 0; i++) {
    if (!extend(std::span(&id, 1), plan, Logits::last, cancel)) break;
    id = greedy.draw(std::span(scratch.logits.data(), engine.model.spec.vocabulary), history);
    if (id >= 0) drafts.push_back(id);
  }
  history.resize(kept);
  return drafts;
}

bool Session::Impl::verify(int32_t id, std::span<const int32_t> drafts, const Plan* lossless, const std::atomic<bool>& cancel) {
  std::vector<int32_t> batch{id};
  batch.insert(batch.end(), drafts.begin(), drafts.end());
  const size_t kept = history.size();
  if (!extend(batch, lossless, batch.size() > 1 ? Logits::all : Logits::last, cancel)) return false;
  history.resize(kept + 1);
  return true;
}
void Session::Impl::set_plan(std::shared_ptr<const Plan> next) {
  std::lock_guard lock(plan_mutex);
  current_plan = std::move(next);
}

Status Session::set_plan(const Plan* plan) {
  if (plan)
    if (Status s = impl_->check(*plan); !s.ok()) return s;
  impl_->set_plan(plan ? std::make_shared<const Plan>(*plan) : nullptr);
  return Status::fine();
}

bool Session::Impl::pass(std::span<const int32_t> tokens, uint32_t position, const Plan* plan, Logits logits, const std::atomic<bool>& cancel, unsigned active) {
  equip();
  const bool ran = forward(engine.model, engine.pool, kv, scratch, tokens, position, plan, logits, cancel, active);
  if (!ran && engine.model.store) failure = engine.model.store->take_failure();
  return ran;
}

bool Session::Impl::extend(std::span<const int32_t> tokens, const Plan* plan, Logits logits, const std::atomic<bool>& cancel,
                           const std::function<void(uint32_t)>& progress) {
  if (uses_gpu()) return extend_on_gpu(tokens, plan, logits, cancel, progress);
  for (uint32_t done = 0; done < tokens.size();) {
    const auto batch = tokens.subspan(done, std::min<size_t>(kBatch, tokens.size() - done));
    const bool last = done + batch.size() == tokens.size();
    {
      std::lock_guard turn(engine.turn);
      const auto begin = Clock::now();
      const bool decoding = tokens.size() == 1;
      const bool governed = decoding && !engine.model.store;  // lanes that wait for a disk are not short of cores
      if (!pass(batch, (uint32_t)history.size(), plan, last ? logits : Logits::none, cancel, governed ? engine.governor.active() : 0)) return false;
      if (governed) engine.governor.finished(ms_since(begin) * 1e-3, engine.pool.starved_seconds());
      if (decoding) {
        counted.tokens++;
        counted.seconds += ms_since(begin) * 1e-3;
      }
    }
    history.insert(history.end(), batch.begin(), batch.end());
    done += (uint32_t)batch.size();
    if (progress) progress(done);
  }
  return true;
}

Status Session::generate(std::span<const int32_t> prompt, const GenerateOptions& o, const GenerateEvents& events,
                         const std::atomic<bool>& cancel, GenerateResult& result) {
  Impl& s = *impl_;
  if (Status status = s.check(prompt); !status.ok()) return status;
  const auto begin = Clock::now();
  s.take_edits();
  const OnCpu cpu(s, s.edits != nullptr || s.captures());

  // At least the prompt's last token runs: its logits are what we sample from.
  const auto common = std::mismatch(prompt.begin(), prompt.end() - 1, s.history.begin(), s.history.end()).first - prompt.begin();
  s.history.resize((size_t)common);
  result = {};
  result.prompt_tokens = (uint32_t)prompt.size();
  result.cached_tokens = (uint32_t)common;
  const uint32_t to_run = (uint32_t)(prompt.size() - common);
  const auto progress = [&](uint32_t done) {
    if (events.prefill) events.prefill(done, to_run);
  };
  if (!s.extend(prompt.subspan((size_t)common), nullptr, Logits::last, cancel, progress)) {
    result.reason = StopReason::cancelled;
    result.prefill_ms = ms_since(begin);
    return s.take_failure();
  }
  // What the first step will need made is no part of decoding.
  std::shared_ptr<const Plan> plan;
  if (!o.speculate || s.uses_gpu())
    if (Status status = s.take_plan(plan); !status.ok()) return status;
  s.frame.clear();
  result.prefill_ms = ms_since(begin);

  const auto decoding = Clock::now();
  const uint32_t vocabulary = s.engine.model.spec.vocabulary;
  Sampler sampler(o, *s.engine.model.kernels);
  GenerateOptions greedy_options = o;
  greedy_options.temperature = 0;
  Sampler greedy(greedy_options, *s.engine.model.kernels);
  Drafting& drafting = s.drafting;
  const Plan lossless = s.lossless_plan();
  if (o.draft) {
    if (Status status = s.check(*o.draft); !status.ok()) return status;
    if (Status status = s.make_ready(o.draft); !status.ok()) return status;
  }
  // The tokens that were run with the last one but are not part of the text yet, and where among them we are: row i of the logits follows the
  // first i of them.
  std::vector<int32_t> drafts;
  size_t row = 0;
  bool phrase = false;
  double verifying = 0;
  s.uncorrected = 0;
  result.reason = StopReason::max_tokens;
  while (result.generated_tokens < o.max_tokens) {
    if (cancel) {
      result.reason = StopReason::cancelled;
      break;
    }
    const int32_t id = sampler.draw(std::span(s.scratch.logits.data() + row * vocabulary, vocabulary), s.history);
    if (id < 0) return Status::error("model-invalid", "The model's output is not a number. The file is probably damaged: download it again.");
    if (std::find(o.stop_tokens.begin(), o.stop_tokens.end(), id) != o.stop_tokens.end()) {
      result.reason = StopReason::stop_token;
      break;
    }
    result.generated_tokens++;
    if (events.token) events.token(id, s.frame);
    if (result.generated_tokens == o.max_tokens) break;
    if (s.history.size() == s.kv.context()) {
      result.reason = StopReason::context_full;
      break;
    }
    if (row < drafts.size() && drafts[row] == id) {  // it has run already
      s.history.push_back(id);
      s.frame.clear();
      row++;
      result.accepted_tokens++;
      continue;
    }
    if (!drafts.empty()) drafting.verified(phrase, (uint32_t)drafts.size(), (uint32_t)row, verifying);
    drafts.clear();
    row = 0;
    bool ran = false;
    if (o.speculate && !s.uses_gpu()) {
      s.frame.clear();
      const uint32_t room = (uint32_t)std::min<size_t>({Drafting::kMost, s.kv.context() - s.history.size() - 1, (size_t)(o.max_tokens - result.generated_tokens)});
      s.history.push_back(id);
      drafts = repeated_phrase(s.history, room);
      s.history.pop_back();
      phrase = !drafts.empty();
      const uint32_t length = phrase || o.draft ? std::min(room, drafting.length(phrase)) : 0;
      if (phrase) drafts.resize(std::min<size_t>(drafts.size(), length));
      else if (length) {
        const auto started = Clock::now();
        drafts = s.draft(id, length, o.draft.get(), greedy, cancel);
        drafting.drafted(length, ms_since(started));
        if (!s.failure.ok()) return s.take_failure();
      }
      result.drafted_tokens += (uint32_t)drafts.size();
      const auto started = Clock::now();
      ran = s.verify(id, drafts, &lossless, cancel);
      verifying = ms_since(started);
      if (drafts.empty()) drafting.stepped(verifying);
    } else {
      if (Status status = s.take_plan(plan); !status.ok()) return status;
      if (s.uses_gpu() && o.temperature <= 0 && o.repeat_penalty == 1 && !corrects(plan.get())) {
        bool again = true;
        for (int32_t next = id; again; next = s.last_drawn) {
          if (Status status = s.take_plan(plan); !status.ok()) return status;
          if (Status status = s.decode_on_gpu(next, plan.get(), o, events, cancel, result, again); !status.ok()) return status;
        }
        break;
      }
      if (Status status = s.step(id, plan.get(), cancel, ran); !status.ok()) return status;
      ran = ran && s.correct(plan.get(), cancel);
    }
    if (!ran) {
      if (Status status = s.take_failure(); !status.ok()) return status;
      result.reason = StopReason::cancelled;
      break;
    }
  }
  result.decode_ms = ms_since(decoding);
  return Status::fine();
}

Status Session::score(std::span<const int32_t> tokens, uint32_t from, std::vector<float>& nll, std::vector<uint8_t>* greedy) {
  Impl& s = *impl_;
  if (Status status = s.check(tokens); !status.ok()) return status;
  if ((size_t)from + 1 >= tokens.size()) return Status::error("bad-request", "There is nothing to score: `from` lies at or past the last token but one.");
  nll.assign(tokens.size() - 1 - from, 0);
  if (greedy) greedy->assign(nll.size(), 0);
  s.take_edits();
  const OnCpu cpu(s, s.edits != nullptr);
  // From position `from` on the residual stream is needed, so those positions run whatever the cache holds.
  const auto common = std::mismatch(tokens.begin(), tokens.begin() + from, s.history.begin(), s.history.end()).first - tokens.begin();
  s.history.resize((size_t)common);
  std::shared_ptr<const Plan> plan;
  if (Status status = s.take_plan(plan); !status.ok()) return status;
  if (s.uses_gpu()) return s.score_on_gpu(tokens, from, plan.get(), nll.data(), greedy ? greedy->data() : nullptr);
  for (uint32_t at = (uint32_t)common; at + 1 < tokens.size();) {
    const auto batch = tokens.subspan(at, std::min<size_t>(batch_size(plan.get()), tokens.size() - 1 - at));
    std::lock_guard turn(s.engine.turn);
    if (!s.pass(batch, at, plan.get(), Logits::none, never)) return s.take_failure();
    const uint32_t first = std::max(at, from), end = at + (uint32_t)batch.size();
    if (first < end)
      score_batch(s.engine.model, s.engine.pool, s.kv, s.scratch, plan.get(), first - at, tokens.subspan(first + 1, end - first), nll.data() + (first - from),
                  greedy ? greedy->data() + (first - from) : nullptr);
    if (corrects(plan.get()) && !s.pass(batch, at, nullptr, Logits::none, never)) return s.take_failure();
    s.history.insert(s.history.end(), batch.begin(), batch.end());
    at = end;
  }
  return Status::fine();
}

Status Session::compare(Session& other, const Plan* reference, std::span<const int32_t> tokens, uint32_t from, Comparison& out) {
  Impl &s = *impl_, &o = *other.impl_;
  if (&s == &o || &s.engine != &o.engine) return Status::error("bad-request", "Two different sessions of one model are compared, not these.");
  if (Status status = s.check(tokens); !status.ok()) return status;
  if (tokens.size() > o.kv.context()) return Status::error("context-overflow", "The other session's context is too short for these tokens.");
  if ((size_t)from + 1 >= tokens.size()) return Status::error("bad-request", "There is nothing to score: `from` lies at or past the last token but one.");
  if (Status status = other.set_plan(reference); !status.ok()) return status;
  std::shared_ptr<const Plan> plan, other_plan;
  if (Status status = s.take_plan(plan); !status.ok()) return status;
  if (Status status = o.take_plan(other_plan); !status.ok()) return status;
  out = {};
  const OnCpu cpu(s), other_cpu(o);
  s.take_edits();
  o.take_edits();
  s.history.clear();
  o.history.clear();
  for (uint32_t at = 0; at + 1 < tokens.size();) {
    const auto batch = tokens.subspan(at, std::min({batch_size(plan.get()), batch_size(other_plan.get()), tokens.size() - 1 - at}));
    std::lock_guard turn(s.engine.turn);
    if (!s.pass(batch, at, plan.get(), Logits::none, never)) return s.take_failure();
    if (!o.pass(batch, at, other_plan.get(), Logits::none, never)) return o.take_failure();
    const uint32_t first = std::max(at, from), end = at + (uint32_t)batch.size();
    if (first < end)
      compare_batch(s.engine.model, s.engine.pool, s.kv, s.scratch, plan.get(), o.scratch, other_plan.get(), first - at, tokens.subspan(first + 1, end - first), out);
    if (corrects(plan.get()) && !s.pass(batch, at, nullptr, Logits::none, never)) return s.take_failure();
    if (corrects(other_plan.get()) && !o.pass(batch, at, nullptr, Logits::none, never)) return o.take_failure();
    s.history.insert(s.history.end(), batch.begin(), batch.end());
    o.history.insert(o.history.end(), batch.begin(), batch.end());
    at = end;
  }
  return Status::fine();
}

Activity Session::activity() {
  Impl& s = *impl_;
  const uint32_t layers = s.engine.model.spec.layers;
  std::lock_guard turn(s.engine.turn);
  Activity a = std::exchange(s.counted, {});
  a.computed.assign(layers, 0), a.named.assign(layers, 0), a.heads.assign(layers, 0);
  a.bytes = a.tokens * s.engine.model.always_bytes;
  for (HeadScratch& h : s.scratch.heads)
    for (uint32_t i = 0; i < h.computed.size(); i++) a.heads[i] += std::exchange(h.computed[i], 0);
  for (NeuronScratch& n : s.scratch.neurons) {
    for (uint32_t i = 0; i < n.computed.size(); i++) a.computed[i] += std::exchange(n.computed[i], 0), a.named[i] += std::exchange(n.named[i], 0);
    a.bytes += std::exchange(n.bytes, 0);
    a.predictor_seconds = std::max(a.predictor_seconds, (double)std::exchange(n.predictor_ns, 0) * 1e-9);
  }
  if (s.gpu) s.add_gpu_counts(a);
  return a;
}

Status Session::logits(std::span<const int32_t> tokens, std::vector<float>& out) {
  Impl& s = *impl_;
  if (Status status = s.check(tokens); !status.ok()) return status;
  std::shared_ptr<const Plan> plan;
  if (Status status = s.take_plan(plan); !status.ok()) return status;
  s.take_edits();
  const OnCpu cpu(s, s.edits != nullptr);
  s.history.clear();
  if (!s.extend(tokens, plan.get(), Logits::last, never)) return s.take_failure();
  out.assign(s.scratch.logits.begin(), s.scratch.logits.begin() + s.engine.model.spec.vocabulary);
  return Status::fine();
}

Status Session::bench(uint32_t prompt_tokens, uint32_t decode_tokens, double& prefill_ms, double& decode_ms, uint32_t depth,
                      std::span<const int32_t> text) {
  Impl& s = *impl_;
  const uint64_t n = (uint64_t)depth + prompt_tokens + decode_tokens;
  if (n == 0 || n > s.kv.context())
    return Status::error("bad-request", "A benchmark of " + std::to_string(n) + " tokens does not fit the context of " + std::to_string(s.kv.context()) + ".");
  std::vector<int32_t> ids(n);
  for (size_t i = 0; i < n; i++) ids[i] = text.empty() ? (int32_t)((uint64_t)(i + 1) * 7919 % s.engine.model.spec.vocabulary) : text[i % text.size()];
  if (Status status = s.check(ids); !status.ok()) return status;
  s.take_edits();
  const auto common = std::mismatch(ids.begin(), ids.begin() + depth, s.history.begin(), s.history.end()).first - ids.begin();
  std::shared_ptr<const Plan> plan;
  if (Status status = s.take_plan(plan); !status.ok()) return status;
  s.history.resize((size_t)common);
  if (!s.extend(std::span(ids).first(depth).subspan((size_t)common), nullptr, Logits::none, never)) return s.take_failure();
  auto begin = Clock::now();
  if (!s.extend(std::span(ids).subspan(depth, prompt_tokens), nullptr, Logits::last, never)) return s.take_failure();
  prefill_ms = ms_since(begin);
  begin = Clock::now();
  s.uncorrected = 0;
  if (s.uses_gpu() && decode_tokens > 0 && !corrects(plan.get())) return s.time_on_gpu(std::span(ids).subspan(depth + prompt_tokens), plan.get(), decode_ms);
  for (size_t i = depth + prompt_tokens; i < n; i++) {
    if (!s.extend(std::span(&ids[i], 1), plan.get(), Logits::last, never) || !s.correct(plan.get(), never)) return s.take_failure();
  }
  decode_ms = ms_since(begin);
  return Status::fine();
}

}  // namespace hunch
