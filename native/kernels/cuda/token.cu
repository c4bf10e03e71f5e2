// One token, from its embedding to the next token's id: a block on every multiprocessor walks the stages together with all others.
#include "attention.cuh"
#include "finish.cuh"
#include "neurons.cuh"

namespace hunch::cuda {

__device__ __noinline__ void run_plain(const Token& t, Block& b) {
  HUNCH_SHARED(t), HUNCH_SHARED(b);
  const NormAhead ahead = norm_ahead(stage_of(b));
  if (!open_stage(t, b, stage_of(b))) return;
  make_vector(t, b, stage_of(b), ahead);
  HUNCH_MARK(3);
  run_segments(t, b);
}
__device__ __noinline__ void run_other(const Token& t, Block& b) {
  HUNCH_SHARED(t), HUNCH_SHARED(b);
  if (stage_of(b).scores.matrix.data && stage_of(b).scores.early) run_scores(t, b, stage_of(b));
  if (stage_of(b).choose_heads == 2) choose_heads(t, b, stage_of(b));
  if (late_scores(stage_of(b))) {  // in the vector's place, before the vector
    if (!open_stage(t, b, stage_of(b))) return;
    run_scores(t, b, stage_of(b));
    make_vector(t, b, stage_of(b), norm_ahead(stage_of(b)));
  } else {
    const NormAhead ahead = norm_ahead(stage_of(b));
    if (!open_stage(t, b, stage_of(b))) return;
    if (stage_of(b).source != Source::none) make_vector(t, b, stage_of(b), ahead);
  }
  HUNCH_MARK(3);
  if (stage_of(b).segments) run_segments(t, b);
  if (stage_of(b).neurons) run_neurons(t, b, stage_of(b));
  if (stage_of(b).sum_partials) sum_partials(t, b, stage_of(b));
  if (stage_of(b).host.answer && !join_host(t, stage_of(b).host, b.position, &b.broken)) return;
  if (stage_of(b).finish && blockIdx.x == 0) run_finish(t, b, *t.state);
}

// What the warps that compute do, stage after stage. Nothing is kept in registers from one call to the next, since what is called needs them all: the number of
// the stage lies in the block.
__device__ inline void walk(const Token& t, Block& b) {
#pragma unroll 1
  for (;;) {
    const int i = b.at[threadIdx.x / 32];
    if (i >= b.count || !pass(&b.stage_full[i % kStageSlots], i / kStageSlots & 1, &b.broken)) break;
    const Stage& s = b.stage[i % kStageSlots];
    HUNCH_MARK(0);
    const Kind kind = s.kind;
    if (kind == Kind::plain) {
      run_plain(t, b);
    } else if (kind == Kind::attention) {
      run_attention(t, b, s, shared_memory());
    } else if (!s.logits || b.with_logits) {
      run_other(t, b);
    }
    if (b.broken) break;
    HUNCH_MARK(6);
    arrive(t, b);
  }
}

__device__ inline void finish_walk(const Token& t, Block& b, State& state) {
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
  for (uint32_t i = threadIdx.x; i < kOrders; i += kBlockThreads) open_gate(&b.order_full[i], 1), open_gate(&b.order_empty[i], 1);
  if (threadIdx.x < kWarps) b.at[threadIdx.x] = 0, b.order_at[threadIdx.x] = 0;
  if (threadIdx.x < kStageSlots) open_gate(&b.stage_full[threadIdx.x], 1), open_gate(&b.stage_empty[threadIdx.x], 1);
  if (threadIdx.x == 0) {
    open_gate(&b.heads_known, 1), open_gate(&b.list_known, 1);
    b.position = state.position, b.known = state.known, b.broken = 0;
    b.target = state.epoch;
    b.with_logits = state.score || b.position + 1 > b.known || (b.position + 1 == b.known && state.want_last);
    b.count = state.stage_count;
  }
  if (state.stopped) return;
#if HUNCH_BULK
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
  __syncthreads();
  if (threadIdx.x < kThreads) {
    walk(b.token, b);
    finish_walk(b.token, b, state);
    return;
  }
  ask_for_token(b.token, b, b.count);
#if HUNCH_ASYNC
  // A block must not end while copies into its memory are on their way; where all went well, everything was waited for.
  if (*(volatile int*)&b.broken)
    for (int i = 0; i < 100; i++) __nanosleep(1000);
#endif
}

}  // namespace hunch::cuda
