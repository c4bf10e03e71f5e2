// The end of a token: the likeliest token joins the text, the score of the given one is kept, the position moves on.
#pragma once

#include "segments.cuh"

namespace hunch::cuda {

__device__ inline void run_finish(const Token& t, Block& b, State& state) {
  if (threadIdx.x != 0) return;
  const int position = b.position, next = position + 1;
  int stopped = 0;
  if (b.with_logits) {
    Best best;
#pragma unroll 1
    for (uint32_t i = 0; i < gridDim.x; i++) best.join(t.best[i], t.best_sum[i], t.best_id[i]);
    const bool usable = best.max > -INFINITY && best.max < INFINITY && best.sum == best.sum;
    if (!usable) stopped = 3;
    if (next < b.known) {
      const int target = t.tokens[next];
      t.nll[position] = usable ? __logf(best.sum) + best.max - t.logits[target] : NAN;
      t.greedy[position] = best.id == target;
    } else {
      const int id = usable ? best.id : -1;
      t.tokens[next] = id;
      t.host_tokens[next] = id;
      for (int i = 0; i < state.stop_count; i++)
        if (state.stop[i] == id) stopped = 1;
      state.known = next + 1;
    }
  }
  if (!stopped && (uint32_t)next >= t.context) stopped = 2;
  state.position = next;
  state.stopped = stopped;
  __threadfence_system();
  t.host_progress[1] = stopped;
  t.host_progress[0] = next;
  __threadfence_system();
}

}  // namespace hunch::cuda
