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
  // "cpu", "cuda" (an error where that cannot be) or "auto" (the CPU where it cannot, with the reason in ModelInfo). The CPU's model is loaded all the same.
  std::string device = "cpu";
  uint64_t gpu_budget = 0;  // bytes of the GPU's memory that weights may take; 0 = what is free beside a conversation. A larger model is divided between GPU and CPU.
  std::vector<std::vector<float>> frequencies;  // [layers][neurons] share of tokens that each is active in, to divide by; empty: not measured
  uint64_t memory_budget = 0;  // bytes of main memory that weights may take; neurons beyond it come from disk as tokens need them. 0 = all are kept
  std::string neuron_file;     // where those neurons lie, made when it is first needed; empty: the model's path with .neurons behind it
  std::function<void(float)> progress;
};

struct ModelInfo {
  Isa isa;
  unsigned threads;
  uint64_t weight_bytes_per_token;
  uint64_t parameter_count;
  double load_ms;
  std::string device, device_note;  // the GPU's name, empty on the CPU; why no GPU is used although one was asked for, or how the model was divided
  uint64_t gpu_bytes = 0;           // of the GPU's memory that the weights take
};

// Where the neurons of a model lie now, and what fetching them cost since the last call.
struct Residency {
  std::vector<uint32_t> gpu, memory, disk;  // by layer: neurons on the GPU, else in main memory, else on disk only
  uint64_t gpu_bytes = 0, memory_bytes = 0, disk_bytes = 0;  // of weights there
  uint64_t hits = 0, misses = 0, read_bytes = 0;  // neurons asked for that were in memory; that were not; bytes read from disk
  double waited_seconds = 0;                      // that tokens stood still for the disk
};

struct GpuInfo {
  std::string name;
  uint64_t memory = 0;    // bytes
  int capability = 0;     // 75 = 7.5
  bool usable = false;
  std::string problem;    // a sentence; empty where usable
};
struct GpuReport {
  bool built = false;     // with CUDA kernels
  std::string driver;     // the CUDA version that NVIDIA's driver offers; empty without one
  std::vector<GpuInfo> gpus;
  std::string problem;    // why there is none
};
// What GPUs there are and why one cannot be used. Asks the driver; never fails.
GpuReport gpus();

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
  // frame: of the step whose logits the token was drawn from, while captured (electron/contract/frames.ts); empty where a batch gave it.
  std::function<void(int32_t id, std::span<const uint8_t> frame)> token;
};

enum class CaptureMode : uint8_t { off, summary, full };  // full: also a record of every neuron in the engine's ring
struct CaptureOptions {
  CaptureMode mode = CaptureMode::off;
  uint32_t audit_every = 0;  // tokens after which a step also looks at what it skips; 0 = never
};

// What a neuron's act(gate) * up, or the norm of what a head attends to, becomes: 0, at most |value|, or value.
struct Edit {
  enum class Kind : uint8_t { neuron, head } kind = Kind::neuron;
  uint32_t layer = 0, index = 0;
  enum class Action : uint8_t { off, clamp, force } action = Action::off;
  float value = 0;
};

