// What the host tells the token kernel: a list of stages in device memory. Plain structs, read by both sides.
//
// A token is one launch of one persistent kernel, a block to each multiprocessor, which walks the list; between two stages stands a barrier
// of the whole grid. Thresholds, the position and the tokens are device memory: moving the slider is a copy, never a new graph.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define HUNCH_BOTH __host__ __device__
#else
#define HUNCH_BOTH
#endif

namespace hunch::cuda {

constexpr uint32_t kWarps = 8;           // that compute; one more asks for weights
constexpr uint32_t kThreads = kWarps * 32;
constexpr uint32_t kBlockThreads = kThreads + 32;
constexpr uint32_t kHeld = 4;            // groups of four columns of a stage's vector that a thread holds at once
constexpr uint32_t kLanes = 8;            // lanes of a warp that hold a part of a row's sum
constexpr uint32_t kSums = 2048;         // floats of a block for sums of rows by part of the columns and lane
constexpr uint32_t kMaxSegments = 4;
constexpr uint32_t kMaxHeadWidth = 256;
constexpr uint32_t kMaxHeads = 256;
constexpr uint32_t kMaxSlots = 32;       // of a block's ring
constexpr uint32_t kOrders = 16;         // runs of rows that the warp that asks is ahead, at most
constexpr uint32_t kStageSlots = 8;      // stages that a block knows of at once
constexpr uint32_t kOwn = 2048;          // most neurons of a layer that belong to one block
constexpr uint32_t kMaxWidth = 8192;    // of a model whose MLPs run by neuron
constexpr uint32_t kDownRows = 4;        // rows of down projections by neuron in a slot of the ring, at most

// Weights are repacked at upload into rows of `stride` bytes, a multiple of 16. A row is cut into pieces, one for each thread of a warp: 8 columns of a float
// type, a block of 32 columns of a quantised one. 32 pieces make a chunk; in a chunk lie first the 16-byte planes (all pieces' first, then all pieces' second),
// so that a warp reads straight lines. After all chunks comes each piece's side: its scale, its minimum, its fifth bits.
enum class Format : uint32_t {
  f32,          // 8 columns: 2 planes of 4 floats
  f16, bf16,    // 8 columns: 1 plane
  nibbles,      // Q4_0: byte i has column i and, above, column i + 16, both plus 8; side f16 d
  nibbles_min,  // Q4_1, Q4_K: the same without the 8; side f16 d, f16 minimum
  fives,        // Q5_0, Q5_1, Q5_K: the same; side f16 d, f16 minimum, u32 of fifth bits
  bytes,        // Q8_0, IQ4_NL: int8 in 2 planes; side f16 d
  sixes,        // Q6_K: int8 in 2 planes; side f16 d of the first and of the last 16 columns
};
constexpr uint32_t kFormats = 8;

HUNCH_BOTH constexpr bool is_float(Format f) { return f <= Format::bf16; }
HUNCH_BOTH constexpr uint32_t piece_columns(Format f) { return is_float(f) ? 8 : 32; }
HUNCH_BOTH constexpr uint32_t planes(Format f) { return f == Format::f32 || f == Format::bytes || f == Format::sixes ? 2 : 1; }
HUNCH_BOTH constexpr uint32_t side_bytes(Format f) {
  return is_float(f) ? 0 : f == Format::nibbles || f == Format::bytes ? 2 : f == Format::fives ? 8 : 4;
}
HUNCH_BOTH constexpr uint32_t pieces(Format f, uint32_t cols) { return (cols + piece_columns(f) - 1) / piece_columns(f); }
HUNCH_BOTH constexpr uint32_t piece_bytes(Format f) { return 16 * planes(f) + side_bytes(f); }
HUNCH_BOTH constexpr uint32_t row_stride(Format f, uint32_t cols) {
  return (pieces(f, cols) * piece_bytes(f) + 15) / 16 * 16;
}

struct Matrix {
  const uint8_t* data;
  uint32_t rows, cols;
  uint32_t stride;  // bytes between rows
  uint32_t pair;    // 0, or: rows 2i and 2i + 1 lie `stride` * i and `pair` bytes further (gate and up of a neuron)
  Format format;
  uint32_t pieces;
};

struct Norm {
  const float* weight;  // null: none
  const float* bias;    // null: RMSNorm
};

HUNCH_BOTH constexpr uint32_t power_above(uint32_t n) {  // the power of two from n on
  uint32_t p = 1;
  while (p < n) p *= 2;
  return p;
}
enum class Epilogue : uint32_t {
  store,     // out[r] = sum + bias
  add,       // out[r] += sum + bias
  activate,  // out[r] = act(sum + bias)
  gate,      // rows come in pairs: out[r / 2] = act(gate) * up
  logits,    // out[r] = sum, and the block's best, its maximum and its sum of exponentials
  select,    // neurons whose gate lets enough through join the block's list, with their gate
};

enum class Act : uint32_t { silu, gelu, relu, drelu };

// How rows go through a block's ring, a tile a slot: several rows, or (parts > 1) a part of the columns of several.
struct Tiles {
  uint32_t rows, parts;
  uint32_t part_pieces;  // of every part but the last
  uint32_t row_bytes;    // a multiple of 16
  uint32_t run;          // rows that lie side by side in memory: 0 = all, 2 = a neuron's gate and up, 1 = none
  uint32_t pass;         // rows whose sums have room at once; even
};

struct Segment {
  Matrix matrix;
  Tiles tiles;
  const float* bias;
  float* out;
  Epilogue epilogue;
  uint32_t by_heads;  // its rows are those of the heads that the stage's selection keeps
};

// Scores of a layer's neurons by a predictor's second factor: those above the threshold become the list of the block that owns them.
struct Scores {
  Matrix matrix;        // [neurons][rank]; null: none
  Tiles tiles;
  const float* bias;
  const float* hidden;  // [rank]
  uint32_t rank, relu;
  uint32_t early;       // `hidden` was there before the stage before: the barrier need not be passed
};

// Which code makes the vector; the host sees which shorter one will do (kernels/cuda/vector.cuh).
enum class Way : uint32_t { any, normed, plain, joined };

enum class Source : uint32_t { none, embedding, residual, vector, attention };

// Heads of a layer that are computed: score = bias + b · relu?(hidden) > *threshold. Every block works it out for itself.
struct HeadChoice {
  const float* b;       // [heads][rank]; null: no choice, all heads
  const float* bias;    // [heads]
  const float* hidden;  // [rank]
  const float* threshold;
  uint32_t rank, relu;
};

// What a stage has to do with the CPU, which computes what the GPU's memory does not hold (host_turn.cuh, src/cuda/cold.h).
constexpr uint32_t kPosts = 2;  // what may be posted: 0 what a predictor's first factor gave, 1 the residual stream before an MLP
struct HostStage {
  const float* post;   // [post_n], a multiple of 4: sent to the CPU as soon as the stage before is done; null: nothing
  uint32_t post_n, post_as;
  uint32_t turn;       // of the token's turns, counted from 1: flags hold position * turns + turn, which only grows while a text runs
  float* answer;       // [width] where the CPU's answer goes, for which the stage waits before it ends; null: it does not wait
};
// Mapped memory that both sides see; flags lie in cache lines of their own.
struct HostShared {
  float* posted[kPosts];         // [width or rank]
  uint32_t* asked[kPosts];       // number of the turn that was posted
  const float* answer;           // [width]
  const uint32_t* answered;      // number of the turn that `answer` belongs to
  uint32_t* late;                // set by the kernel when it gave up waiting
  uint32_t turns;                // of a token
  unsigned long long limit_ns;   // that the kernel waits for an answer
};

// What the walk calls: a vector times some matrices, attention, or whatever else the stage says.
enum class Kind : uint32_t { plain, attention, other };

struct alignas(16) Stage {
  Kind kind;
  // The vector that the stage multiplies.
  Source source;
  Way way;
  uint32_t n;            // its length
  uint32_t want_float, want_quantised;
  const float* x;        // residual, vector
  float* x_out;          // where the residual goes that the branch was added to; null: nothing was added
  const float* branch;   // added to the residual, after its norm
  Norm branch_norm, norm;
  Matrix embedding, positions;
  float scale;           // of embeddings
  uint32_t position_offset;
  uint32_t relu;         // vector: of its values

