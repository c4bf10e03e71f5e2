// The stages of the forward pass as one lane does them; forward.cpp says in which order.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

#include "forward.h"

namespace hunch {

inline void normalise(const Model& model, const Norm& norm, const float* x, uint32_t n, float* out) {
  const Kernels& k = *model.kernels;
  if (norm.bias.empty()) k.rms_norm(x, norm.weight.data(), n, model.spec.norm_epsilon, out);
  else k.layer_norm(x, norm.weight.data(), norm.bias.data(), n, model.spec.norm_epsilon, out);
}

struct Lane {
  const Model& model;
  const Kernels& k;
  Pool& pool;
  KvCache& kv;
  Scratch& s;
  const Plan* plan;  // null = dense
  const uint32_t tokens, position;
  const unsigned lane, lanes;

  // With fewer active lanes than the weights were divided for, a lane takes the slices of its absent neighbours too.
  template <class F>
  void each_slice(const PackedMatrix& m, F&& f) {
    const Range mine = share((uint32_t)m.slices.size(), lane, lanes);
    for (uint32_t i = mine.begin; i < mine.end; i++)
      if (m.slices[i].begin < m.slices[i].end) f(m.slices[i], i);
  }
  Range share_of(uint32_t n) const { return share(n, lane, lanes); }

  Capture* capture() const { return s.capture && s.capture->on && tokens == 1 ? s.capture : nullptr; }
  // At the end of layer `done` - 1, which is the start of the next one.
  void mark_layer(uint32_t done) {
    if (s.residuals && lane == 0 && done) std::copy_n(s.x.data(), model.spec.width, s.residuals + (size_t)(done - 1) * model.spec.width);
    Capture* c = capture();
    if (!c) return;
    c->lanes[lane].bytes[done] = s.neurons[lane].bytes;
    if (done) c->end_layer(lane, done - 1);
    if (lane) return;
    const auto now = std::chrono::steady_clock::now();
    if (done) c->layers[done - 1].microseconds = std::chrono::duration<float, std::micro>(now - marked).count();
    marked = now;
  }
  std::chrono::steady_clock::time_point marked{};
  void note_plan(uint32_t layer, const LayerPlan& p) {
    Capture* c = capture();
    if (!c || lane) return;
    LayerNotes& n = c->layers[layer];
    n.route = p.mlp;
    n.gate_threshold = p.gate_threshold;
    n.score_threshold = p.score_threshold;
    n.heads_predicted = n.names = n.gates_known = false;
    const HeadScratch& h = s.heads[lane];
    const std::vector<uint8_t>& kept = h.silenced.empty() ? h.mask : h.silenced;
    n.heads_predicted = !kept.empty();
    uint8_t* flags = c->head_flags.data() + (size_t)layer * model.spec.heads;
    for (uint32_t i = 0; i < model.spec.heads; i++) flags[i] = kept.empty() ? kHeadComputed : kept[i] ? kHeadNamed | kHeadComputed : 0;
  }
  void finish_capture() {
    if (Capture* c = capture()) c->lanes[lane].bytes.back() = s.neurons[lane].bytes;
  }

  // Normalises (norm != null) and quantises [tokens][cols]. With one token every lane makes its own copy, which is cheaper than a barrier;
  // with more they divide the tokens.
  Activations prepare(const float* in, uint32_t cols, const Norm* norm) {
    ActivationBuffer& to = tokens == 1 ? s.lane[lane] : s.batch;
    const Range mine = tokens == 1 ? Range{0, 1} : share_of(tokens);
    for (uint32_t t = mine.begin; t < mine.end; t++) {
      const float* row = in + (size_t)t * cols;
      if (norm) {
        float* f = to.f.data() + (size_t)t * cols;
        normalise(model, *norm, row, cols, f);
        row = f;
      }
      quantize(row, to, t, cols);
    }
    if (tokens > 1) pool.barrier();
    Activations a = to.view();
    if (!norm) a.f = in;
    return a;
  }
  void quantize(const float* row, ActivationBuffer& b, uint32_t t, uint32_t cols) {
    if (cols % kQuantBlock) return;  // only float matrices have such widths
    const size_t at = (size_t)t * cols;
    k.quantize(row, cols, b.q.data() + at, b.d.data() + at / kQuantBlock, b.sum.data() + at / kQuantBlock * 2);
  }

