// An MLP by neuron as one lane does it: which neurons to compute, computing them, and adding up what the lanes found.
#pragma once

#include <chrono>

#include "lane.h"

namespace hunch {

// The second factor's input for x [tokens][width], whose product with the first factor every lane makes for itself: see HiddenInput.
inline Activations predictor_hidden(Lane& w, const Predictor& p, const float* x, uint32_t tokens) {
  NeuronScratch& n = w.s.neurons[w.lane];
  const size_t size = (size_t)tokens * p.rank;
  if (n.hidden.size() < size) n.hidden.resize(size);
  const Slice& a = p.a.slices[0];
  w.k.matmul[(int)p.a.type]({a.data, a.stride, a.end - a.begin, p.rank, p.a.cols, {x, nullptr, nullptr, nullptr}, tokens, n.hidden.data(), p.rank, false});
  return n.hidden_input.split(w.k, p, n.hidden.data(), tokens);
}

inline Activations tile_of(const Activations& x, uint32_t first_token, uint32_t cols) {
  const size_t skip = (size_t)first_token * cols;
  return {x.f + skip, x.q + skip, x.d + skip / kQuantBlock, x.sum + skip / kQuantBlock * 2};
}

// Of a layer that the plan predicts from this source; null = nothing to do.
inline const Predictor* mlp_predictor(const Lane& w, uint32_t layer, PredictorSource source) {
  if (!w.plan || layer >= w.plan->layers.size() || w.plan->layers[layer].mlp != MlpRoute::predicted || !w.s.predictors) return nullptr;
  const Predictor& p = w.s.predictors->mlp[layer];
  return p.present() && p.source == source ? &p : nullptr;
}

// Leaves of a list, counted from neuron `first` on, what the subset has; returns how many.
inline uint32_t among(const NeuronSubset& only, uint32_t first, uint32_t* list, uint32_t count) {
  return (uint32_t)(std::remove_if(list, list + count, [&](uint32_t i) { return !only.has[first + i]; }) - list);
}

// What a predictor takes, without what it fetches.
struct PredictorClock {
  NeuronScratch& n;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  void stop() { n.predictor_ns += (uint64_t)std::chrono::nanoseconds(std::chrono::steady_clock::now() - started).count(); }
};

// Where a predictor's input is at hand, stages before its layer. One token: the lanes divide the first factor's rows; look_further() goes on behind
// the next barrier. A batch: remembers the input until the layer comes.
inline void look_ahead(Lane& w, uint32_t layer, PredictorSource source, const Activations& x) {
  const Predictor* p = mlp_predictor(w, layer, source);
  if (!p) return;
  const uint32_t width = w.model.spec.width;
  if (w.tokens > 1) {
    std::vector<float>& to = w.s.remembered_for(source, layer);
    const Range mine = w.share_of(w.tokens);
    const size_t begin = (size_t)mine.begin * width, end = (size_t)mine.end * width;
    std::copy(x.f + begin, x.f + end, to.begin() + (ptrdiff_t)begin);
    return;
  }
  PredictorClock clock{w.s.neurons[w.lane]};
  const Slice& a = p->a.slices[0];
  const Range mine = w.share_of(a.end);
  if (mine.begin < mine.end)
    w.k.matmul[(int)p->a.type]({a.group(mine.begin), a.stride, mine.end - mine.begin, p->rank - mine.begin * kLanes, p->a.cols, x, 1,
                                w.s.hidden.data() + mine.begin * kLanes, p->rank, false});
  clock.stop();
}

// Scores this lane's neurons of the layer for one token, from what the predictor's first factor gave, and asks for the first rows of those it names (fetch)
// while the stages between compute. only: null = all.
inline void score_ahead(Lane& w, uint32_t layer, const Predictor& p, float threshold, const float* first_factor, const NeuronSubset* only, bool fetch) {
  NeuronScratch& n = w.s.neurons[w.lane];
  PredictorClock clock{n};
  const NeuronRows& r = w.model.layers[layer].rows;
  const Activations hidden = n.hidden_input.split(w.k, p, first_factor, 1);
  const Range mine = share((uint32_t)r.slices.size(), w.lane, w.lanes);
  uint32_t* list = n.candidates.data();
  n.ahead.clear();
  for (uint32_t i = mine.begin; i < mine.end; i++) {
    const Slice& b = p.b.slices[i];
    const Range all = r.neurons_of(r.slices[i]);
    if (all.begin >= all.end) continue;
    float* scores = n.early[layer % 2].data() + all.begin;
    w.k.matmul[(int)p.b.type]({b.data, b.stride, b.end - b.begin, all.end - all.begin, p.rank, hidden, 2, scores, r.neurons, false});
    w.k.add(scores, scores + r.neurons, all.end - all.begin);
    w.k.add(scores, p.bias.data() + all.begin, all.end - all.begin);
    uint32_t named = w.k.select(scores, all.end - all.begin, threshold, false, 0, list);
    if (only) named = among(*only, all.begin, list, named);
    if (r.first_on_disk) {
      w.model.store->ask_ahead(layer, all.begin, list, named);
      continue;
    }
    n.ahead.push_back({r.slices[i].first, r.first_stride, r.first_stride, list, named});
    list += named;
  }
  n.early_layer[layer % 2] = layer;
  if (w.lane == 0) n.bytes += p.a.bytes() + p.b.bytes();
  clock.stop();
  if (!fetch) return;
  for (const Ahead& a : n.ahead)
    for (uint32_t c = 0; c < a.n; c++) w.k.fetch(a.rows + (size_t)a.list[c] * a.stride, a.bytes);
}

// One token, behind the barrier after look_ahead().
inline void look_further(Lane& w, uint32_t layer, PredictorSource source) {
  if (w.tokens > 1) return;
  const Predictor* p = mlp_predictor(w, layer, source);
  if (!p || w.s.neurons[w.lane].early_layer[layer % 2] == layer) return;
  // Larger attention weights would push the rows out of the caches again before they are used.
  const Layer& l = w.model.layers[layer];
  const bool fetch = l.q.bytes() + l.k.bytes() + l.v.bytes() + l.o.bytes() <= (4u << 20);
  score_ahead(w, layer, *p, w.plan->layers[layer].score_threshold, w.s.hidden.data(), nullptr, fetch);
}

// Neurons on disk are asked for a whole MLP before theirs, so that the disk goes on while this one computes.
inline void read_ahead(Lane& w, uint32_t layer) {
  if (w.tokens > 1 || !mlp_predictor(w, layer, PredictorSource::previous) || !w.model.layers[layer].rows.first_on_disk) return;
  w.pool.barrier();
  look_further(w, layer, PredictorSource::previous);
}

struct NeuronLane {
  Lane& w;
  const Layer& l;
  const NeuronRows& r;
  const LayerPlan& plan;
  const Screen* screen;        // of this layer's first rows; null: none
  const Predictor* predictor;  // of this layer; null: none
  NeuronScratch& n;
  const Activations x;                        // [batch][width]
  const uint32_t layer, first_token, tokens;  // a tile of the batch
  Activations ranked{}, hidden{};             // the tile's inputs of the screen; of the predictor's second factor
  const NeuronSubset* only = nullptr;         // one token: the neurons to compute; null: all

