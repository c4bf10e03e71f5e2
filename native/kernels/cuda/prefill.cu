// Batches of a prompt. (See prefill.cuh's stages.)
#include "common.cuh"
