// Activation frames: the bytes that electron/contract/frames.ts describes and reads.
#pragma once

#include "capture.h"
#include "model.h"

namespace hunch {

constexpr size_t kMostFrameBytes = 64 * 1024;  // of a summary

// Neurons per block, 16 or a power of two times as many, so that a summary stays within kMostFrameBytes.
uint32_t summary_block(const ModelSpec& m);

// Of the step that read `token` at `position`; the capture is summed up.
struct FrameHead {
  uint32_t sequence, position;
  int32_t token;
};
void encode_summary(const Model& model, const Capture& capture, const FrameHead& head, std::vector<uint8_t>& out);
void encode_record(const Model& model, const Capture& capture, const FrameHead& head, std::vector<uint8_t>& out);

}  // namespace hunch
