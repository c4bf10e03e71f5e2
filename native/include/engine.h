// The engine's only public header. Engine = one immutable model in memory; Session = one timeline with its own KV cache.
// Calls block; the addon and the tests bring their own threads. Nothing here throws.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace hunch {

// Codes are those of electron/contract/errors.ts; the message is a sentence a person can act on.
struct Status {
  std::string code;  // empty = fine
  std::string message;
  bool ok() const { return code.empty(); }
  static Status fine() { return {}; }
  static Status error(std::string code, std::string message) { return {std::move(code), std::move(message)}; }
};

enum class TensorType : uint8_t { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K, IQ4_NL };
constexpr size_t kTensorTypes = 12;
std::optional<TensorType> tensor_type_from_name(std::string_view name);
const char* tensor_type_name(TensorType type);

struct TensorInfo {
  std::string name;
  TensorType type;
  std::vector<uint64_t> shape;  // ggml order: shape[0] is contiguous
  uint64_t offset;              // bytes from the start of the file
};

// Of a gated MLP: act(gate) * up; drelu (TurboSparse, Song 2024): relu(gate) * relu(up).
enum class Activation : uint8_t { silu, gelu, relu, drelu };
constexpr size_t kActivations = 4;
enum class RopeStyle : uint8_t { none, interleaved, neox };  // pairs (2i, 2i+1) or (i, i + width/2)
enum class RopeScaling : uint8_t { none, linear, yarn };

// Rotary positions of one kind of layer (Su 2021). Frequencies: base^(-2i/width), then scaled.
struct RopeSpec {
  float base = 10000;
  RopeScaling scaling = RopeScaling::none;
  float factor = 1;               // the context is `factor` times the trained one
  uint32_t original_context = 0;  // yarn (Peng 2023)
};

// A GGUF header, read and checked in TypeScript; checked again here against the real file.
struct ModelSpec {
  std::string path;
  std::string architecture;
  uint32_t layers = 0;
  uint32_t width = 0;      // d_model
  uint32_t ffn_width = 0;  // neurons per layer
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_width = 0;
  uint32_t vocabulary = 0;
  uint32_t trained_context = 0;
  float norm_epsilon = 0;
  Activation activation = Activation::silu;
  uint32_t rope_width = 0;  // rotated dimensions of a head
  RopeSpec rope;
  // Sliding-window layers see the last `window` positions and may rotate differently; every `window_pattern`-th layer is full. 0 = none.
  uint32_t window = 0;
  uint32_t window_pattern = 0;
  RopeSpec window_rope;
  float attention_scale = 0;  // 0 = 1 / sqrt(head_width)
  std::vector<TensorInfo> tensors;
};

enum class Isa : uint8_t { scalar, avx2, avx512, neon };
const char* isa_name(Isa isa);
std::vector<Isa> supported_isas();  // best first
unsigned physical_cores();          // that this process may use

struct LoadOptions {
  unsigned threads = 0;    // 0 = one per physical core
  std::optional<Isa> isa;  // default: the best this CPU has
  // Also keep the MLPs of models without true zeros by neuron, so that they can skip neurons: two thirds more memory for them.
  bool by_neuron = false;
  std::function<void(float)> progress;
};

struct ModelInfo {
  Isa isa;
  unsigned threads;
  uint64_t weight_bytes_per_token;
  uint64_t parameter_count;
  double load_ms;
};

// How a layer's MLP runs. dense: everything is read. exact: all gate rows, then up and down of the neurons whose gate lets anything through.
// screened: a low-bit copy of the gate names the neurons (SparseInfer, Shin 2024). predicted: a predictor does, earlier (DejaVu, Liu 2023).
enum class MlpRoute : uint8_t { dense, exact, screened, predicted };

struct LayerPlan {
  MlpRoute mlp = MlpRoute::dense;
  float gate_threshold = 0;   // a neuron whose |act(gate)| does not exceed it is skipped (CATS, Lee 2024); 0: only what is zero anyway
  float score_threshold = 0;  // screened, predicted: a neuron whose score does not exceed it is not read
  std::optional<float> head_threshold;  // heads whose predicted score does not exceed it are skipped
};

// One place of the slider.
struct Plan {
  std::vector<LayerPlan> layers;
  uint32_t vocabulary_bits = 0;  // 0: the whole output head; 2, 4: logits come from a copy of so many bits, …
  float vocabulary_margin = 0;   // … and those within this of the best one are recomputed
  uint32_t correct_every = 0;    // tokens after which the keys and values of these tokens are written again densely (Sirius, Zhou 2024); 0 = never
};