  // Bundles that are read, multiplied and added as one; as many again are on their way. Together they fit the near caches. Tuned on Zen 5: 16 or
  // more are best for a run of all neurons, 8 where a part has a dozen.
  uint32_t together() const { return std::clamp<uint32_t>((uint32_t)(16384 / r.bundle_stride), 4, plan.mlp == MlpRoute::dense ? 16 : 8); }

  // Rows as the kernels take them.
  struct Rows {
    const uint8_t* rows;
    size_t stride;
    const uint32_t* list;
  };
  // First rows and bundles of neurons list[0 … n) of a slice, counted from its first one (null: from + 0 … n): where they lie in the slice, or in the
  // store's slots, which waits for them.
  Rows firsts(const NeuronRows::Slice& slice, const uint32_t* list, uint32_t from, uint32_t count) const {
    if (!r.first_on_disk) return {slice.first + (size_t)from * r.first_stride, r.first_stride, list};
    return {in_slots(slice, list, from, count).rows + store().first_at(layer), store().stride(), n.slots.data()};
  }
  Rows bundles(const NeuronRows::Slice& slice, const uint32_t* list, uint32_t count) const {
    return r.on_disk ? in_slots(slice, list, 0, count) : Rows{slice.bundles, r.bundle_stride, list};
  }
  Rows in_slots(const NeuronRows::Slice& slice, const uint32_t* list, uint32_t from, uint32_t count) const {
    store().get(layer, r.neurons_of(slice).begin + from, list, count, n.slots.data());
    return {store().rows(), store().stride(), n.slots.data()};
  }
  NeuronStore& store() const { return *w.model.store; }

