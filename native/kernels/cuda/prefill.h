// What the host hands the kernels that read a prompt (prefill.cu): many tokens at once, a launch for each step of a layer. Plain structs, read by both sides.
#pragma once

#include "program.h"

namespace hunch::cuda {

constexpr uint32_t kPrefillTokens = 512;  // of a batch, at most
constexpr uint32_t kPrefillThreads = 128; // of multiply and attend
constexpr uint32_t kRowThreads = 256;     // of the others
constexpr uint32_t kTileTokens = 128, kTileRows = 128, kTileColumns = 32;  // of a block's product
constexpr uint32_t kScoreRows = 64;       // rows of the output matrix that share one part of a token's score
constexpr uint32_t kQueryRows = 64;       // of a block of attend: tokens times the heads of a KV head
constexpr uint32_t kMostParts = 4;        // that a product's columns are cut into
constexpr uint32_t kHeadWidths = 3;       // attend is compiled for heads of up to 64, 128 and 256 numbers

HUNCH_BOTH constexpr uint32_t padded_head(uint32_t width) { return width <= 64 ? 64 : width <= 128 ? 128 : 256; }
HUNCH_BOTH constexpr uint32_t key_tile(uint32_t padded) { return padded == 256 ? 32 : 64; }  // positions
HUNCH_BOTH constexpr uint32_t attend_shared(uint32_t padded) { return (kQueryRows + 2 * key_tile(padded)) * padded * 2; }
HUNCH_BOTH constexpr bool streamed(Format f) { return f == Format::f16 || f == Format::bf16; }  // goes to shared memory as it is
HUNCH_BOTH constexpr uint32_t multiply_shared(Format f) { return (streamed(f) ? 6u : 5u) * 8192; }

// x[token] = embedding row * scale + position row. Grid: tokens.
struct EmbedLaunch {
  Matrix embedding, positions;
  const int32_t* tokens;
  float* x;           // [tokens][width]
  uint32_t width;
  uint32_t position;  // of the first token, in `positions`
  float scale;
};

// x[token] += norm(sum of the branch's parts) where there is a branch; out[token] = norm(x[token]) / scale[token] in f16. Grid: tokens.
// scale is the power of two that puts a token's largest number between 2^13 and 2^14: no activation overflows f16, and what becomes a subnormal
// is 2^-27 of the largest. Multiplying with it later is exact.
struct NormLaunch {
  float* x;             // [tokens][n]
  float* branch;        // [parts][tokens][n]; null: none. The sum is left in the first part
  uint32_t parts;
  Norm branch_norm, norm;
  uint16_t* out;        // [tokens][n]
  float* scale;         // [tokens]
  uint32_t n;
  float epsilon;
};

// out[token][r] = epilogue(scale[token] * sum over c of w[r][c] x[token][c]). Turned: w's rows are what is summed over: sum over r of x[token][r] w[r][c].
// Grid: tokens / kTileTokens, rows / kTileRows, parts: where one part's tiles would leave multiprocessors idle, each part sums some of the columns and stores its
// own out[part][tokens][out_stride], the first with the bias.
struct MultiplyLaunch {
  Matrix w;
  const uint16_t* x;    // [tokens][columns] f16
  const float* scale;   // [tokens]; null: 1
  const float* bias;    // null: none; gate: of up
  float* out;           // row of a token: out + token * out_stride
  uint32_t tokens, out_stride;
  Epilogue epilogue;    // store, activate, gate, logits; several parts: store
  Act act;
  // logits: what each kScoreRows rows say of each token, and the logit of the token that follows.
  const int32_t* targets;  // [tokens]
  float *best, *sum;       // [rows / kScoreRows][tokens] maximum and sum of exp(logit - maximum)
  int32_t* best_id;
  float* target;           // [tokens]
};

// Norms and rotates queries and keys; queries become f16 [kv_heads][tokens][heads / kv_heads][head_width], scaled; keys and values join the cache.
// Grid: tokens, blocks of kRowThreads / 32 heads (queries, then keys, then values).
struct TurnLaunch {
  const float* qkv;     // [tokens][(heads + 2 kv_heads) head_width]
  uint16_t *queries, *keys, *values;
  Norm q_norm, k_norm;
  const float *cosine, *sine;  // null: no rotation
  uint32_t tokens, position, context, heads, kv_heads, head_width, rope_width, neox;
  float query_scale, epsilon;
};

// Causal attention over the cache; out [tokens][heads * head_width] f16. Grid: tokens * group / kQueryRows, kv_heads.
struct AttendLaunch {
  const uint16_t *queries, *keys, *values;
  uint16_t* out;
  uint32_t tokens, position, context, heads, kv_heads, head_width, window;
};

// nll[token] and whether the likeliest token is the one that follows. Grid: tokens.
struct ScoreLaunch {
  const float *best, *sum;   // [parts][tokens]
  const int32_t* best_id;
  const float* target;
  const int32_t* targets;
  float* nll;
  uint8_t* greedy;
  uint32_t parts, tokens;
};

// ---- Where things lie in the tiles, and which of a tile's numbers a thread of a warp has. Host code too: test/native/cuda_prefill_test.cpp walks through them. ----

// Byte of a chunk of 8 halves in a tile with rows of 4 chunks; eight rows side by side lie in different banks.
HUNCH_BOTH constexpr uint32_t narrow_place(uint32_t row, uint32_t chunk) { return (row * 4 + (chunk ^ (row >> 1 & 3))) * 16; }
// The same with rows of `chunks` chunks, a multiple of 8.
HUNCH_BOTH constexpr uint32_t wide_place(uint32_t row, uint32_t chunk, uint32_t chunks) { return (row * chunks + (chunk ^ (row & 7))) * 16; }

// The row and the chunk, within a 16 x 16 tile, whose address a lane gives to ldmatrix.x4 (PTX ISA, "Matrix fragments for mma.m16n8k16").
struct Spot {
  uint32_t row, chunk;
};
HUNCH_BOTH constexpr Spot spot_left(uint32_t lane) { return {lane % 16, lane / 16}; }                        // [m][k]: fragment A
HUNCH_BOTH constexpr Spot spot_right(uint32_t lane) { return {lane / 16 * 8 + lane % 8, lane / 8 % 2}; }     // [n][k]: fragments B of two tiles of 8 n
HUNCH_BOTH constexpr Spot spot_turned(uint32_t lane) { return {lane / 8 % 2 * 8 + lane % 8, lane / 16}; }    // [k][n], read transposed: the same
HUNCH_BOTH constexpr uint32_t sum_row(uint32_t lane, uint32_t i) { return lane / 4 + i / 2 * 8; }             // of the 16 x 8 sums, i < 4
HUNCH_BOTH constexpr uint32_t sum_column(uint32_t lane, uint32_t i) { return lane % 4 * 2 + i % 2; }

}  // namespace hunch::cuda
