// A prompt, many tokens at once, on the tensor cores. The host launches these one after the other (src/cuda/prefill.cpp).
#include "prefill_attend.cuh"
#include "prefill_multiply.cuh"
#include "prefill_rows.cuh"

namespace hunch::cuda {

extern "C" {

__global__ void __launch_bounds__(kRowThreads) hunch_embed(const __grid_constant__ EmbedLaunch t) { embed_row(t); }
__global__ void __launch_bounds__(kRowThreads) hunch_norm(const __grid_constant__ NormLaunch t) { norm_row(t); }
__global__ void __launch_bounds__(kRowThreads) hunch_turn(const __grid_constant__ TurnLaunch t) { turn_heads(t); }
__global__ void __launch_bounds__(kRowThreads) hunch_score(const __grid_constant__ ScoreLaunch t) { score_token(t); }

#define HUNCH_MULTIPLY(format)                                                                                                                                      \
  __global__ void __launch_bounds__(kPrefillThreads, 2) hunch_multiply_##format(const __grid_constant__ MultiplyLaunch g) { multiply_tile<Format::format, false>(g); } \
  __global__ void __launch_bounds__(kPrefillThreads, 2) hunch_turned_##format(const __grid_constant__ MultiplyLaunch g) { multiply_tile<Format::format, true>(g); }
HUNCH_MULTIPLY(f32)
HUNCH_MULTIPLY(f16)
HUNCH_MULTIPLY(bf16)
HUNCH_MULTIPLY(nibbles)
HUNCH_MULTIPLY(nibbles_min)
HUNCH_MULTIPLY(fives)
HUNCH_MULTIPLY(bytes)
HUNCH_MULTIPLY(sixes)

__global__ void __launch_bounds__(kPrefillThreads, 4) hunch_attend_64(const __grid_constant__ AttendLaunch t) { attend_rows<64>(t); }
__global__ void __launch_bounds__(kPrefillThreads, 3) hunch_attend_128(const __grid_constant__ AttendLaunch t) { attend_rows<128>(t); }
__global__ void __launch_bounds__(kPrefillThreads) hunch_attend_256(const __grid_constant__ AttendLaunch t) { attend_rows<256>(t); }
}

}  // namespace hunch::cuda