  float* first_of(uint32_t turn, uint32_t t) const { return n.first[turn].data() + (size_t)t * r.part_neurons; }
  uint32_t* list_of(uint32_t turn, uint32_t t) const { return n.list[turn].data() + (size_t)t * r.part_neurons; }

  float* sums(uint32_t t, uint32_t part) const { return w.s.parts.data() + ((size_t)t * r.parts + part) * r.columns.size(); }

  void run() {
    if (Capture* c = w.capture(); c && w.lane == 0) c->layers[layer].gates_known = true, c->layers[layer].names = screened() || predicted();
    if (r.width % kQuantBlock == 0)
      for (uint32_t t = 0; t < tokens; t++) w.k.arrange(token(t), r.width, n.input.buffer(t, r.width));
    if (screened()) ranked = w.rank_input(*screen, x.f + (size_t)first_token * r.width, tokens);
    if (predicted() && !early()) {
      const float* from = predictor->source == PredictorSource::same ? x.f : remembered(predictor->source);
      hidden = predictor_hidden(w, *predictor, from + (size_t)first_token * r.width, tokens);
    }
    const Range mine = share((uint32_t)r.slices.size(), w.lane, w.lanes);
    for (uint32_t i = mine.begin; i < mine.end; i++) {
      // A part's neurons are chosen, and asked for, while those of the part before are computed.
      const NeuronRows::Slice& slice = r.slices[i];
      if (r.on_disk) {
        run_from_disk(slice);
        continue;
      }
      for (uint32_t part = slice.parts.begin; part < slice.parts.end; part++) {
        const bool first = part == slice.parts.begin;
        name(slice, part, part % 2);
        choose(slice, part, part % 2, first ? Ahead{} : bundles(slice, list_of((part - 1) % 2, 0), 0, std::min(together(), n.count[(part - 1) % 2][0])));
        if (part > slice.parts.begin) compute(slice, part - 1, (part - 1) % 2);
      }
      if (slice.parts.begin < slice.parts.end) compute(slice, slice.parts.end - 1, (slice.parts.end - 1) % 2);
    }
  }

 private:
  // Neurons are named before their gates are read; a plan whose copy or predictor is not there runs exactly.
  bool screened() const { return plan.mlp == MlpRoute::screened && screen && screen->present(); }
  bool predicted() const { return plan.mlp == MlpRoute::predicted && predictor; }

  Activations token(uint32_t t) const { return tile_of(x, first_token + t, r.width); }
  RowInput input(uint32_t t) const { return n.input.view(t, r.width, x.f + (size_t)(first_token + t) * r.width); }

  // Bundles to ask for; of their first or second row only, where `bytes` is given.
  Ahead bundles(const NeuronRows::Slice& slice, const uint32_t* chosen, uint32_t begin, uint32_t end, size_t from = 0, size_t bytes = 0) const {
    if (r.on_disk) return {};  // wherever they are, a disk was slower
    return {slice.bundles + from, r.bundle_stride, bytes ? bytes : r.bundle_stride, chosen + begin, end - begin};
  }