struct GenerateOptions {
  float temperature = 0;  // 0 = greedy
  uint32_t top_k = 0;     // 0 = off
  float top_p = 1;        // 1 = off
  float min_p = 0;        // 0 = off
  float repeat_penalty = 1;
  uint32_t repeat_last_n = 64;
  uint32_t seed = 0;
  uint32_t max_tokens = 0;
  std::vector<int32_t> stop_tokens;
  // Lossless speculation: this plan drafts (null: only repeated phrases do), dense batches verify. The session's own plan is not used then.
  bool speculate = false;
  std::shared_ptr<const Plan> draft;
};

enum class StopReason : uint8_t { stop_token, max_tokens, context_full, cancelled };

struct GenerateResult {
  StopReason reason = StopReason::max_tokens;
  uint32_t prompt_tokens = 0;
  uint32_t cached_tokens = 0;
  uint32_t generated_tokens = 0;
  uint32_t drafted_tokens = 0, accepted_tokens = 0;  // by speculation
  double prefill_ms = 0;
  double decode_ms = 0;
};

struct GenerateEvents {
  std::function<void(uint32_t done, uint32_t total)> prefill;
  std::function<void(int32_t id)> token;
};

// Which vector a predictor reads: the input of the layer before's MLP, of this layer's attention, or of this layer's MLP.
enum class PredictorSource : uint8_t { previous, attention, same };

// score[row] = bias + b · (relu?) (a · input); rows are neurons or heads.
struct LowRankPredictor {
  PredictorSource source = PredictorSource::same;
  uint32_t rank = 0;
  bool relu = false;
  std::vector<float> a;     // [rank][width]
  std::vector<float> b;     // [rows][rank]
  std::vector<float> bias;  // [rows], or empty
};

struct Predictors {
  std::vector<std::optional<LowRankPredictor>> mlp, heads;  // by layer
};

// A plan beside another on the same text; sums over positions.
struct Comparison {
  uint32_t positions = 0;
  double nll = 0, reference_nll = 0;  // nats
  double kl = 0;                      // KL(reference ‖ tested), nats
  uint32_t agree = 0;                 // positions with the same likeliest token
};

// What decode steps computed since the last call.
struct Activity {
  uint64_t tokens = 0, bytes = 0;  // bytes of weights read
  std::vector<uint64_t> computed, named, heads;  // by layer: neurons whose up and down were read, neurons named before, heads; sums over tokens
  double predictor_seconds = 0, seconds = 0;     // of the first lane
};

class Engine;

class Session {
 public:
  ~Session();
  // Runs what the KV cache does not hold of `prompt`, densely, then samples. `cancel` ends it within one token.
  Status generate(std::span<const int32_t> prompt, const GenerateOptions& options, const GenerateEvents& events,
                  const std::atomic<bool>& cancel, GenerateResult& result);
  // How decode steps and scores run from the next token on; null = dense. May be called while another thread generates.
  Status set_plan(const Plan* plan);
  // nll[i] = -ln p(tokens[from+i+1] | tokens[0..from+i]), size tokens.size()-1-from. What the cache already holds of tokens[0..from) is
  // not run again. greedy[i] = 1 where tokens[from+i+1] is the likeliest token (the first of equals).
  Status score(std::span<const int32_t> tokens, uint32_t from, std::vector<float>& nll, std::vector<uint8_t>* greedy = nullptr);
  // This session's plan (tested) beside `reference` (null = dense), which runs in `other`, a session of the same engine: scores
  // tokens[from + 1 …]. Both sessions hold these tokens afterwards.
  Status compare(Session& other, const Plan* reference, std::span<const int32_t> tokens, uint32_t from, Comparison& out);
  Activity activity();
  // Logits [vocabulary] after the last token, from an empty cache.
  Status logits(std::span<const int32_t> tokens, std::vector<float>& out);
  // Times a prefill and single steps after `depth` tokens of context, which are not timed and stay in the cache for the next call. text: the
  // tokens to run, repeated when there are too few (empty: fixed ids, which exercise a dense model as any text does, a sparse one not).
  Status bench(uint32_t prompt_tokens, uint32_t decode_tokens, double& prefill_ms, double& decode_ms, uint32_t depth = 0,
               std::span<const int32_t> text = {});

 private:
  friend class Engine;
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  static Status load(const ModelSpec& spec, const LoadOptions& options, std::shared_ptr<Engine>& out);
  ~Engine();
  const ModelInfo& info() const;
  Status new_session(uint32_t context_length, std::unique_ptr<Session>& out);
  // Replaces all predictors; sessions use them from their next token on. Errors: bad-request (shapes, values that are no numbers), out-of-memory.
  Status set_predictors(const Predictors& predictors);

 private:
  friend class Session;
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// GB/s (1e9) that `threads` threads read from a buffer of `bytes`; median of several passes. 0 when it cannot be allocated.
double read_bandwidth(unsigned threads, uint64_t bytes);

}  // namespace hunch
