// The forward pass and the memory it works in.
#pragma once

#include <array>
#include <atomic>
#include <span>

#include "capture.h"
#include "edits.h"
#include "kv_cache.h"
#include "model.h"
#include "predictors.h"
#include "rope.h"
#include "screens.h"

namespace hunch {

constexpr uint32_t kBatch = 256;     // tokens per prefill pass: enough to hide the weight reads, few enough for L2
constexpr uint32_t kNeuronTile = 16; // tokens whose sums over the parts of an MLP by neuron are held at once
constexpr uint32_t kLogitTile = 16;  // positions whose logits are held at once when scoring

// Quantised and float form of one activation matrix.
struct ActivationBuffer {
  std::vector<float> f;
  std::vector<int8_t> q;
  std::vector<float> d;
  std::vector<int32_t> sum;
  void resize(uint32_t tokens, uint32_t cols);
  Activations view() const { return {f.data(), q.data(), d.data(), sum.data()}; }
};

// What a lane works in while it runs an MLP by neuron: two parts at a time (of neurons on disk, all of a slice), of up to kNeuronTile tokens.
struct NeuronScratch {
  RowInputBuffer input;                       // [kNeuronTile]
  std::vector<std::vector<float>> first;      // [parts][kNeuronTile][part_neurons] gate, or up where there is no gate
  std::vector<std::vector<uint32_t>> list;    // [parts][kNeuronTile][part_neurons] chosen neurons, counted from the slice's first
  std::vector<std::array<uint32_t, kNeuronTile>> count;
  std::vector<uint32_t> slots;                // [part_neurons] where the store has the neurons at hand
  std::vector<uint32_t> candidates;           // [vocabulary or part_neurons] rows that a low-bit copy names
  std::vector<float> value, up;               // [part_neurons] of the chosen
  std::vector<float> scores;                  // [2 kNeuronTile][part_neurons] what a low-bit copy or a predictor says
  std::vector<uint32_t> kept;                 // [part_neurons]
  std::vector<float> hidden;                  // [kNeuronTile][rank] what a predictor's first factor gives
  HiddenInput hidden_input;                   // the same, quantised
  std::vector<float> early[2];                // [2][neurons] scores of a layer that were computed ahead of it; layers take turns
  uint32_t early_layer[2] = {~0u, ~0u};
  std::vector<Ahead> ahead;                   // the rows it named
  std::vector<uint64_t> computed, named;      // [layers] neurons, over decode steps
  uint64_t bytes = 0;                         // of weights of MLPs by neuron and of the output head, over decode steps
  uint64_t predictor_ns = 0;
};

// Which heads a lane computes in the layer at hand; empty = all.
struct HeadScratch {
  std::vector<uint8_t> mask;       // [tokens][heads]
  std::vector<uint8_t> early;      // the same for the layer to come, named by the layer before's MLP input
  uint32_t early_layer = ~0u;
  std::vector<uint32_t> blocks;
  std::vector<float> scores;       // [2][heads padded to 16]
  std::vector<uint8_t> silenced;   // [heads] on audit tokens, the mask: all heads are computed, and those without 1 are then silenced
  std::vector<uint64_t> computed;  // [layers] heads, over decode steps; lane 0
};

// What a pass saw, for calibration: of every layer and every token of the batch, up to `tokens` of them.
struct Tap {
  uint32_t tokens = 0;
  std::vector<float> attention_in, mlp_in;  // [layers][tokens][width] inputs of the attention and of the MLP, normalised
  std::vector<float> first;                 // [layers][tokens][neurons] gate (up where there is no gate) before its activation; MLPs by neuron that compute all of it
  std::vector<float> heads;                 // [layers][tokens][heads] norm of what a head attends to
  std::vector<float> output_in;             // [tokens][width] input of the output head, normalised; only of tokens whose logits are asked for
  void resize(const ModelSpec& spec, uint32_t tokens);
};

// Buffers of one session, sized once: forward() allocates nothing.
struct Scratch {
  std::vector<float> x;                // [kBatch][width] the residual stream
  std::vector<float> qkv;              // [kBatch][(heads + 2 kv_heads) head_width]
  std::vector<float> attention;        // [kBatch][heads * value_stride]
  std::vector<float> gate, up;         // [kBatch][ffn_width]
  std::vector<float> branch;           // [kBatch][width], where a norm stands between branch and residual
  RopeTable rope, window_rope;
  std::vector<float> partial_max, partial_sum, partial_acc;  // decode: [heads][chunks], [heads][chunks][value_stride]
  ActivationBuffer batch;              // shared by all lanes (prefill)
  std::vector<ActivationBuffer> lane;  // one per lane (decode)
  std::vector<NeuronScratch> neurons;  // one per lane
  std::vector<HeadScratch> heads;      // one per lane
  std::vector<float> hidden;           // [rank] what a predictor's first factor gives; one token
  // [kBatch][width] what a layer's predictor reads, batches only: of the source previous in turns by layer, since one lane fills the next layer's while another reads; attention.
  std::vector<float> remembered[3];
  std::vector<float>& remembered_for(PredictorSource source, uint32_t layer) { return remembered[source == PredictorSource::attention ? 2 : layer & 1]; }
  std::vector<float> parts;            // [kNeuronTile][parts][row_places] sums of an MLP by neuron
  std::vector<float> logits;           // [kLogitTile][vocabulary]
  std::vector<ActivationBuffer> ranked;  // one per lane: inputs of low-bit copies, of up to kNeuronTile or kLogitTile tokens
  std::vector<float> best;             // [lanes][kLogitTile] highest logits, while a low-bit copy of the head is refined
  const Screens* screens = nullptr;    // the model's
  const PredictorSet* predictors = nullptr;  // the model's; null = none
  Tap* tap = nullptr;                  // where a calibration listens
  Capture* capture = nullptr;          // notes down decode steps while it is on
  const Edits* edits = nullptr;
  float* residuals = nullptr;          // [layers][width] one token: the residual stream after each layer
  bool counting = false;               // a decode step: what it computes is counted
  std::atomic<bool> abandoned{false};