  // Copies this lane's tokens of `from` [tokens][n] to the tap's [layer].
  void listen(std::vector<float>& to, uint32_t layer, const float* from, uint32_t n) const {
    const Range mine = share_of(tokens);
    for (uint32_t t = mine.begin; t < mine.end; t++) std::copy_n(from + (size_t)t * n, n, to.data() + ((size_t)layer * s.tap->tokens + t) * n);
  }
  void listen_to_heads(uint32_t layer, const float* attention) const {
    const uint32_t heads = model.spec.heads, hw = model.spec.head_width;
    const Range mine = share_of(tokens);
    for (uint32_t t = mine.begin; t < mine.end; t++)
      for (uint32_t h = 0; h < heads; h++) s.tap->heads[((size_t)layer * s.tap->tokens + t) * heads + h] = norm_of(attention + ((size_t)t * heads + h) * hw, hw);
  }

  // out[:, rows of groups [begin, end) of the slice] (+)= W x
  void multiply(const PackedMatrix& m, const Slice& slice, uint32_t begin, uint32_t end, const Activations& x, float* out, size_t stride, bool add,
                std::span<const uint32_t> blocks = {}) {
    k.matmul[(int)m.type]({slice.group(begin), slice.stride, end - begin, m.rows - begin * kLanes, m.cols, x, tokens,
                           out + (size_t)begin * kLanes, stride, add, blocks.empty() ? nullptr : blocks.data(), (uint32_t)blocks.size()});
  }
  void multiply(const PackedMatrix& m, const Activations& x, float* out, size_t stride) {
    each_slice(m, [&](const Slice& slice, uint32_t) { multiply(m, slice, slice.begin, slice.end, x, out, stride, false); });
  }