  uint32_t segments;
  Segment segment[kMaxSegments];
  Act act;
  const float* thresholds;    // gate, score
  Scores scores;

  HeadChoice heads;
  uint32_t kept_heads;        // the layer computes the heads that its first stage chose; 0: all
  uint32_t choose_heads;      // this stage makes the choice; 2: before the barrier

  // attention
  uint32_t attention;
  uint32_t most_splits;       // parts that a layer's positions are cut into, at most
  float* qkv;                 // [(heads + 2 kv_heads) head_width]
  uint16_t *keys, *values;    // this layer's [kv_heads][context][head_width]
  Norm q_norm, k_norm;
  const float *cosine, *sine; // [context][rope_width / 2]; null: no rotation
  uint32_t rope_width, neox, window;
  float query_scale;          // with log2 e

  // An MLP by neuron. Each block owns an even share of the neurons: it chooses among them and computes the chosen ones, so that no list goes from block to block.
  uint32_t neurons;           // 0 none, 1 those that this stage's gates select, 2 all, 3 those that scores chose, now or in an earlier stage
  uint32_t gated;
  Matrix first, up, down;     // `first`: pairs of gate and up, or up where there is no gate
  Tiles first_tiles, up_tiles, down_tiles;
  const float* up_bias;
  const float* down_bias;
  float* partials;            // [blocks][width] each block's part of the result
  // The sum of all parts, a stage of its own: every block takes its share of the columns. To `x_out`, with what is there (into_residual) or without.
  uint32_t sum_partials;      // how many parts there are; 0: this is no such stage
  uint32_t into_residual;

