// What a CPU kernel set offers to forward(): a table of function pointers, picked once by dispatch.cpp.
// Every function gives the same result for any thread count and any batch: a token's arithmetic never depends on its neighbours.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine.h"

namespace hunch {

constexpr uint32_t kLanes = 16;          // rows that one weight group interleaves
constexpr uint32_t kQuantBlock = 32;     // columns that share a scale
constexpr uint32_t kSuperBlock = 256;    // columns of a K-quant's superblock
constexpr uint32_t kAttentionChunk = 64;  // positions per flash-attention partial; fixed, so that results do not depend on threads
constexpr uint32_t kMaxQueries = 8;      // queries that one attention call shares K and V loads between

// Activations of `tokens` tokens, in both forms; weights of float types read f, quantised ones q, d and sum.
struct Activations {
  const float* f = nullptr;      // [tokens][cols]
  const int8_t* q = nullptr;     // [tokens][cols]
  const float* d = nullptr;      // [tokens][cols / 32] scale of a block
  const int32_t* sum = nullptr;  // [tokens][cols / 32][2] sums of a block's first and second 16 q
};

// out[t][row] (+)= sum over cols of W[row][col] * x[t][col], for `groups` groups of 16 rows (packing.h gives their layout).
struct MatmulArgs {
  const uint8_t* weights;  // first group
  size_t group_bytes;
  uint32_t groups;
  uint32_t rows;  // rows that exist from the first group on; the last group may be partial
  uint32_t cols;
  Activations x;
  uint32_t tokens;
  float* out;         // [tokens][out_stride], at the first group's first row
  size_t out_stride;  // floats
  bool add;           // add to out (a residual) instead of overwriting it
  // One token: only these blocks of 32 columns, ascending; the input is zero elsewhere. null = all. Types with 32-column blocks heed it.
  const uint32_t* blocks = nullptr;
  uint32_t block_count = 0;
};

// One K/V head over positions [begin, end), end - begin <= kAttentionChunk, begin a multiple of 16.
// Flash-attention partials (Dao 2022): per query the maximum score, the sum of exp(score - max) and the weighted V sum.
struct AttendArgs {
  const uint16_t* k;  // f16 [positions / 16][head_width][16]: a lane is a position
  const uint16_t* v;  // f16 [positions][v_stride]
  uint32_t head_width;
  uint32_t v_stride;  // head_width rounded up to 16
  uint32_t begin, end;
  uint32_t queries;                 // 1 … kMaxQueries
  const float* q[kMaxQueries];      // [head_width], already scaled by 1/sqrt(head_width)
  uint32_t limit[kMaxQueries];      // a query sees positions < limit; limit > begin
  uint32_t from[kMaxQueries];       // … and >= from (sliding window); from < min(limit, end)
  float max[kMaxQueries];           // out
  float sum[kMaxQueries];           // out
  float* acc;                       // out [queries][v_stride]
};

// Weights stored row by row (src/rows.h), where what is skipped is not read.
enum class RowType : uint8_t { nibbles, nibbles_min, bytes, bytes_min, f16, f32 };
constexpr size_t kRowTypes = 6;

// One token's activations in the order of a row's quants, 16 lanes a chunk; f is in plain order.
struct RowInput {
  const float* f;                // [cols]
  const int8_t* q;               // [cols, padded to whole chunks]
  const float* d;                // [chunks][16] scale of the lane's block
  const float* sum;              // [chunks][16] d times the sum of the block's q, in its first lane
  const int32_t* offset_nibbles; // [chunks][16] -8 times the sum …
  const int32_t* offset_bytes;   // … and what this ISA's stored bytes are off by
};
struct RowBuffer {
  int8_t* q;
  float *d, *sum;
  int32_t *offset_nibbles, *offset_bytes;
};
// Rows to ask memory for, one after each row that is worked on: a burst would wait for itself.
struct Ahead {
  const uint8_t* rows = nullptr;
  size_t stride = 0, bytes = 0;
  const uint32_t* list = nullptr;
  uint32_t n = 0;
};
// out[i] = row list[i] · x (list = null: rows 0 … n - 1, as a stream).
struct DotRowsArgs {
  const uint8_t* rows;
  size_t stride;
  const uint32_t* list;
  uint32_t n, cols;
  RowInput x;
  float* out;
  Ahead ahead = {};
};
// acc += sum over i of by[i] * row list[i], in this order; acc [cols] in the order of the quants (rows.h: row_columns).
struct AddRowsArgs {
  const uint8_t* rows;
  size_t stride;
  const uint32_t* list;
  const float* by;
  uint32_t n, cols;
  float* acc;
  Ahead ahead = {};
};

struct Kernels {
  Isa isa;
  // Blocks of 32: q = round(x / d), d = max|x| / 127.
  void (*quantize)(const float* x, uint32_t n, int8_t* q, float* d, int32_t* sum);
  // out = x / sqrt(mean(x^2) + epsilon) * w
  void (*rms_norm)(const float* x, const float* w, uint32_t n, float epsilon, float* out);
  // out = (x - mean) / sqrt(variance + epsilon) * w + b
  void (*layer_norm)(const float* x, const float* w, const float* b, uint32_t n, float epsilon, float* out);
  void (*matmul[kTensorTypes])(const MatmulArgs&);  // by TensorType
  void (*screen[5])(const MatmulArgs&);             // by bits (1, 2, 4): low-bit copies (src/screen.h)
  // Rotates pairs within the first rope_width dimensions, by RopeStyle; cosine/sine: [rope_width / 2].
  void (*rope[3])(float* x, uint32_t rope_width, const float* cosine, const float* sine);
  void (*gate[kActivations])(float* gate, const float* up, uint32_t n);  // by Activation: gate = act(gate) * up; drelu: relu(gate) * relu(up)
  void (*activate[kActivations])(float* x, uint32_t n);                  // by Activation: x = act(x), for an MLP without a gate
  void (*add)(float* x, const float* y, uint32_t n);          // x += y
  void (*attend)(AttendArgs&);
  // Folds a later chunk's partial into the running one: (max, sum, acc) += (max2, sum2, acc2).
  void (*attend_fold)(float* max, float* sum, float* acc, float max2, float sum2, const float* acc2, uint32_t n);
  void (*scale)(float* x, uint32_t n, float factor);
  void (*to_f16)(const float* x, uint32_t n, uint16_t* out);
  float (*max_of)(const float* x, uint32_t n);
  double (*sum_exp)(const float* x, uint32_t n, float max);  // sum of exp(x - max), accumulated in double
  void (*arrange)(const Activations& x, uint32_t cols, const RowBuffer& to);  // one token; cols a multiple of 32
  void (*dot_rows[kRowTypes])(const DotRowsArgs&);
  void (*add_rows[kRowTypes])(const AddRowsArgs&);
  // Appends first + i for every x[i] (or |x[i]|) above the threshold; returns how many. list: room for n.
  uint32_t (*select)(const float* x, uint32_t n, float threshold, bool absolute, uint32_t first, uint32_t* list);
  void (*fetch)(const void* p, size_t bytes);                // asks for these cache lines, without waiting
  uint64_t (*read_all)(const uint8_t* p, size_t bytes);      // touches every cache line as matmul does
};

const Kernels* kernels_for(Isa isa);  // nullptr = this CPU or build cannot

// One stub file each defines these; nullptr-returning where not compiled in.
const Kernels* scalar_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();

}  // namespace hunch