  // All that is needed of a slice is asked for before any of it is waited for.
  void run_from_disk(const NeuronRows::Slice& slice) {
    const uint32_t base = r.neurons_of(slice).begin;
    const auto each = [&](auto&& f) {
      for (uint32_t part = slice.parts.begin; part < slice.parts.end; part++) f(part, part - slice.parts.begin);
    };
    const auto ask = [&](uint32_t turn) {
      for (uint32_t t = 0; t < tokens; t++) store().ask(layer, base, list_of(turn, t), n.count[turn][t]);
    };
    each([&](uint32_t part, uint32_t turn) {
      name(slice, part, turn);
      if (!r.first_on_disk) choose(slice, part, turn, {}), ask(turn);
      else if (screened() || predicted()) ask(turn);
      else store().ask(layer, r.neurons_of(part).begin, nullptr, r.neurons_of(part).end - r.neurons_of(part).begin);
    });
    each([&](uint32_t part, uint32_t turn) {
      if (r.first_on_disk) choose(slice, part, turn, {});
      compute(slice, part, turn);
    });
  }

  // Where neurons are named before their gates are read, or only some are asked for: which of a part's, into its lists.
  void name(const NeuronRows::Slice& slice, uint32_t part, uint32_t turn) {
    const Range all = r.neurons_of(part), mine = r.neurons_of(slice);
    const uint32_t begin = all.begin - mine.begin, count = all.end - all.begin;
    if (screened()) name_by_screen(slice, all.begin, begin, count, turn);
    else if (predicted()) name_by_prediction(slice, all.begin, begin, count, turn);
    else if (only) n.count[turn][0] = (uint32_t)(std::copy(only->list.data() + only->part_begin[part], only->list.data() + only->part_begin[part + 1], list_of(turn, 0)) - list_of(turn, 0));
  }

  void choose(const NeuronRows::Slice& slice, uint32_t part, uint32_t turn, Ahead ahead) {
    const Range all = r.neurons_of(part), mine = r.neurons_of(slice);
    const uint32_t begin = all.begin - mine.begin, count = all.end - all.begin;
    if (screened() || predicted() || only) {
      if (Capture* c = w.capture(); c && c->audit) audit(*c, slice, all.begin, begin, count);
      for (uint32_t t = 0; t < tokens; t++) confirm(slice, all.begin, begin, turn, t);
      return;
    }
    if (w.s.counting) n.bytes += (uint64_t)count * r.first_stride;
    // In a batch, 16 rows stay in L1 while the tokens pass over them.
    const uint32_t step = tokens == 1 ? count : 16;
    const Rows rows = firsts(slice, nullptr, begin, count);
    for (uint32_t i = 0; i < count; i += step)
      for (uint32_t t = 0; t < tokens; t++, ahead = {})
        w.k.dot_rows[(int)r.first]({rows.rows + (rows.list ? 0 : i * rows.stride), rows.stride, rows.list ? rows.list + i : nullptr, std::min(step, count - i),
                                    r.width, input(t), first_of(turn, t) + i, ahead});
    for (uint32_t t = 0; t < tokens; t++) {
      float* first = first_of(turn, t);
      if (!r.gated && !l.up_bias.empty()) w.k.add(first, l.up_bias.data() + all.begin, count);
      if (const Tap* tap = w.s.tap)
        std::copy_n(first, count, w.s.tap->first.data() + ((size_t)layer * tap->tokens + first_token + t) * r.neurons + all.begin);
      if (Capture* c = w.capture(); c && c->audit && plan.mlp != MlpRoute::dense) note_audited(*c, first, all.begin, count);
      n.count[turn][t] = select(first, count, begin, list_of(turn, t));
    }
  }

