#include "kv_cache.h"

#include <vector>

namespace hunch {

bool KvCache::allocate(uint32_t layers, uint32_t kv_heads, uint32_t head_width, uint32_t context) {
  context_ = context;
  kv_heads_ = kv_heads;
  head_width_ = head_width;
  value_stride_ = (head_width + 15) / 16 * 16;
  const uint64_t positions = ((uint64_t)context + 15) / 16 * 16;
  key_head_ = positions * head_width;
  value_head_ = positions * value_stride_;
  const uint64_t heads = (uint64_t)layers * kv_heads;
  if (!arena_.reserve(heads * (key_head_ + value_head_) * sizeof(uint16_t) + 128)) return false;
  keys_ = reinterpret_cast<uint16_t*>(arena_.take(heads * key_head_ * sizeof(uint16_t)));
  values_ = reinterpret_cast<uint16_t*>(arena_.take(heads * value_head_ * sizeof(uint16_t)));
  return keys_ && values_;
}

void KvCache::write(const Kernels& k, uint32_t layer, uint32_t head, uint32_t position, const float* key, const float* value) {
  uint16_t half[1024];  // head widths are checked against this at load
  k.to_f16(key, head_width_, half);
  uint16_t* to = const_cast<uint16_t*>(keys(layer, head)) + (size_t)(position / 16) * head_width_ * 16 + position % 16;
  for (uint32_t d = 0; d < head_width_; d++) to[(size_t)d * 16] = half[d];
  // The padding past head_width stays zero from allocation.
  k.to_f16(value, head_width_, const_cast<uint16_t*>(values(layer, head)) + (size_t)position * value_stride_);
}

}  // namespace hunch