  // s.logits [tokens][vocabulary] of the rows x [tokens][width] of the residual stream, up to kLogitTile of them. Where the plan says so, from a
  // low-bit copy, of which what comes near the best is computed again.
  void output(const float* x) {
    const uint32_t vocabulary = model.spec.vocabulary;
    const Activations a = prepare(x, model.spec.width, &model.output_norm);
    if (s.tap) listen(s.tap->output_in, 0, a.f, model.spec.width);
    const Screen* screen = plan && plan->vocabulary_bits ? &s.screens->head[plan->vocabulary_bits] : nullptr;
    if (!screen || !screen->present()) {
      multiply(model.output, a, s.logits.data(), vocabulary);
      if (s.counting && lane == 0) s.neurons[lane].bytes += model.output.bytes();
      return;
    }
    const Range mine = share((uint32_t)screen->slices.size(), lane, lanes);
    float* best = s.best.data() + (size_t)lane * kLogitTile;
    std::fill_n(best, tokens, -INFINITY);
    const auto each = [&](auto&& f) {
      for (uint32_t i = mine.begin; i < mine.end; i++)
        if (screen->slices[i].begin < screen->slices[i].end) f(i, screen->slices[i].begin * kLanes, std::min(screen->slices[i].end * kLanes, vocabulary));
    };
    const Activations ranked = rank_input(*screen, a.f, tokens);
    if (s.counting && lane == 0) s.neurons[lane].bytes += screen->bytes();
    each([&](uint32_t i, uint32_t begin, uint32_t end) {
      rank(*screen, i, screen->slices[i].begin, screen->slices[i].end, ranked, tokens, s.logits.data() + begin, vocabulary);
      for (uint32_t t = 0; t < tokens; t++) best[t] = std::max(best[t], k.max_of(s.logits.data() + (size_t)t * vocabulary + begin, end - begin));
    });
    pool.barrier();
    for (uint32_t t = 0; t < tokens; t++) {
      float highest = -INFINITY;
      for (unsigned l = 0; l < lanes; l++) highest = std::max(highest, s.best[(size_t)l * kLogitTile + t]);
      const Activations one{a.f + (size_t)t * screen->cols, a.q + (size_t)t * screen->cols, a.d + (size_t)t * screen->cols / kQuantBlock, a.sum + (size_t)t * screen->cols / kQuantBlock * 2};
      float* row = s.logits.data() + (size_t)t * vocabulary;
      each([&](uint32_t i, uint32_t begin, uint32_t end) {
        uint32_t* list = s.neurons[lane].candidates.data();
        const uint32_t count = k.select(row + begin, end - begin, highest - plan->vocabulary_margin, false, 0, list);
        const Slice& slice = model.output.slices[i];
        for (uint32_t c = 0, last = ~0u; c < count; c++) {
          const uint32_t group = (begin + list[c]) / kLanes;
          if (group == last) continue;
          last = group;
          k.matmul[(int)model.output.type]({slice.group(group), slice.stride, 1, vocabulary - group * kLanes, screen->cols, one, 1, row + group * kLanes, vocabulary, false});
          if (s.counting) s.neurons[lane].bytes += model.output.group_bytes;
        }
      });
    }
  }
  // The inputs x [n][cols] of a low-bit copy, in its order of columns: each part quantised for itself, so that great values do not coarsen small ones.
  Activations rank_input(const Screen& screen, const float* x, uint32_t n) {
    ActivationBuffer& to = s.ranked[lane];
    for (uint32_t t = 0; t < n; t++) {
      float* f = to.f.data() + (size_t)t * screen.cols;
      for (uint32_t c = 0; c < screen.cols; c++) f[c] = x[(size_t)t * screen.cols + screen.order[c]];
    }
    // [n][wide], then [n][cols - wide]: each part is a matrix of its own.
    const uint32_t narrow = screen.cols - screen.wide;
    const auto part = [&](uint32_t t, uint32_t from, uint32_t cols, size_t at) {
      k.quantize(to.f.data() + (size_t)t * screen.cols + from, cols, to.q.data() + at, to.d.data() + at / kQuantBlock, to.sum.data() + at / kQuantBlock * 2);
    };
    for (uint32_t t = 0; t < n; t++) {
      if (screen.wide) part(t, 0, screen.wide, (size_t)t * screen.wide);
      part(t, screen.wide, narrow, (size_t)n * screen.wide + (size_t)t * narrow);
    }
    return to.view();
  }
  // out [n][stride] = scores of the copy's groups [begin, end), which lie in slice i.
  void rank(const Screen& screen, uint32_t i, uint32_t begin, uint32_t end, const Activations& x, uint32_t n, float* out, size_t stride) {
    const uint32_t rows = screen.rows - begin * kLanes;
    const Slice &wide = screen.wide_slices[i], &slice = screen.slices[i];
    if (screen.wide) k.matmul[(int)TensorType::Q8_0]({wide.group(begin), wide.stride, end - begin, rows, screen.wide, x, n, out, stride, false});
    const size_t skip = (size_t)n * screen.wide;
    k.screen[screen.bits]({slice.group(begin), slice.stride, end - begin, rows, screen.cols - screen.wide,
                           {nullptr, x.q + skip, x.d + skip / kQuantBlock, x.sum + skip / kQuantBlock * 2}, n, out, stride, screen.wide > 0});
  }

  void embed(std::span<const int32_t> ids) {
    const Range mine = share_of(tokens);
    const uint32_t width = model.spec.width;
    for (uint32_t t = mine.begin; t < mine.end; t++) {
      float* x = s.x.data() + (size_t)t * width;
      unpack_row(model.embedding, (uint32_t)ids[t], x);
      if (model.embedding_scale != 1) k.scale(x, width, model.embedding_scale);
      if (model.positions.present()) {
        float* learned = s.lane[lane].f.data();
        unpack_row(model.positions, position + t + model.position_offset, learned);
        k.add(x, learned, width);
      }
    }
  }

  // The heads that this layer computes, where its plan skips some: [tokens][heads] 1 or 0. Predicted from an earlier input; every lane for itself.
  const uint8_t* kept_heads() const { return s.heads[lane].mask.empty() ? nullptr : s.heads[lane].mask.data(); }

