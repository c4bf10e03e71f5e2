// Which heads a layer computes: a predictor that saw an earlier input scores them, and those at or below the plan's threshold are skipped
// (DejaVu, Liu 2023; whole KV groups: Polar Sparsity, Shrestha 2025). Keys and values of all heads are written, so that no cache needs repair.
#pragma once

#include "neuron_lane.h"

namespace hunch {

// mask [tokens][heads] from the predictor's input.
inline void score_heads(Lane& w, uint32_t layer, const Predictor& p, const Activations& x, std::vector<uint8_t>& mask) {
  HeadScratch& h = w.s.heads[w.lane];
  const uint32_t heads = w.model.spec.heads;
  const float threshold = *w.plan->layers[layer].head_threshold;
  const uint32_t padded = (heads + kLanes - 1) / kLanes * kLanes;
  h.scores.resize(2 * (size_t)padded);
  mask.resize((size_t)w.tokens * heads);
  const Slice& b = p.b.slices[0];
  for (uint32_t t = 0; t < w.tokens; t++) {
    const Activations hidden = predictor_hidden(w, p, x.f + (size_t)t * w.model.spec.width, 1);
    w.k.matmul[(int)p.b.type]({b.data, b.stride, b.end - b.begin, heads, p.rank, hidden, 2, h.scores.data(), padded, false});
    w.k.add(h.scores.data(), h.scores.data() + padded, heads);
    w.k.add(h.scores.data(), p.bias.data(), heads);
    for (uint32_t i = 0; i < heads; i++) mask[(size_t)t * heads + i] = h.scores[i] > threshold;
  }
}

inline const Predictor* head_predictor(const Lane& w, uint32_t layer) {
  if (!w.plan || layer >= w.plan->layers.size() || !w.plan->layers[layer].head_threshold || !w.s.predictors) return nullptr;
  const Predictor& p = w.s.predictors->heads[layer];
  return p.present() ? &p : nullptr;
}

// At the input of the MLP before the layer.
inline void look_ahead_at_heads(Lane& w, uint32_t layer, const Activations& x) {
  const Predictor* p = head_predictor(w, layer);
  if (!p || p->source != PredictorSource::previous) return;
  score_heads(w, layer, *p, x, w.s.heads[w.lane].early);
  w.s.heads[w.lane].early_layer = layer;
}

// Of a decode step: how many heads, and what not reading the others saves.
inline void count_heads(Lane& w, uint32_t layer) {
  HeadScratch& h = w.s.heads[w.lane];
  const ModelSpec& m = w.model.spec;
  uint32_t kept = m.heads;
  if (!h.mask.empty()) kept = (uint32_t)std::count(h.mask.begin(), h.mask.end(), 1);
  h.computed[layer] += kept;
  const Layer& l = w.model.layers[layer];
  // always_bytes counts them all
  if (m.head_width % kQuantBlock == 0) w.s.neurons[0].bytes -= (l.q.bytes() + (block_columns(l.o.type) <= kQuantBlock ? l.o.bytes() : 0)) * (m.heads - kept) / m.heads;
}

// At the layer's own attention input: settles which heads are computed.
inline void choose_heads(Lane& w, uint32_t layer, const Activations& x) {
  HeadScratch& h = w.s.heads[w.lane];
  h.mask.clear();
  h.silenced.clear();
  const Predictor* p = head_predictor(w, layer);
  if (p && p->source == PredictorSource::attention) score_heads(w, layer, *p, x, h.mask);
  else if (p && h.early_layer == layer) h.mask.swap(h.early);
  if (w.s.counting && w.lane == 0) count_heads(w, layer);
  // An audit computes them all.
  if (w.capture() && w.capture()->audit) h.silenced.swap(h.mask);
}

}  // namespace hunch
