#include "forward.h"

#include <algorithm>
#include <cmath>

#include "lane.h"
#include "head_lane.h"
#include "neuron_lane.h"

namespace hunch {

void ActivationBuffer::resize(uint32_t tokens, uint32_t cols) {
  const size_t n = (size_t)tokens * cols;
  f.resize(n);
  q.resize(n);
  d.resize((n + kQuantBlock - 1) / kQuantBlock);
  sum.resize((n + kQuantBlock - 1) / kQuantBlock * 2);
}

void Tap::resize(const ModelSpec& m, uint32_t n) {
  tokens = n;
  attention_in.resize((size_t)m.layers * n * m.width);
  mlp_in.resize(attention_in.size());
  first.resize((size_t)m.layers * n * m.ffn_width);
  heads.resize((size_t)m.layers * n * m.heads);
  output_in.resize((size_t)n * m.width);
}

void Scratch::allocate(const Model& model, uint32_t context, unsigned lanes) {
  const ModelSpec& s = model.spec;
  const uint32_t stride = (s.head_width + 15) / 16 * 16;
  const uint32_t widest = std::max({s.width, s.ffn_width, s.heads * stride});
  x.resize((size_t)kBatch * s.width);
  qkv.resize((size_t)kBatch * (s.heads + 2 * s.kv_heads) * s.head_width);
  attention.resize((size_t)kBatch * s.heads * stride);
  gate.resize((size_t)kBatch * s.ffn_width);
  up.resize((size_t)kBatch * s.ffn_width);
  batch.resize(kBatch, widest);
  lane.resize(lanes);
  for (ActivationBuffer& b : lane) b.resize(1, widest + 2 * kQuantBlock);  // run_neurons adds up padded rows there
  logits.resize((size_t)kLogitTile * s.vocabulary);
  heads.resize(lanes);
  for (HeadScratch& h : heads) h.computed.assign(s.layers, 0);
  best.resize((size_t)lanes * kLogitTile);
  for (auto& r : remembered) r.resize((size_t)kBatch * s.width);
  hidden.resize(kMaxRank);
  ranked.resize(lanes);
  for (ActivationBuffer& b : ranked) b.resize(std::max(kNeuronTile, kLogitTile), s.width);
  neurons.resize(lanes);
  for (NeuronScratch& n : neurons) {
    n.candidates.resize(std::max(s.vocabulary, s.ffn_width + kLanes));
    n.computed.assign(s.layers, 0);
    n.named.assign(s.layers, 0);
  }
  for (const Layer& l : model.layers) {
    if (!l.rows.present()) continue;
    const size_t part = l.rows.part_neurons;
    parts.resize(std::max(parts.size(), (size_t)kNeuronTile * l.rows.parts * l.rows.columns.size()));
    size_t turns = 2;
    for (const NeuronRows::Slice& slice : l.rows.slices)
      if (l.rows.on_disk) turns = std::max<size_t>(turns, slice.parts.end - slice.parts.begin);
    for (NeuronScratch& n : neurons) {
      n.input.resize(kNeuronTile, s.width);
      if (n.first.size() < turns) n.first.resize(turns), n.list.resize(turns), n.count.resize(turns);
      for (auto& f : n.first) f.resize(std::max(f.size(), kNeuronTile * part));
      for (auto& list : n.list) list.resize(std::max(list.size(), kNeuronTile * part));
      n.slots.resize(std::max(n.slots.size(), part));
      n.value.resize(part);
      n.up.resize(part);
      n.scores.resize(2 * kNeuronTile * part);
      n.kept.resize(part);
      for (auto& early : n.early) early.resize(2 * (size_t)s.ffn_width + kLanes);
    }
  }
  const uint32_t chunks = context / kAttentionChunk + 1;
  partial_max.resize((size_t)s.heads * chunks);
  partial_sum.resize((size_t)s.heads * chunks);
  partial_acc.resize((size_t)s.heads * chunks * stride);

  const auto branches = [](const Layer& l) { return l.post_attention_norm.present() || l.post_ffn_norm.present(); };
  if (std::any_of(model.layers.begin(), model.layers.end(), branches)) branch.resize((size_t)kBatch * s.width);
  if (model.rope_style == RopeStyle::none) return;
  rope = make_rope_table(s.rope, s.rope_width, context, model.rope_factors);
  if (s.window) window_rope = make_rope_table(s.window_rope, s.rope_width, context, {});
}

bool forward(const Model& model, Pool& pool, KvCache& kv, Scratch& s, std::span<const int32_t> ids, uint32_t position, const Plan* plan,
             Logits logits, const std::atomic<bool>& cancel, unsigned active, uint32_t layers) {
  const ModelSpec& m = model.spec;
  const unsigned lanes = active ? active : pool.size();
  const uint32_t qkv_width = (m.heads + 2 * m.kv_heads) * m.head_width;
  s.abandoned = false;
  s.counting = ids.size() == 1;
  static const LayerPlan dense;

  pool.run([&](unsigned lane) {
    Lane w{model, *model.kernels, pool, kv, s, plan, (uint32_t)ids.size(), position, lane, lanes};
    s.neurons[lane].early_layer[0] = s.neurons[lane].early_layer[1] = s.heads[lane].early_layer = ~0u;
    w.embed(ids);  // x [tokens][width]
    pool.barrier();

    w.mark_layer(0);
    for (uint32_t i = 0; i < std::min(m.layers, layers); i++) {
      const Layer& l = model.layers[i];
      if (lane == 0 && (cancel.load(std::memory_order_relaxed) || (model.store && model.store->failed()))) s.abandoned = true;

      // qkv [tokens][(heads + 2 kv_heads) head_width]
      Activations a = w.prepare(s.x.data(), m.width, &l.attention_norm);
      if (s.tap) w.listen(s.tap->attention_in, i, a.f, m.width);
      look_further(w, i, PredictorSource::previous);
      look_ahead(w, i, PredictorSource::attention, a);
      float* qkv = s.qkv.data();
      choose_heads(w, i, a);
      w.fetch_keys_and_values(i);
      w.multiply_queries(l.q, a, qkv, qkv_width);
      w.multiply(l.k, a, qkv + m.heads * m.head_width, qkv_width);
      w.multiply(l.v, a, qkv + (m.heads + m.kv_heads) * m.head_width, qkv_width);
      pool.barrier();
      if (s.abandoned) return;

      look_further(w, i, PredictorSource::attention);
      w.rotate_and_store(i);
      pool.barrier();

      a = w.attention(i);  // [tokens][heads * head_width]
      if (s.tap) w.listen_to_heads(i, a.f);
      w.residual(l.o, l.o_bias, l.post_attention_norm, a, w.head_blocks());

      a = w.prepare(s.x.data(), m.width, &l.ffn_norm);
      if (s.tap) w.listen(s.tap->mlp_in, i, a.f, m.width);
      look_ahead_at_heads(w, i + 1, a);
      look_ahead(w, i + 1, PredictorSource::previous, a);
      read_ahead(w, i + 1);
      const LayerPlan& mlp = plan ? plan->layers[i] : dense;
      w.note_plan(i, mlp);
      if (l.rows.present() && (mlp.mlp != MlpRoute::dense || !l.up.present())) {
        if (s.counting && l.up.present() && lane == 0) s.neurons[lane].bytes -= l.gate.bytes() + l.up.bytes() + l.down.bytes();  // counted as always read
        run_neurons(w, i, mlp, a);
        w.mark_layer(i + 1);
        continue;
      }
      if (s.counting && lane == 0 && i < s.neurons[0].computed.size()) s.neurons[0].computed[i] += m.ffn_width;
      w.neurons(i, a);  // gate [tokens][ffn_width]
      pool.barrier();

      a = w.prepare(s.gate.data(), m.ffn_width, nullptr);
      w.residual(l.down, l.down_bias, l.post_ffn_norm, a);
      w.mark_layer(i + 1);
    }

    if (logits == Logits::all) {
      w.output(s.x.data());
    } else if (logits == Logits::last) {
      Lane last{model, *model.kernels, pool, kv, s, plan, 1, position, lane, lanes};
      last.output(s.x.data() + (ids.size() - 1) * m.width);
    }
    w.finish_capture();
  }, lanes);
  if (model.store) {
    model.store->settle();
    if (model.store->failed()) s.abandoned = true;
  }
  return !s.abandoned;
}

float surprise(const Kernels& k, const float* logits, uint32_t vocabulary, int32_t target) {
  const float max = k.max_of(logits, vocabulary);
  return (float)(std::log(k.sum_exp(logits, vocabulary, max)) + max - logits[target]);
}

void output_logits(const Model& model, Pool& pool, KvCache& kv, Scratch& s, const float* x) {
  s.counting = false;
  pool.run([&](unsigned lane) { Lane{model, *model.kernels, pool, kv, s, nullptr, 1, 0, lane, pool.size()}.output(x); });
}

void compare_batch(const Model& model, Pool& pool, KvCache& kv, Scratch& tested, const Plan* tested_plan, Scratch& reference, const Plan* reference_plan,
                   uint32_t first, std::span<const int32_t> targets, Comparison& out) {
  const ModelSpec& m = model.spec;
  const Kernels& k = *model.kernels;
  struct Place {
    double nll, reference_nll, kl;
    bool agree;
  };
  std::vector<Place> places(targets.size());
  tested.counting = reference.counting = false;
  pool.run([&](unsigned lane) {
    for (uint32_t begin = 0; begin < targets.size(); begin += kLogitTile) {
      const uint32_t n = std::min<uint32_t>(kLogitTile, (uint32_t)targets.size() - begin);
      const size_t skip = (size_t)(first + begin) * m.width;
      Lane{model, k, pool, kv, tested, tested_plan, n, 0, lane, pool.size()}.output(tested.x.data() + skip);
      Lane{model, k, pool, kv, reference, reference_plan, n, 0, lane, pool.size()}.output(reference.x.data() + skip);
      pool.barrier();
      const Range mine = share(n, lane, pool.size());
      for (uint32_t i = mine.begin; i < mine.end; i++) {
        const float *q = tested.logits.data() + (size_t)i * m.vocabulary, *p = reference.logits.data() + (size_t)i * m.vocabulary;
        const float q_max = k.max_of(q, m.vocabulary), p_max = k.max_of(p, m.vocabulary);
        const double q_sum = std::log(k.sum_exp(q, m.vocabulary, q_max)) + q_max, p_sum = std::log(k.sum_exp(p, m.vocabulary, p_max)) + p_max;
        double kl = 0;
        for (uint32_t v = 0; v < m.vocabulary; v++)
          if (p[v] > p_max - 30) kl += std::exp(p[v] - p_sum) * ((p[v] - p_sum) - (q[v] - q_sum));
        const int32_t target = targets[begin + i];
        places[begin + i] = {q_sum - q[target], p_sum - p[target], kl, std::find(q, q + m.vocabulary, q_max) - q == std::find(p, p + m.vocabulary, p_max) - p};
      }
      pool.barrier();
    }
  });
  for (const Place& p : places) out.nll += p.nll, out.reference_nll += p.reference_nll, out.kl += p.kl, out.agree += p.agree;
  out.positions += (uint32_t)places.size();
}

void score_batch(const Model& model, Pool& pool, KvCache& kv, Scratch& s, const Plan* plan, uint32_t first, std::span<const int32_t> targets,
                 float* nll, uint8_t* greedy) {
  const ModelSpec& m = model.spec;
  const Kernels& k = *model.kernels;
  s.counting = false;
  pool.run([&](unsigned lane) {
    for (uint32_t begin = 0; begin < targets.size(); begin += kLogitTile) {
      const uint32_t n = std::min<uint32_t>(kLogitTile, (uint32_t)targets.size() - begin);
      Lane w{model, k, pool, kv, s, plan, n, 0, lane, pool.size()};
      w.output(s.x.data() + (size_t)(first + begin) * m.width);
      pool.barrier();
      const Range mine = w.share_of(n);
      for (uint32_t i = mine.begin; i < mine.end; i++) {
        const float* row = s.logits.data() + (size_t)i * m.vocabulary;
        const int32_t target = targets[begin + i];
        nll[begin + i] = surprise(k, row, m.vocabulary, target);
        if (!greedy) continue;
        const float max = k.max_of(row, m.vocabulary);
        greedy[begin + i] = row[target] == max && std::find(row, row + target, max) == row + target;
      }
      pool.barrier();
    }
  });
}

}  // namespace hunch