  // Queries [heads * head_width] of one token. Rows of heads that are skipped are not read; what stood there stays, and is not used.
  void multiply_queries(const PackedMatrix& m, const Activations& x, float* out, size_t stride) {
    const uint8_t* kept = kept_heads();
    const uint32_t hw = model.spec.head_width;
    if (!kept || tokens > 1 || hw % kLanes) {
      multiply(m, x, out, stride);
      return;
    }
    each_slice(m, [&](const Slice& slice, uint32_t) {
      for (uint32_t g = slice.begin; g < slice.end;) {
        uint32_t end = g;
        while (end < slice.end && kept[end * kLanes / hw] == kept[g * kLanes / hw]) end++;
        if (kept[g * kLanes / hw]) multiply(m, slice, g, end, x, out, stride, false);
        g = end;
      }
    });
  }
  // After attention, in [tokens][heads * head_width]: heads that are skipped say nothing.
  void silence_heads(float* attention, uint32_t first, uint32_t end) {
    const uint8_t* kept = kept_heads();
    if (!kept) return;
    const uint32_t heads = model.spec.heads, hw = model.spec.head_width;
    for (uint32_t t = first; t < end; t++)
      for (uint32_t h = 0; h < heads; h++)
        if (!kept[(size_t)t * heads + h]) std::fill_n(attention + ((size_t)t * heads + h) * hw, hw, 0.0f);
  }
  // Blocks of 32 columns of the output projection that heads write to; empty = all.
  std::span<const uint32_t> head_blocks() {
    const uint8_t* kept = kept_heads();
    const uint32_t hw = model.spec.head_width;
    if (!kept || tokens > 1 || hw % kQuantBlock) return {};
    std::vector<uint32_t>& blocks = s.heads[lane].blocks;
    blocks.clear();
    for (uint32_t h = 0; h < model.spec.heads; h++)
      for (uint32_t b = 0; kept[h] && b < hw / kQuantBlock; b++) blocks.push_back(h * hw / kQuantBlock + b);
    return blocks;
  }
  bool group_kept(uint32_t kv_head) const {
    const uint8_t* kept = kept_heads();
    const uint32_t group = model.spec.heads / model.spec.kv_heads;
    return !kept || tokens > 1 || std::any_of(kept + kv_head * group, kept + (kv_head + 1) * group, [](uint8_t x) { return x != 0; });
  }

  // x += W in, on this lane's rows. Where the branch has a norm of its own, through s.branch.
  void residual(const PackedMatrix& w, const std::vector<float>& bias, const Norm& norm, const Activations& in, std::span<const uint32_t> blocks = {}) {
    const uint32_t width = model.spec.width;
    float* out = norm.present() ? s.branch.data() : s.x.data();
    each_slice(w, [&](const Slice& slice, uint32_t) {
      multiply(w, slice, slice.begin, slice.end, in, out, width, !norm.present(), blocks);
      if (bias.empty()) return;
      const uint32_t begin = slice.begin * kLanes, end = std::min(slice.end * kLanes, width);
      for (uint32_t t = 0; t < tokens; t++) k.add(out + (size_t)t * width + begin, bias.data() + begin, end - begin);
    });
    pool.barrier();
    if (norm.present()) add_branch(norm);
  }
  // x += norm(branch)
  void add_branch(const Norm& norm) {
    const uint32_t width = model.spec.width;
    const Range mine = share_of(tokens);
    for (uint32_t t = mine.begin; t < mine.end; t++) {
      float* branch = s.branch.data() + (size_t)t * width;
      normalise(model, norm, branch, width, branch);
      k.add(s.x.data() + (size_t)t * width, branch, width);
    }
    pool.barrier();
  }

  // Biases, norms and rotates queries and keys, scales the queries, and appends keys and values to the cache.
  void rotate_and_store(uint32_t index) {
    const ModelSpec& m = model.spec;
    const Layer& l = model.layers[index];
    const RopeTable& table = l.windowed ? s.window_rope : s.rope;
    const uint32_t hw = m.head_width, per_token = m.heads + m.kv_heads;
    const float query_scale = m.attention_scale > 0 ? m.attention_scale : 1.0f / std::sqrt((float)hw);
    const Range mine = share_of(tokens * per_token);
    for (uint32_t i = mine.begin; i < mine.end; i++) {
      const uint32_t t = i / per_token, head = i % per_token, p = position + t;
      const bool query = head < m.heads;
      const uint32_t kv_head = head - m.heads;  // where it is a key
      float* row = s.qkv.data() + (size_t)t * (m.heads + 2 * m.kv_heads) * hw;
      float* x = row + (size_t)head * hw;
      const std::vector<float>& bias = query ? l.q_bias : l.k_bias;
      if (!bias.empty()) k.add(x, bias.data() + (size_t)(query ? head : kv_head) * hw, hw);
      const Norm& norm = query ? l.q_norm : l.k_norm;
      if (norm.present()) normalise(model, norm, x, hw, x);
      const size_t at = (size_t)p * (m.rope_width / 2);
      k.rope[(int)model.rope_style](x, m.rope_width, table.cosine.data() + at, table.sine.data() + at);
      if (query) {
        k.scale(x, hw, query_scale);
        continue;
      }
      float* value = x + (size_t)m.kv_heads * hw;
      if (!l.v_bias.empty()) k.add(value, l.v_bias.data() + (size_t)kv_head * hw, hw);
      kv.write(k, index, kv_head, p, x, value);
    }
  }

