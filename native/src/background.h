// Work beside a chat: threads of a low priority that divide a list of tasks.
#pragma once

#include <atomic>
#include <functional>

#include "engine.h"

namespace hunch {

// Calls task(i) for 0 … count - 1 on `threads` new threads. An exception becomes the Status of the whole (out-of-memory, internal), and no
// further task starts.
Status in_background(unsigned threads, uint32_t count, const std::function<void(uint32_t)>& task);

}  // namespace hunch