  // Which of a part's neurons say anything, whatever the plan makes of that; without true zeros, those above its threshold.
  void audit(Capture& c, const NeuronRows::Slice& slice, uint32_t global, uint32_t begin, uint32_t count) {
    float* first = c.lanes[w.lane].audit_gates.data();
    const Rows rows = firsts(slice, nullptr, begin, count);
    w.k.dot_rows[(int)r.first]({rows.rows, rows.stride, rows.list, count, r.width, input(0), first, {}});
    if (!r.gated && !l.up_bias.empty()) w.k.add(first, l.up_bias.data() + global, count);
    note_audited(c, first, global, count);
  }
  void note_audited(Capture& c, const float* first, uint32_t global, uint32_t count) {
    uint32_t* kept = n.kept.data();
    c.note_audited(w.lane, global, kept, zeros() ? w.k.select(first, count, 0, false, 0, kept) : select(first, count, 0, kept));
  }
  bool zeros() const { return w.model.spec.activation == Activation::relu || w.model.spec.activation == Activation::drelu; }
  // One token: what was computed of a part's chosen neurons.
  void note(Capture& c, const uint32_t* chosen, const float* first, uint32_t begin, uint32_t global, uint32_t some, const float* value) const {
    if (plan.mlp != MlpRoute::dense || !zeros()) {
      c.note_active(w.lane, layer, global, chosen, some, value, first - begin);
      return;
    }
    for (uint32_t j = 0; j < some; j++)
      if (first[chosen[j] - begin] > 0 || value[j] != 0) c.note_active(w.lane, layer, global, chosen + j, 1, value + j, first - begin);
      else c.note_idle(w.lane, layer, global + chosen[j]);
  }

  // Two tiers: a low-bit copy of the first rows names candidates, whose real rows decide.
  void name_by_screen(const NeuronRows::Slice& slice, uint32_t global, uint32_t begin, uint32_t count, uint32_t turn) {
    const uint32_t group = global / kLanes;
    float* scores = n.scores.data();
    w.rank(*screen, (uint32_t)(&slice - r.slices.data()), group, group + (count + kLanes - 1) / kLanes, ranked, tokens, scores, r.part_neurons);
    if (w.s.counting) n.bytes += screen->bytes() * count / r.neurons;
    for (uint32_t t = 0; t < tokens; t++)
      n.count[turn][t] = w.k.select(scores + (size_t)t * r.part_neurons, count, plan.score_threshold, false, begin, list_of(turn, t));
  }

  bool early() const { return w.tokens == 1 && predictor->source != PredictorSource::same && n.early_layer[layer % 2] == layer; }
  const float* remembered(PredictorSource source) const { return w.s.remembered_for(source, layer).data(); }

  // A predictor, which saw another vector, names the neurons: nothing else is read.
  void name_by_prediction(const NeuronRows::Slice& slice, uint32_t global, uint32_t begin, uint32_t count, uint32_t turn) {
    const bool known = early();
    float* scores = known ? n.early[layer % 2].data() + global : n.scores.data();
    if (!known) {
      const Slice& b = predictor->b.slices[(size_t)(&slice - r.slices.data())];
      w.k.matmul[(int)predictor->b.type]({b.group(global / kLanes), b.stride, (count + kLanes - 1) / kLanes, count, predictor->rank, hidden, 2 * tokens, scores, r.part_neurons, false});
    }
    for (uint32_t t = 0; t < tokens; t++) {
      float* of = scores + (size_t)t * r.part_neurons;
      if (!known) {
        w.k.add(of, of + (size_t)tokens * r.part_neurons, count);
        w.k.add(of, predictor->bias.data() + global, count);
      }
      n.count[turn][t] = w.k.select(of, count, plan.score_threshold, false, begin, list_of(turn, t));
      if (only) n.count[turn][t] = among(*only, global - begin, list_of(turn, t), n.count[turn][t]);
    }
  }