  // First position that the token at p sees in this layer.
  uint32_t seen_from(uint32_t layer, uint32_t p) const {
    return model.layers[layer].windowed && p + 1 > model.spec.window ? p + 1 - model.spec.window : 0;
  }

  // Queries [first, first + n) of a KV head's tokens x group list against positions [begin, end).
  void attend(uint32_t layer, uint32_t kv_head, uint32_t first, uint32_t n, uint32_t begin, uint32_t end, AttendArgs& a) {
    const ModelSpec& m = model.spec;
    const uint32_t group = m.heads / m.kv_heads;
    a.k = kv.keys(layer, kv_head);
    a.v = kv.values(layer, kv_head);
    a.head_width = m.head_width;
    a.v_stride = kv.value_stride();
    a.begin = begin;
    a.end = end;
    a.queries = n;
    for (uint32_t j = 0; j < n; j++) {
      const uint32_t t = (first + j) / group, head = kv_head * group + (first + j) % group;
      a.q[j] = s.qkv.data() + ((size_t)t * (m.heads + 2 * m.kv_heads) + head) * m.head_width;
      a.limit[j] = std::min(position + t + 1, end);
      a.from[j] = seen_from(layer, position + t);
    }
  }

  // Writes s.attention [tokens][heads * head_width].
  void attention_prefill(uint32_t layer) {
    const ModelSpec& m = model.spec;
    const uint32_t group = m.heads / m.kv_heads, stride = kv.value_stride();
    const uint32_t pieces = (tokens * group + kMaxQueries - 1) / kMaxQueries;
    float acc[kMaxQueries * 1024], running[kMaxQueries * 1024];
    for (uint32_t u = lane; u < m.kv_heads * pieces; u += lanes) {
      const uint32_t kv_head = u / pieces, first = u % pieces * kMaxQueries, n = std::min(kMaxQueries, tokens * group - first);
      float max[kMaxQueries], sum[kMaxQueries];
      bool started[kMaxQueries] = {};
      const uint32_t seen = position + (first + n - 1) / group + 1;  // by the last query
      for (uint32_t begin = seen_from(layer, position + first / group) / kAttentionChunk * kAttentionChunk; begin < seen; begin += kAttentionChunk) {
        // Queries that see nothing of this chunk: earlier tokens that end before it, later ones whose window starts after it.
        uint32_t skip = 0, upto = n;
        while (position + (first + skip) / group + 1 <= begin) skip++;
        while (seen_from(layer, position + (first + upto - 1) / group) >= begin + kAttentionChunk) upto--;
        if (skip >= upto) continue;
        AttendArgs a;
        attend(layer, kv_head, first + skip, upto - skip, begin, std::min(begin + kAttentionChunk, seen), a);
        a.acc = acc;
        k.attend(a);
        for (uint32_t j = skip; j < upto; j++) {
          const float* part = acc + (size_t)(j - skip) * stride;
          if (started[j]) {
            k.attend_fold(&max[j], &sum[j], running + (size_t)j * stride, a.max[j - skip], a.sum[j - skip], part, stride);
            continue;
          }
          started[j] = true;
          max[j] = a.max[j - skip], sum[j] = a.sum[j - skip];
          std::copy_n(part, stride, running + (size_t)j * stride);
        }
      }
      for (uint32_t j = 0; j < n; j++) {
        const uint32_t t = (first + j) / group, head = kv_head * group + (first + j) % group;
        finish(t, head, running + (size_t)j * stride, sum[j]);
      }
    }
  }

