// gemma3 (Gemma Team 2025): five sliding-window layers to each full one with a rotary base of their own, norms before and after each
// branch and on query and key heads, gelu, embeddings scaled by sqrt(width). GGUF norm weights already have the 1 added.
#include <cmath>

#include "model.h"

namespace hunch {

void plan_gemma3(Model& model, Loader& loader) {
  model.rope_style = RopeStyle::neox;
  model.embedding_scale = std::sqrt((float)model.spec.width);
  loader.decoder(true);
}

}  // namespace hunch