  // Computes the first rows of the neurons named and keeps those that let enough through.
  void confirm(const NeuronRows::Slice& slice, uint32_t global, uint32_t begin, uint32_t turn, uint32_t t) {
    float *first = first_of(turn, t), *value = n.up.data();
    uint32_t *chosen = list_of(turn, t), *kept = n.kept.data(), *candidates = n.candidates.data();
    const uint32_t named = n.count[turn][t];
    std::copy_n(chosen, named, candidates);
    const uint32_t lead = std::min(named, std::max(4u, (uint32_t)(8192 / r.first_stride)));  // rows asked for before they are used
    const Rows rows = firsts(slice, candidates, 0, named);
    w.k.dot_rows[(int)r.first]({rows.rows, rows.stride, rows.list, named, r.width, input(t), value, {rows.rows, rows.stride, r.first_stride, rows.list + lead, named - lead}});
    if (!r.gated && !l.up_bias.empty())
      for (uint32_t i = 0; i < named; i++) value[i] += l.up_bias[global - begin + candidates[i]];
    if (Capture* c = w.capture()) c->note_named(w.lane, layer, global - begin, candidates, named);
    const uint32_t count = select(value, named, 0, kept);
    for (uint32_t i = 0; i < count; i++) {
      chosen[i] = candidates[kept[i]];
      first[chosen[i] - begin] = value[kept[i]];
    }
    n.count[turn][t] = count;
    if (w.s.counting) n.named[layer] += named, n.bytes += (uint64_t)named * r.first_stride;
  }

  // Of a part's gates, those that are computed; `chosen` counts from the slice's first neuron.
  uint32_t select(const float* first, uint32_t count, uint32_t begin, uint32_t* chosen) const {
    const Activation act = w.model.spec.activation;
    // What is zero is skipped in a batch whatever the plan says: it changes no bit of the result. One dense token reads all, as dense means.
    if (plan.mlp == MlpRoute::dense && !(zeros() && w.tokens > 1)) {
      for (uint32_t i = 0; i < count; i++) chosen[i] = begin + i;
      return count;
    }
    const float threshold = plan.mlp == MlpRoute::dense ? 0 : plan.gate_threshold;
    if (zeros()) return w.k.select(first, count, threshold, false, begin, chosen);
    float* value = n.value.data();
    std::copy_n(first, count, value);
    w.k.activate[(int)act](value, count);
    return w.k.select(value, count, threshold, true, begin, chosen);
  }

  // Neurons that an edit gives a value, whatever their gates say, are computed with the others.
  void add_forced(const Edit* edit, const Edit* last, uint32_t begin, uint32_t global, uint32_t turn, uint32_t t) {
    uint32_t *chosen = list_of(turn, t), &count = n.count[turn][t];
    for (; edit != last; edit++) {
      const uint32_t neuron = edit->index - global;
      uint32_t* at = std::lower_bound(chosen, chosen + count, neuron);  // in their order, as a dense step adds them up
      if (edit->action != Edit::Action::force || (at != chosen + count && *at == neuron)) continue;
      first_of(turn, t)[neuron - begin] = 0;
      std::copy_backward(at, chosen + count, chosen + count + 1);
      *at = neuron;
      count++;
    }
  }