  // One token: asks for the keys and values that this lane will need, while the weights before them stream. The weights have pushed them out
  // of the near caches since the last token; what does not fit L2 is fetched as attention goes along.
  void fetch_keys_and_values(uint32_t layer) {
    if (tokens != 1) return;
    constexpr uint32_t kMost = 256;  // positions
    const ModelSpec& m = model.spec;
    const Range mine = share_of(m.kv_heads);
    const uint32_t from = seen_from(layer, position) / 16 * 16, count = std::min(position - from, kMost);
    for (uint32_t head = mine.begin; head < std::max(mine.end, mine.begin + 1) && head < m.kv_heads; head++) {
      if (!group_kept(head)) continue;
      k.fetch(kv.keys(layer, head) + (size_t)from * m.head_width, (size_t)count * m.head_width * sizeof(uint16_t));
      k.fetch(kv.values(layer, head) + (size_t)from * kv.value_stride(), (size_t)count * kv.value_stride() * sizeof(uint16_t));
    }
  }

  // One token: the lanes divide KV heads x chunks and leave partials, which `fold_partials` joins.
  void attention_decode(uint32_t layer) {
    const ModelSpec& m = model.spec;
    const uint32_t group = m.heads / m.kv_heads, seen = position + 1, stride = kv.value_stride();
    const uint32_t first_chunk = seen_from(layer, position) / kAttentionChunk;
    const uint32_t chunks = (seen + kAttentionChunk - 1) / kAttentionChunk - first_chunk, pieces = (group + kMaxQueries - 1) / kMaxQueries;
    const Range mine = share_of(m.kv_heads * pieces * chunks);
    float acc[kMaxQueries * 1024];
    for (uint32_t u = mine.begin; u < mine.end; u++) {
      const uint32_t chunk = u % chunks, kv_head = u / chunks / pieces, first = u / chunks % pieces * kMaxQueries;
      if (!group_kept(kv_head)) continue;
      const uint32_t n = std::min(kMaxQueries, group - first), begin = (first_chunk + chunk) * kAttentionChunk;
      AttendArgs a;
      attend(layer, kv_head, first, n, begin, std::min(begin + kAttentionChunk, seen), a);
      a.acc = acc;
      k.attend(a);
      for (uint32_t j = 0; j < n; j++) {
        const size_t at = (size_t)(kv_head * group + first + j) * chunks + chunk;
        s.partial_max[at] = a.max[j];
        s.partial_sum[at] = a.sum[j];
        std::copy_n(acc + (size_t)j * stride, stride, s.partial_acc.data() + at * stride);
      }
    }
  }

  // Every lane folds all heads into its own buffer: again cheaper than dividing the work and waiting.
  Activations fold_partials(uint32_t layer) {
    const ModelSpec& m = model.spec;
    const uint32_t stride = kv.value_stride();
    const uint32_t chunks = (position + kAttentionChunk) / kAttentionChunk - seen_from(layer, position) / kAttentionChunk;
    ActivationBuffer& to = s.lane[lane];
    const uint8_t* kept = kept_heads();
    for (uint32_t head = 0; head < m.heads; head++) {
      if (kept && !kept[head]) {
        std::fill_n(to.f.data() + (size_t)head * m.head_width, m.head_width, 0.0f);
        continue;
      }
      float running[1024];
      size_t at = (size_t)head * chunks;
      float max = s.partial_max[at], sum = s.partial_sum[at];
      std::copy_n(s.partial_acc.data() + at * stride, stride, running);
      for (uint32_t c = 1; c < chunks; c++) {
        at++;
        k.attend_fold(&max, &sum, running, s.partial_max[at], s.partial_sum[at], s.partial_acc.data() + at * stride, stride);
      }
      k.scale(running, m.head_width, 1.0f / sum);
      std::copy_n(running, m.head_width, to.f.data() + (size_t)head * m.head_width);
    }
    edit_heads(layer, to.f.data(), 0, 1);
    note_heads(layer, to.f.data());
    quantize(to.f.data(), to, 0, m.heads * m.head_width);
    return to.view();
  }

