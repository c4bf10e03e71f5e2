// One token, from its embedding to the next token's id: a block on every multiprocessor walks the stages together with all others.
#include "attention.cuh"
#include "finish.cuh"
#include "neurons.cuh"

namespace hunch::cuda {

// What the warps that compute do, stage after stage.
__device__ inline void walk(const Token& t, Block& b, State& state, int count) {
#pragma unroll 1
  for (int i = 0; i < count; i++) {
#ifdef HUNCH_MARKS
    if (threadIdx.x == 0) b.stage_index = i;
#endif
    HUNCH_MARK(0);
    if (!pass(&b.stage_full[i % kStageSlots], i / kStageSlots & 1, &b.broken)) break;
    const Stage& s = b.stage[i % kStageSlots];
    const bool run = !s.logits || b.with_logits;
    if (run) {
      if (s.scores.matrix.data && s.scores.early) run_scores(t, b, s);
      if (s.choose_heads == 2) choose_heads(t, b, s);
      if (s.attention) ask_for_positions(t, b, s);
      ready(t, b, s);
      if (b.broken) break;
      if (s.attention) run_attention(t, b, s, shared_memory());
      if (late_scores(s)) {
        run_scores(t, b, s);
        make_vector(t, b, s, norm_ahead(s));
      }
      if (s.segments) run_segments(t, b, s);
      if (s.neurons) run_neurons(t, b, s);
      if (s.sum_partials) sum_partials(t, b, s);
      if (s.host.answer && !join_host(t, s.host, b.position, &b.broken)) break;
      if (s.finish && blockIdx.x == 0) run_finish(t, b, state);
    }
    HUNCH_MARK(6);
    if (run && i + 1 < count) {
      arrive(t.barrier);
      if (threadIdx.x == 0) b.target += gridDim.x;
    } else {
      sync();
    }
    if (threadIdx.x == 0) arrive_gate(&b.stage_empty[i % kStageSlots]);
    HUNCH_MARK(7);
  }
  if (threadIdx.x != 0 || blockIdx.x != 0) return;
  if (b.broken) {
    state.stopped = 4;
    __threadfence_system();
    t.host_progress[1] = 4;
    __threadfence_system();
  } else {
    state.epoch = b.target;
  }
}

extern "C" __global__ void __launch_bounds__(kBlockThreads, 1) hunch_token(const __grid_constant__ Token launch) {
  __shared__ Block b;
  State& state = *launch.state;
  for (uint32_t i = threadIdx.x; i < sizeof(Token) / 4; i += kBlockThreads) reinterpret_cast<uint32_t*>(&b.token)[i] = reinterpret_cast<const uint32_t*>(&launch)[i];
  for (uint32_t i = threadIdx.x; i < kMaxSlots; i += kBlockThreads) open_gate(&b.full[i], 1), open_gate(&b.empty[i], kWarps);
  if (threadIdx.x < kStageSlots) open_gate(&b.stage_full[threadIdx.x], 1), open_gate(&b.stage_empty[threadIdx.x], 1);
  if (threadIdx.x == 0) {
    open_gate(&b.heads_known, 1), open_gate(&b.list_known, 1);
    b.position = state.position, b.known = state.known, b.broken = 0;
    b.target = state.epoch;
    b.with_logits = state.score || b.position + 1 > b.known || (b.position + 1 == b.known && state.want_last);
    b.next_slot = b.next_parity = b.next_warp = 0;
  }
  const int count = state.stage_count;
  if (state.stopped) return;
#if HUNCH_BULK
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  __syncthreads();
  if (threadIdx.x < kThreads) {
    walk(b.token, b, state, count);
    return;
  }
  ask_for_token(b.token, b, count);
#if HUNCH_ASYNC
  // A block must not end while copies into its memory are on their way; where all went well, everything was waited for.
  if (*(volatile int*)&b.broken)
    for (int i = 0; i < 100; i++) __nanosleep(1000);
#endif
}

}  // namespace hunch::cuda
