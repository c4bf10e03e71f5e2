// One token, from its embedding to the next token's id: a block on every multiprocessor walks the stages together with all others.
#include "attention.cuh"
#include "finish.cuh"
#include "neurons.cuh"

namespace hunch::cuda {

extern "C" __global__ void __launch_bounds__(kThreads, 1) hunch_token(const __grid_constant__ Token t) {
  extern __shared__ __align__(128) uint8_t memory[];
  __shared__ Block b;
  State& state = *t.state;
  constexpr uint32_t words = sizeof(Stage) / 4;
  static_assert(sizeof(Stage) % 4 == 0 && words <= kThreads, "a thread copies a word of a stage");
  if (threadIdx.x == 0) {
    b.position = state.position, b.known = state.known, b.broken = 0;
    b.target = state.epoch;
    b.with_logits = state.score || b.position + 1 > b.known || (b.position + 1 == b.known && state.want_last);
    b.vector.f = reinterpret_cast<float4*>(memory + t.at_float);
    b.vector.q = reinterpret_cast<uint4*>(memory + t.at_quants);
    b.vector.d = reinterpret_cast<float2*>(memory + t.at_scales);
    b.ring = memory + t.at_ring;
    b.acc = reinterpret_cast<float*>(memory + t.at_acc);
  }
  const int count = state.stage_count;
  if (state.stopped) return;
  if (threadIdx.x < words) reinterpret_cast<uint32_t*>(&b.stage[0])[threadIdx.x] = reinterpret_cast<const uint32_t*>(t.stages)[threadIdx.x];
  __syncthreads();

  for (int i = 0; i < count; i++) {
    const Stage& s = b.stage[i & 1];
    uint32_t next = 0;
    if (threadIdx.x < words && i + 1 < count) next = reinterpret_cast<const uint32_t*>(t.stages + i + 1)[threadIdx.x];
    const bool run = !s.logits || b.with_logits;
    if (run) {
      const uint32_t units = s.attention ? min(gridDim.x, attention_units(t, s, b.position)) : 0;
      if (s.attention && (blockIdx.x < units || units == gridDim.x || !s.behind_attention)) {
        if (!wait_for(t.barrier, b.target, t.spin_limit, &b.broken)) break;
        if (s.clear) {
          const uint2 mine = share(s.clear_n, blockIdx.x, gridDim.x);
          for (uint32_t c = mine.x + threadIdx.x; c < mine.y; c += kThreads) s.clear[c] = 0;
        }
        if (blockIdx.x < units) run_attention(t, b, s, memory);
        if (s.behind_attention && units == gridDim.x) {  // no block is free
          if (s.source != Source::none) make_vector(t, b, s);
          run_segments(t, b, s, blockIdx.x, gridDim.x, false);
        } else if (s.behind_attention && threadIdx.x == 0) {
          s.lists.count[blockIdx.x] = 0;
        }
      } else if (s.segments) {
        run_segments(t, b, s, blockIdx.x - units, gridDim.x - units, true);
      } else {
        ready(t, b, s);
      }
      if (b.broken) break;
      if (s.neurons) run_neurons(t, b, s);
      if (s.finish && blockIdx.x == 0) run_finish(t, b, state);
    }
    if (threadIdx.x < words) reinterpret_cast<uint32_t*>(&b.stage[(i + 1) & 1])[threadIdx.x] = next;
    if (run && i + 1 < count) {
      arrive(t.barrier);
      if (threadIdx.x == 0) b.target += gridDim.x;
    }
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