  // In [tokens][heads * head_width].
  void edit_heads(uint32_t layer, float* attention, uint32_t first, uint32_t end) const {
    if (!s.edits) return;
    const uint32_t hw = model.spec.head_width;
    for (uint32_t t = first; t < end; t++)
      for (const Edit& e : s.edits->heads[layer]) edit_head(e, attention + ((size_t)t * model.spec.heads + e.index) * hw, hw);
  }
  // One token: what the heads attended to [heads * head_width], the same in every lane. On audit tokens, those that would not have been computed
  // are silenced then.
  void note_heads(uint32_t layer, float* attention) {
    Capture* c = capture();
    if (!c) return;
    const uint32_t heads = model.spec.heads, hw = model.spec.head_width;
    const uint8_t* kept = kept_heads();
    const Range mine = share_of(heads);
    for (uint32_t h = mine.begin; h < mine.end; h++) {
      const float* x = attention + (size_t)h * hw;
      float sum[16] = {};  // side by side: norm_of() would take 1 % of a token of the starter
      for (uint32_t i = 0; i < hw; i++) sum[i % 16] += x[i] * x[i];
      for (uint32_t i = 1; i < 16; i++) sum[0] += sum[i];
      c->head_norms[(size_t)layer * heads + h] = kept && !kept[h] ? std::nanf("") : std::sqrt(sum[0]);
    }
    const std::vector<uint8_t>& silenced = s.heads[lane].silenced;
    for (uint32_t h = 0; h < silenced.size(); h++)
      if (!silenced[h]) std::fill_n(attention + (size_t)h * hw, hw, 0.0f);
  }

  void finish(uint32_t t, uint32_t head, float* running, float sum) {
    const uint32_t hw = model.spec.head_width;
    k.scale(running, hw, 1.0f / sum);
    std::copy_n(running, hw, s.attention.data() + ((size_t)t * model.spec.heads + head) * hw);
  }

  Activations attention(uint32_t layer) {
    if (tokens == 1) {
      attention_decode(layer);
      pool.barrier();
      return fold_partials(layer);
    }
    attention_prefill(layer);
    pool.barrier();
    if (kept_heads() || s.edits) {
      const Range mine = share_of(tokens);
      silence_heads(s.attention.data(), mine.begin, mine.end);
      edit_heads(layer, s.attention.data(), mine.begin, mine.end);
      pool.barrier();
    }
    return prepare(s.attention.data(), model.spec.heads * model.spec.head_width, nullptr);
  }

  // s.gate = act(W_gate x) * (W_up x), or act(W_up x) without a gate, on this lane's neurons, which no other lane touches before the next
  // barrier.
  void neurons(uint32_t index, const Activations& x) {
    const Layer& l = model.layers[index];
    const uint32_t ff = model.spec.ffn_width;
    const bool gated = l.gate.present();
    float *gate = s.gate.data(), *up = gated ? s.up.data() : gate;
    each_slice(l.up, [&](const Slice& slice, uint32_t i) {
      if (gated && tokens == 1) {  // group by group, as they lie
        for (uint32_t g = slice.begin; g < slice.end; g++) {
          multiply(l.gate, l.gate.slices[i], g, g + 1, x, gate, ff, false);
          multiply(l.up, slice, g, g + 1, x, up, ff, false);
        }
      } else {
        if (gated) multiply(l.gate, l.gate.slices[i], slice.begin, slice.end, x, gate, ff, false);
        multiply(l.up, slice, slice.begin, slice.end, x, up, ff, false);
      }
      const uint32_t begin = slice.begin * kLanes, end = std::min(slice.end * kLanes, ff);
      const int act = (int)model.spec.activation;
      for (uint32_t t = 0; t < tokens; t++) {
        const size_t at = (size_t)t * ff + begin;
        if (!l.up_bias.empty()) k.add(up + at, l.up_bias.data() + begin, end - begin);
        if (gated) k.gate[act](gate + at, up + at, end - begin);
        else k.activate[act](up + at, end - begin);
        if (s.edits) {
          const auto [first, last] = s.edits->neurons_in(index, begin, end);
          for (const Edit* e = first; e != last; e++) gate[(size_t)t * ff + e->index] = edited(*e, gate[(size_t)t * ff + e->index]);
        }
      }
      if (Capture* c = capture()) c->note_dense(model.spec, lane, index, begin, end, gate + begin);
    });
  }
};

}  // namespace hunch
