// One token, from its embedding to the next token's id: a block on every multiprocessor walks the stages together with all others.
#include "attention.cuh"
#include "finish.cuh"
#include "neurons.cuh"

namespace hunch::cuda {

// Blocks that attention leaves free ask for the weights behind it, so that memory does not idle meanwhile: the ends of all blocks' shares, since the
// rings take the beginnings.
__device__ inline void ask_ahead(const Stage& s, uint32_t block, uint32_t blocks) {
  if (!s.ahead_rows) return;
  const uint32_t lines = s.ahead_bytes / gridDim.x / 128;
#pragma unroll 1
  for (uint32_t of = block; of < gridDim.x; of += blocks) {
    const uint2 rows = share(s.ahead_rows, of, gridDim.x);
    const uint32_t most = min(lines * 128, (rows.y - rows.x) * s.ahead_stride);
    prefetch_range(s.ahead + (size_t)rows.y * s.ahead_stride - most, most, threadIdx.x, kThreads);
  }
}

extern "C" __global__ void __launch_bounds__(kThreads, 1) hunch_token(const __grid_constant__ Token launch) {
  __shared__ Block b;
  State& state = *launch.state;
  constexpr uint32_t words = sizeof(Stage) / 4;
  static_assert(sizeof(Stage) % 4 == 0 && words <= kThreads, "a thread copies a word of a stage");
  for (uint32_t i = threadIdx.x; i < sizeof(Token) / 4; i += kThreads) reinterpret_cast<uint32_t*>(&b.token)[i] = reinterpret_cast<const uint32_t*>(&launch)[i];
  if (threadIdx.x < kWarps) b.more_bytes[threadIdx.x] = 0, b.more[threadIdx.x] = nullptr;
  if (threadIdx.x == 0) {
    b.position = state.position, b.known = state.known, b.broken = 0;
    b.target = state.epoch;
    b.with_logits = state.score || b.position + 1 > b.known || (b.position + 1 == b.known && state.want_last);
  }
  const int count = state.stage_count;
  if (state.stopped) return;
  if (threadIdx.x < words) reinterpret_cast<uint32_t*>(&b.stage[0])[threadIdx.x] = reinterpret_cast<const uint32_t*>(launch.stages)[threadIdx.x];
  __syncthreads();
  const Token& t = b.token;

#pragma unroll 1
  for (int i = 0; i < count; i++) {
    const Stage& s = b.stage[i & 1];
    uint32_t next = 0;
#ifdef HUNCH_MARKS
    if (threadIdx.x == 0) b.stage_index = i;
#endif
    HUNCH_MARK(0);
    if (threadIdx.x < words && i + 1 < count) next = reinterpret_cast<const uint32_t*>(t.stages + i + 1)[threadIdx.x];
    const bool run = !s.logits || b.with_logits;
    if (run) {
      const uint32_t units = s.attention ? min(gridDim.x, attention_units(t, s, b.position)) : 0;
      if (s.attention && (blockIdx.x < units || units == gridDim.x || !s.behind_attention)) {
        if (blockIdx.x >= units) ask_ahead(s, blockIdx.x - units, gridDim.x - units);
        else ask_for_positions(t, b, s);
        HUNCH_MARK(1);
        if (!wait_for(t.barrier, b.target, t.spin_limit, &b.broken)) break;
        HUNCH_MARK(2);
        if (s.host.post) post_to_host(t, s.host, b.position);
        if (s.clear) {
          const uint2 mine = share(s.clear_n, blockIdx.x, gridDim.x);
          for (uint32_t c = mine.x + threadIdx.x; c < mine.y; c += kThreads) s.clear[c] = 0;
        }
        if (blockIdx.x < units) run_attention(t, b, s, shared_memory());
        if (s.behind_attention && units == gridDim.x) {  // no block is free
          if (s.source != Source::none) make_vector(t, b, s, norm_ahead(s));
          run_segments(t, b, s, blockIdx.x, gridDim.x, false);
        } else if (s.behind_attention && threadIdx.x == 0) {
          s.lists.count[blockIdx.x] = 0;
        }
      } else if (s.early_list) {
        run_neurons(t, b, s, true);
        if (s.segments) run_segments(t, b, s, blockIdx.x, gridDim.x, false);
      } else if (s.segments) {
        run_segments(t, b, s, blockIdx.x - units, gridDim.x - units, true);
      } else {
        ready(t, b, s);
      }
      if (b.broken) break;
      if (s.neurons && !s.early_list) run_neurons(t, b, s, false);
      if (s.host.join != Join::none && !join_host(t, s.host, b.position, &b.broken)) break;
      if (s.finish && blockIdx.x == 0) run_finish(t, b, state);
    }
    if (threadIdx.x < words) reinterpret_cast<uint32_t*>(&b.stage[(i + 1) & 1])[threadIdx.x] = next;
    HUNCH_MARK(6);
    if (run && i + 1 < count) {
      arrive(t.barrier);
      if (threadIdx.x == 0) b.target += gridDim.x;
    }
    HUNCH_MARK(7);
    __syncthreads();
  }
  if (b.broken) {
    if (threadIdx.x == 0 && blockIdx.x == 0) {
      state.stopped = 4;
      __threadfence_system();
      t.host_progress[1] = 4;
      __threadfence_system();
    }
    return;
  }
  if (threadIdx.x == 0 && blockIdx.x == 0) state.epoch = b.target;
}

}  // namespace hunch::cuda
