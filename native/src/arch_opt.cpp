// opt (Zhang 2022): learned positions starting at row 2, LayerNorm before each branch, biases everywhere, a plain ReLU MLP.
#include "model.h"

namespace hunch {

void plan_opt(Model& model, Loader& loader) {
  model.rope_style = RopeStyle::none;
  model.position_offset = 2;
  loader.decoder(false);
  loader.matrix("position_embd.weight", model.spec.width, model.spec.trained_context + model.position_offset, model.positions);
  loader.end_stage(true);
}

}  // namespace hunch