  void allocate(const Model& model, uint32_t context, unsigned lanes);
};

enum class Logits { none, last, all };  // all: of up to kLogitTile tokens

// Runs tokens at positions [position, position + tokens.size()) and leaves the residual stream in scratch.x and, if asked, the last token's
// logits in scratch.logits[0 … vocabulary), or all tokens' one after the other. tokens.size() is 1 … kBatch and the positions lie within the cache.
// plan: null = dense. active_lanes: 0 = all. layers: only the first so many. Returns false when `cancel` was seen or the model's store failed; the positions
// are then not in the cache.
bool forward(const Model& model, Pool& pool, KvCache& kv, Scratch& scratch, std::span<const int32_t> tokens, uint32_t position,
             const Plan* plan, Logits logits, const std::atomic<bool>& cancel, unsigned active_lanes = 0, uint32_t layers = ~0u);

// The logits that a residual stream x [width] would give, densely, in scratch.logits [vocabulary].
void output_logits(const Model& model, Pool& pool, KvCache& kv, Scratch& scratch, const float* x);

// -ln softmax(logits [vocabulary])[target], nats.
float surprise(const Kernels& k, const float* logits, uint32_t vocabulary, int32_t target);

// nll[i] = -ln softmax(logits of scratch.x[first + i])[targets[i]], after a forward() of the same batch; greedy[i] (unless null) = 1 where
// targets[i] is the argmax.
void score_batch(const Model& model, Pool& pool, KvCache& kv, Scratch& scratch, const Plan* plan, uint32_t first, std::span<const int32_t> targets, float* nll,
                 uint8_t* greedy);

// Adds to `out` how the logits of two scratches differ that ran the same batch.
void compare_batch(const Model& model, Pool& pool, KvCache& kv, Scratch& tested, const Plan* tested_plan, Scratch& reference, const Plan* reference_plan,
                   uint32_t first, std::span<const int32_t> targets, Comparison& out);

}  // namespace hunch
