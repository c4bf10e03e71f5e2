// llama (Touvron 2023): also Mistral and SmolLM, whose GGUF files carry the same tensors and the same architecture name, and Bamboo, by its own.
#include "model.h"

namespace hunch {

void plan_llama(Model& model, Loader& loader) {
  model.rope_style = RopeStyle::interleaved;
  loader.decoder(true);
  loader.optional_vector("rope_freqs.weight", model.spec.rope_width / 2, model.rope_factors);  // llama 3's long-context factors
}

}  // namespace hunch
