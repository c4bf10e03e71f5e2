// What the engine calls of the GPU's side.
#pragma once

#include "session.h"

namespace hunch::cuda {

// Puts the model on a GPU beside the CPU's, as the options say, or as much of it as there is room for; `out` stays null on the CPU. With `auto`, what goes
// wrong is a note in `info`.
Status load_beside(const ModelSpec& spec, const LoadOptions& options, const Model& model, std::shared_ptr<DeviceModel>& out, ModelInfo& info);

}  // namespace hunch::cuda
