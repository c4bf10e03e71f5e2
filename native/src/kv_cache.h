// Keys and values of one timeline in f16. A key's lane is its position (16 to a block), a value's lane is its dimension: both
// attention passes then read straight lines without horizontal sums.
#pragma once

#include "arena.h"
#include "kernels.h"

namespace hunch {

class KvCache {
 public:
  bool allocate(uint32_t layers, uint32_t kv_heads, uint32_t head_width, uint32_t context);
  uint32_t context() const { return context_; }
  uint32_t value_stride() const { return value_stride_; }
  const uint16_t* keys(uint32_t layer, uint32_t head) const { return keys_ + ((size_t)layer * kv_heads_ + head) * key_head_; }
  const uint16_t* values(uint32_t layer, uint32_t head) const { return values_ + ((size_t)layer * kv_heads_ + head) * value_head_; }
  // key, value: [head_width] floats.
  void write(const Kernels& k, uint32_t layer, uint32_t head, uint32_t position, const float* key, const float* value);

 private:
  Arena arena_;
  uint16_t *keys_ = nullptr, *values_ = nullptr;
  size_t key_head_ = 0, value_head_ = 0;  // f16 elements per head
  uint32_t kv_heads_ = 0, head_width_ = 0, value_stride_ = 0, context_ = 0;
};

}  // namespace hunch