  unsigned long long *neurons_counted, *heads_counted;  // what was computed joins these; null: nobody asks

  HostStage host;

  uint32_t logits;            // only when somebody asks for them
  uint32_t finish;            // the last stage
};

// Written by the host between launches, by the kernel at its end.
struct State {
  int32_t position;  // of the token that runs next
  int32_t known;     // tokens [0, known) are given; past them the kernel appends
  uint32_t epoch;    // of the barrier
  int32_t stopped;   // 1 a stop token, 2 context full, 3 the logits are no numbers, 4 the barrier gave up
  int32_t score;     // logits are wanted at every position, and nll and greedy are filled
  int32_t want_last; // logits are wanted for the last known token
  int32_t stage_count;
  int32_t stop_count;
  int32_t stop[16];
};

#ifdef HUNCH_MARKS
constexpr uint32_t kMarks = 16;  // clocks of a stage: 0-7 what HUNCH_MARK says; 8 waits of warp 0 for tiles; 10-12 the warp that asks: begin, end, waits for room
#endif
// Everything of one session.
struct Token {
  const Stage* stages;
  State* state;
  uint32_t* barrier;      // [1], a cache line of its own
  int32_t* tokens;        // [context + 1]
  int32_t* host_tokens;   // mapped: the same, as the kernel appends
  volatile int32_t* host_progress;  // mapped: [0] position, [1] stopped
  float* nll;             // [context]
  uint8_t* greedy;        // [context]
  float *best, *best_sum; // [blocks] maximum and sum of exp(logit - maximum)
  int32_t* best_id;       // [blocks]
  float* logits;
  float *part_max, *part_sum, *part_acc;  // attention: [heads][splits], [heads][splits][head_width]
  uint32_t context, vocabulary, width, heads, kv_heads, head_width, max_splits;
  uint32_t group;      // queries of a KV head
  uint32_t width_log;  // two to this lanes share a position in attention, eight columns each
  float epsilon;
  // bytes from the block's shared memory on
  uint32_t at_float, at_quants, at_scales, at_ring, shared_bytes;
  uint32_t max_float, max_quantised;
  uint32_t slots, slot_bytes;  // of the ring
  uint32_t on_way;             // bytes of a block that may be on their way at once
  unsigned long long spin_limit;
  HostShared host;
#ifdef HUNCH_MARKS
  long long* marks;  // [stages][kMarks]
#endif
};

}  // namespace hunch::cuda