// The likeliest next tokens by layer: [layers][top], likeliest first.
struct Lens {
  std::vector<int32_t> ids;
  std::vector<float> probabilities;
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
  // What decode steps note down from the next token on. May be called while another thread generates. A session of a GPU runs replies that begin while
  // something is noted down on the CPU.
  void set_capture(const CaptureOptions& options);
  // Changes every pass from the next one on; empties the cache's claim on earlier text, which was run otherwise. Errors: bad-request (an index).
  Status set_edits(std::span<const Edit> edits);
  // Runs tokens[0, from) as a prompt, then the others as the decode steps they would have been; `token` gets tokens[from …] with their frames.
  // nll[i] = -ln p(tokens[from + i]). Errors: bad-request, context-overflow, cancelled, out-of-memory.
  Status trace(std::span<const int32_t> tokens, uint32_t from, const std::function<void(int32_t id, std::span<const uint8_t> frame)>& token,
               const std::atomic<bool>& cancel, std::vector<float>& nll);
  // What the residual stream after each layer, at the last of `tokens`, would say next: through the final norm and the output head
  // (nostalgebraist 2020). Dense; top <= 1000.
  Status lens(std::span<const int32_t> tokens, uint32_t top, Lens& out);
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

struct CalibrationOptions {
  std::vector<PredictorSource> sources = {PredictorSource::attention};  // that predictors will be fitted for
  bool heads = false;                     // predictors of heads, too: they read `previous`
  uint32_t context_length = 1024;         // the longest window
  uint64_t sample_bytes = 512ull << 20;   // of captured tokens kept for fine-tuning; the oldest go first
  uint32_t held_out_tokens = 2048;        // kept apart, to judge by: every tenth run of 32 tokens, a fair choice of all
  uint64_t moment_bytes = 8ull << 30;     // most that the sums may take: two matrices [width][width] a layer
  unsigned threads = 0;                   // of a low priority; 0 = half of the physical cores, at least one
};

// What was captured so far. The first token of a window is not counted: nothing comes before it, and no chat has another like it.
struct LayerStatistics {
  double density = 0;                     // share of neurons that are not zero
  std::vector<float> frequency;           // [neurons] share of tokens in which each is not zero
  std::vector<float> gate_quantiles;      // [21] of |act(gate)| at 0, 5 … 100 % of all neurons
  std::vector<float> head_quantiles;      // [21] of a head's norm over its layer's mean norm; empty without `heads`
};
struct CalibrationStatistics {
  uint64_t tokens = 0;
  uint32_t sample_tokens = 0, held_out_tokens = 0;
  std::vector<LayerStatistics> layers;
};

// A gate threshold and what it costs: neurons whose |act(gate)| does not exceed it are dropped.
struct GateThreshold {
  float threshold = 0;
  float density = 0;                     // share of all neurons that stays
  float dropped_neurons = 0, dropped_mass = 0;  // shares of the active neurons, and of the sum of |act(gate)|
};

struct FitOptions {
  PredictorSource source = PredictorSource::attention;  // layer 0 has no layer before it and reads `attention` instead of `previous`
  uint32_t rank = 64;
  uint32_t head_rank = 0;         // 0: no predictors of heads
  bool relu = false;              // between the factors; only fine-tuning makes use of it
  float dropped_mass = 0;         // active = above the gate threshold that drops this share of the mass; models without true zeros need one
  double fine_tune_seconds = 0;   // of this call; 0 with 0 steps: the closed form alone
  uint64_t fine_tune_steps = 0;   // of this call and each layer, of 256 tokens; 0: as the seconds allow
};

struct FitProgress {
  double fraction = 0, seconds = 0;
  double loss = 0;           // mean over layers of the weighted logistic loss per neuron on held-out tokens
  uint32_t done_layers = 0;  // layers whose loss no longer falls
  uint64_t steps = 0;        // least of any layer, over all calls
};

// What a score threshold of a fitted predictor names on held-out tokens.
struct ScoreThreshold {
  float threshold = 0;
  float density = 0;                  // share of neurons (heads) named
  float recall = 0, mass_recall = 0;  // shares of the active neurons that are named, and of their |act(gate)|; of heads: both of their norms
};

// Listens to the model on text, and fits predictors and thresholds to what it heard. Calls of one calibration wait for each other;
// sessions go on between its passes.
class Calibration {
 public:
  ~Calibration();
  // Runs a window from an empty cache and adds it. Errors: bad-request, context-overflow, cancelled (what has run is kept), model-invalid
  // (activations that are no numbers; nothing of that batch is kept), out-of-memory.
  Status capture(std::span<const int32_t> tokens, const std::atomic<bool>& cancel);
  CalibrationStatistics statistics() const;
  // Fits predictors of all layers. Fine-tuning goes on where a call with the same source, rank and options left it. Cancelled, it returns
  // `cancelled` and sets `out` to the best so far (if the closed form is done). Errors: bad-request (too little captured, another source).
  Status fit(const FitOptions& options, const std::function<void(const FitProgress&)>& progress, const std::atomic<bool>& cancel, Predictors& out);
  // The predictors fitted last, or what fine-tuning had of them when it was cancelled or saved. Errors: bad-request (none yet).
  Status fitted(Predictors& out) const;
  // By layer, of the predictors fitted last, the highest threshold with this recall (0 … 1); by_mass: of |act(gate)|, else of neurons.
  Status thresholds(float recall, bool by_mass, std::vector<ScoreThreshold>& out) const;
  // The same for the predictors of heads: the highest threshold whose heads hold this share of the norms.
  Status head_thresholds(float share, std::vector<ScoreThreshold>& out) const;
  // By layer, the highest gate threshold that drops at most this share (0 … 1) of the mass.
  Status gate_thresholds(float mass, std::vector<GateThreshold>& out) const;
  // What other predictors of this model's MLPs name on the held-out tokens, at the highest threshold with this recall. Errors: bad-request
  // (shapes, an input that was not captured). Layers without a predictor: zeros.
  Status judge(const Predictors& predictors, float recall, bool by_mass, std::vector<ScoreThreshold>& out) const;
  // Without training: the truncated SVD of every gate, as a predictor of the source `same`. weighted: errors count as the captured inputs
  // come, which needs the source `same`.
  Status factor_gates(uint32_t rank, bool weighted, Predictors& out) const;
  // All that was captured and fitted, including where fine-tuning stands. Errors: disk-full, not-found, bad-request (another model, a damaged file).
  Status save(const std::string& path) const;
  Status restore(const std::string& path);

 private:
  friend class Engine;
  struct Impl;
  explicit Calibration(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

class Engine : public std::enable_shared_from_this<Engine> {
 public:
  static Status load(const ModelSpec& spec, const LoadOptions& options, std::shared_ptr<Engine>& out);
  ~Engine();
  const ModelInfo& info() const;
  Residency residency();
  Status new_session(uint32_t context_length, std::unique_ptr<Session>& out);
  // Replaces all predictors; sessions use them from their next token on. Errors: bad-request (shapes, values that are no numbers), out-of-memory.
  Status set_predictors(const Predictors& predictors);
  // What the packed predictor of a layer's MLP (or heads) says of inputs [n][width]: scores [n][rows], to compare it with another program that runs
  // it. Errors: bad-request (no such predictor, sizes).
  Status predict(uint32_t layer, bool heads, std::span<const float> inputs, std::vector<float>& scores);
  // Where records of all sessions go: a file of at most so many bytes, the ring's alone; 0 = nowhere. Errors: disk-full.
  Status set_ring(const std::string& path, uint64_t bytes);
  // The record (electron/contract/frames.ts) of the step with this sequence number; false = not kept.
  bool record(uint32_t sequence, std::vector<uint8_t>& out);
  // Errors: bad-request (no sources; MLPs whose neurons are not apart), out-of-memory.
  Status new_calibration(const CalibrationOptions& options, std::unique_ptr<Calibration>& out);

 private:
  friend class Session;
  friend class Calibration;
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// GB/s (1e9) that `threads` threads read from a buffer of `bytes`; median of several passes. 0 when it cannot be allocated.
double read_bandwidth(unsigned threads, uint64_t bytes);

}  // namespace hunch
