#include "prefill.h"

#include <algorithm>

namespace hunch::cuda {

namespace {

uint32_t tiles(uint32_t n, uint32_t each) { return (n + each - 1) / each; }

}  // namespace

std::unique_ptr<Prefill> Prefill::open(const DeviceModel& model, const SessionBuffers& b) {
  const ModelSpec& s = model.spec;
  std::unique_ptr<Prefill> p(new Prefill(model, b));
  const size_t most = p->most_ = std::min(kPrefillTokens, b.context), heads = (size_t)s.heads * s.head_width, all_heads = heads + 2 * (size_t)s.kv_heads * s.head_width;
  // Narrow models have few tiles: their sums are made in parts, so that two blocks fit on every multiprocessor. Not by how many tokens there are: a token's result
  // must not depend on its neighbours.
  p->parts_ = std::clamp(2 * model.memory.device().blocks / (tiles(s.width, kTileRows) * (kPrefillTokens / kTileTokens)), 1u, kMostParts);
  const char* what = "reading prompts";
  Memory& memory = p->memory_;
  p->x_ = memory.array<float>(most * s.width, what);
  p->branch_ = memory.array<float>(p->parts_ * most * s.width, what);
  p->halves_ = memory.array<uint16_t>(most * std::max({(size_t)s.width, heads, (size_t)s.ffn_width}), what);
  p->scale_ = memory.array<float>(most, what);
  p->qkv_ = memory.array<float>(most * all_heads, what);
  p->queries_ = memory.array<uint16_t>(most * heads, what);
  p->wide_ = memory.array<float>(most * std::max((size_t)s.ffn_width, 3 * (size_t)tiles(s.vocabulary, kScoreRows) + 1), what);
  return memory.status().ok() ? std::move(p) : nullptr;
}

template <class T>
void Prefill::launch(void* kernel, uint32_t x, uint32_t y, uint32_t z, uint32_t threads, uint32_t shared, T& arguments) {
  if (result_ != kSuccess) return;
  void* list[] = {&arguments};
  result_ = memory_.device().d.LaunchKernel(kernel, x, y, z, threads, 1, 1, shared, stream_, list, nullptr);
}

// halves_ = norm(x_), after the branch before has joined x_.
void Prefill::norm(const Norm& norm) {
  NormLaunch t{x_, pending_ ? branch_ : nullptr, parts_, pending_ ? *pending_ : Norm{}, norm, halves_, scale_, m_.spec.width, m_.spec.norm_epsilon};
  pending_ = nullptr;
  launch(memory_.device().prefill.norm, count_, 1, 1, kRowThreads, 0, t);
}

// out = epilogue(w · halves_)
void Prefill::multiply(const Matrix& w, bool turned, const float* scale, const float* bias, float* out, uint32_t out_stride, Epilogue epilogue, uint32_t parts) {
  MultiplyLaunch t{};
  t.w = w, t.x = halves_, t.scale = scale, t.bias = bias, t.out = out;
  t.tokens = count_, t.out_stride = out_stride;
  t.epilogue = epilogue, t.act = (Act)m_.spec.activation;
  launch(memory_.device().prefill.multiply[turned][(uint32_t)w.format], tiles(count_, kTileTokens), tiles(turned ? w.cols : w.rows, kTileRows), parts, kPrefillThreads,
         multiply_shared(w.format), t);
}
void Prefill::into_branch(const Matrix& w, bool turned, const float* scale, const float* bias, const Norm& after) {
  multiply(w, turned, scale, bias, branch_, m_.spec.width, Epilogue::store, parts_);
  pending_ = &after;
}

void Prefill::attention(uint32_t i, bool only_cache) {
  const ModelSpec& s = m_.spec;
  const DeviceLayer& l = m_.layers[i];
  const uint32_t hw = s.head_width, q_rows = s.heads * hw, kv_rows = s.kv_heads * hw, all = q_rows + 2 * kv_rows;
  const PrefillKernels& kernels = memory_.device().prefill;
  norm(l.attention_norm);
  const uint32_t from[3] = {0, q_rows, q_rows + kv_rows};
  for (uint32_t k = 0; k < l.attention_parts; k++) multiply(l.qkv[k], false, scale_, l.qkv_bias ? l.qkv_bias + from[k] : nullptr, qkv_ + from[k], all, Epilogue::store);

  TurnLaunch t{};
  const size_t cache = (size_t)i * s.kv_heads * b_.context * hw;
  t.qkv = qkv_, t.queries = queries_, t.keys = b_.keys + cache, t.values = b_.values + cache;
  t.q_norm = l.q_norm, t.k_norm = l.k_norm;
  if (m_.traits.rope != RopeStyle::none) t.cosine = l.windowed ? b_.window_cosine : b_.cosine, t.sine = l.windowed ? b_.window_sine : b_.sine;
  t.tokens = count_, t.position = position_, t.context = b_.context, t.heads = s.heads, t.kv_heads = s.kv_heads, t.head_width = hw;
  t.rope_width = s.rope_width, t.neox = m_.traits.rope == RopeStyle::neox;
  t.query_scale = query_scale(s), t.epsilon = s.norm_epsilon;
  launch(kernels.turn, count_, tiles(s.heads + 2 * s.kv_heads, kRowThreads / 32), 1, kRowThreads, 0, t);
  if (only_cache) return;

  AttendLaunch a{queries_, t.keys, t.values, halves_, count_, position_, b_.context, s.heads, s.kv_heads, hw, l.windowed ? s.window : 0};
  const uint32_t padded = padded_head(hw);
  launch(kernels.attend[padded / 128], tiles(count_ * (s.heads / s.kv_heads), kQueryRows), s.kv_heads, 1, kPrefillThreads, attend_shared(padded), a);
  // No scale: what is attended to lies within the values, which are f16.
  into_branch(l.o, false, nullptr, l.o_bias, l.post_attention_norm);
}

void Prefill::mlp(uint32_t i) {
  const ModelSpec& s = m_.spec;
  const DeviceLayer& l = m_.layers[i];
  norm(l.ffn_norm);
  const bool by_output = l.down.data != nullptr;
  multiply(by_output ? l.gate_up : l.first, false, scale_, l.up_bias, wide_, s.ffn_width, m_.traits.gated ? Epilogue::gate : Epilogue::activate);
  NormLaunch t{wide_, nullptr, 0, {}, {}, halves_, scale_, s.ffn_width, s.norm_epsilon};  // only into halves
  launch(memory_.device().prefill.norm, count_, 1, 1, kRowThreads, 0, t);
  into_branch(by_output ? l.down : l.down_rows, !by_output, scale_, l.down_bias, l.post_ffn_norm);
}

void Prefill::scores(const int32_t* targets, float* nll, uint8_t* greedy) {
  norm(m_.output_norm);
  const uint32_t parts = tiles(m_.output.rows, kScoreRows);
  const size_t each = (size_t)parts * count_;
  MultiplyLaunch t{};
  t.w = m_.output, t.x = halves_, t.scale = scale_, t.tokens = count_, t.epilogue = Epilogue::logits, t.targets = targets;
  t.best = wide_, t.sum = wide_ + each, t.best_id = reinterpret_cast<int32_t*>(wide_ + 2 * each), t.target = wide_ + 3 * each;
  launch(memory_.device().prefill.multiply[0][(uint32_t)t.w.format], tiles(count_, kTileTokens), tiles(t.w.rows, kTileRows), 1, kPrefillThreads, multiply_shared(t.w.format), t);
  ScoreLaunch s{t.best, t.sum, t.best_id, t.target, targets, nll, greedy, parts, count_};
  launch(memory_.device().prefill.score, count_, 1, 1, kRowThreads, 0, s);
}

Result Prefill::run(void* stream, const int32_t* tokens, uint32_t count, uint32_t position, float* nll, uint8_t* greedy) {
  stream_ = stream, count_ = count, position_ = position;
  pending_ = nullptr, result_ = kSuccess;
  EmbedLaunch t{m_.embedding, m_.positions, tokens, x_, m_.spec.width, position + m_.traits.position_offset, m_.traits.embedding_scale};
  launch(memory_.device().prefill.embed, count, 1, 1, kRowThreads, 0, t);
  for (uint32_t i = 0; i < m_.spec.layers; i++) {
    const bool end = !nll && i + 1 == m_.spec.layers;  // nobody reads what the last layer makes but its keys and values
    attention(i, end);
    if (!end) mlp(i);
  }
  if (nll) scores(tokens + 1, nll, greedy);
  return result_;
}

}  // namespace hunch::cuda
