// The compiled kernels, put into the library as they are.
#include "driver.h"

#ifdef HUNCH_CUDA_TOKEN_IMAGE
#ifdef _WIN32
#define HUNCH_SECTION ".section .rdata,\"dr\"\n"
#else
#define HUNCH_SECTION ".section .rodata\n"
#endif
#define HUNCH_EMBED(name, file) \
  __asm__(HUNCH_SECTION ".balign 64\n.globl " name "\n.globl " name "_end\n" name ":\n.incbin \"" file "\"\n" name "_end:\n.byte 0\n.text\n")
HUNCH_EMBED("hunch_token_image", HUNCH_CUDA_TOKEN_IMAGE);
HUNCH_EMBED("hunch_prefill_image", HUNCH_CUDA_PREFILL_IMAGE);
extern "C" __attribute__((visibility("hidden"))) const unsigned char hunch_token_image[], hunch_token_image_end[], hunch_prefill_image[], hunch_prefill_image_end[];
#endif

namespace hunch::cuda {

#ifdef HUNCH_CUDA_TOKEN_IMAGE
Image token_image() { return {hunch_token_image, (size_t)(hunch_token_image_end - hunch_token_image)}; }
Image prefill_image() { return {hunch_prefill_image, (size_t)(hunch_prefill_image_end - hunch_prefill_image)}; }
#else
Image token_image() { return {nullptr, 0}; }
Image prefill_image() { return {nullptr, 0}; }
#endif

}  // namespace hunch::cuda