  void compute(const NeuronRows::Slice& slice, uint32_t part, uint32_t turn) {
    const uint32_t begin = r.neurons_of(part).begin - r.neurons_of(slice).begin, global = r.neurons_of(slice).begin;
    const int act = (int)w.model.spec.activation;
    const uint32_t together = this->together();
    const auto [edit, last_edit] = w.s.edits ? w.s.edits->neurons_in(layer, r.neurons_of(part).begin, r.neurons_of(part).end) : std::pair<const Edit*, const Edit*>{};
    for (uint32_t t = 0; t < tokens; t++) {
      if (edit != last_edit) add_forced(edit, last_edit, begin, global, turn, t);
      const uint32_t* chosen = list_of(turn, t);
      const float* first = first_of(turn, t);
      const uint32_t count = n.count[turn][t];
      float* acc = sums(t, part);
      std::fill_n(acc, r.columns.size(), 0.0f);
      const Rows rows = bundles(slice, chosen, count);
      float *value = n.value.data(), *up = n.up.data();
      for (uint32_t i = 0; i < count; i += together, value += together) {
        const uint32_t some = std::min(together, count - i);
        const uint32_t next = std::min(i + together, count), after = std::min(next + together, count);
        for (uint32_t j = 0; j < some; j++) value[j] = first[chosen[i + j] - begin];
        if (r.gated) {
          w.k.dot_rows[(int)r.up]({rows.rows, rows.stride, rows.list + i, some, r.width, input(t), up,
                                   bundles(slice, chosen, next, after, 0, r.down_offset)});
          if (!l.up_bias.empty())
            for (uint32_t j = 0; j < some; j++) up[j] += l.up_bias[global + chosen[i + j]];
          w.k.gate[act](value, up, some);
        } else {
          w.k.activate[act](value, some);
        }
        for (const Edit* e = edit; e != last_edit; e++)
          for (uint32_t j = 0; j < some; j++)
            if (global + chosen[i + j] == e->index) value[j] = edited(*e, value[j]);
        w.k.add_rows[(int)r.down]({rows.rows + r.down_offset, rows.stride, rows.list + i, value, some, r.width, acc,
                                  bundles(slice, chosen, next, after, r.down_offset, r.bundle_stride - r.down_offset)});
      }
      if (Capture* c = w.capture()) note(*c, chosen, first, begin, global, count, n.value.data());
      if (w.s.counting) n.computed[layer] += count, n.bytes += (uint64_t)count * r.bundle_stride;
    }
  }
};

// x += down(act(gate) * up), by neuron; between barriers, and ends with one.
inline void run_neurons(Lane& w, uint32_t layer, const LayerPlan& plan, const Activations& x) {
  const Layer& l = w.model.layers[layer];
  const NeuronRows& r = l.rows;
  const uint32_t width = r.width, places = (uint32_t)r.columns.size();
  const Norm& norm = l.post_ffn_norm;
  float* out = norm.present() ? w.s.branch.data() : w.s.x.data();
  const Range blocks = w.share_of((places + 15) / 16);
  const bool predicted = w.s.predictors && layer < w.s.predictors->mlp.size() && w.s.predictors->mlp[layer].present();
  const Predictor* predictor = predicted ? &w.s.predictors->mlp[layer] : nullptr;
  const Screen* screen = w.s.screens->gates.empty() ? nullptr : &w.s.screens->gates[layer];
  for (uint32_t first = 0; first < w.tokens; first += kNeuronTile) {
    const uint32_t tile = std::min(kNeuronTile, w.tokens - first);
    NeuronLane{w, l, r, plan, screen, predictor, w.s.neurons[w.lane], x, layer, first, tile}.run();
    w.pool.barrier();
    // This lane's places of every token: the parts in their order, then into x where their columns are.
    const uint32_t begin = blocks.begin * 16, count = std::min(blocks.end * 16, places) - begin;
    float* sum = w.s.lane[w.lane].f.data();
    for (uint32_t t = 0; t < tile; t++) {
      const float* part = w.s.parts.data() + (size_t)t * r.parts * places + begin;
      std::copy_n(part, count, sum);
      for (uint32_t p = 1; p < r.parts; p++) w.k.add(sum, part + (size_t)p * places, count);
      float* to = out + (size_t)(first + t) * width;
      for (uint32_t i = 0; i < count; i++) {
        const uint32_t c = r.columns[begin + i];
        if (c == width) continue;
        const float value = sum[i] + (l.down_bias.empty() ? 0 : l.down_bias[c]);
        to[c] = norm.present() ? value : to[c] + value;
      }
    }
    w.pool.barrier();
  }
  if (norm.present()) w.add_branch(norm);
}

}  // namespace hunch
