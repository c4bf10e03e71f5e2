// qwen2 (Yang 2024): biases on q, k and v. qwen3 (Yang 2025): norms on each query and key head instead.
#include "model.h"

namespace hunch {

void plan_qwen2(Model& model, Loader& loader) {
  model.rope_style = RopeStyle::neox;
  loader.decoder(true);
}

void plan_qwen3(Model& model, Loader& loader) {
  model.rope_style = RopeStyle::neox;
  loader.decoder(true);
}

}  // namespace hunch
