// Neurons that lie on disk, and those of them that are in memory now. Lanes name neurons, readers fetch them deep in parallel, and a bounded
// number of slots keeps what is used most. Kernels find a neuron by its slot: rows() + slot * stride().
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "arena.h"
#include "engine.h"
#include "neuron_file.h"

namespace hunch {

class NeuronStore {
 public:
  NeuronStore() = default;
  ~NeuronStore();
  NeuronFile file;

  // with_first: slots also hold first rows. Slots for `bytes` of memory, at least for every neuron of the largest layer. Errors: out-of-memory.
  Status start(bool with_first, uint64_t bytes);
  // The least `bytes` that start() takes; of one slot.
  uint64_t least_bytes(bool with_first) const { return most_neurons() * slot_bytes(with_first); }
  size_t slot_bytes(bool with_first) const;

  const uint8_t* rows() const { return slots_memory_.data(); }
  size_t stride() const { return stride_; }
  size_t first_at(size_t layer) const { return file.layers()[layer].first; }

  // Neurons base + list[i] (list = null: base + i) of a layer. While a layer is at hand nothing that was asked for of it leaves its slot; all
  // lanes are at one layer. ask() starts reads and returns; get() waits and says which slots they are in.
  void ask(size_t layer, uint32_t base, const uint32_t* list, uint32_t n) { want(layer, base, list, n, nullptr, false); }
  // Of one of the two layers to come, as far as there are slots beside those that the one at hand may need.
  void ask_ahead(size_t layer, uint32_t base, const uint32_t* list, uint32_t n) { want(layer, base, list, n, nullptr, true); }
  void get(size_t layer, uint32_t base, const uint32_t* list, uint32_t n, uint32_t* slots);
  // Behind a pass: waits for what is still on its way. A failure is kept until it is taken; slots hold zeros then.
  void settle();
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  Status take_failure();
  // Other weights now take so many bytes of what start() was given; may be called between passes. false: too many.
  bool leave(uint64_t bytes);
  // Adds what lies where. The counters begin anew. lanes: that may wait.
  void report(unsigned lanes, Residency& out);

 private:
  static constexpr uint32_t kRun = 32;  // records of one read
  struct Run {
    uint32_t layer = 0, first = 0, count = 0;
    int32_t slots[kRun];  // -1: a neuron between two others that nobody asked for
  };
  struct Slot {
    int32_t layer = -1;
    uint32_t neuron = 0;
    uint64_t visit = 0;  // when it was last asked for
    float heat = 0;
    uint64_t since = 0;  // the visit that brought it
  };
  uint64_t most_neurons() const;
  void want(size_t layer, uint32_t base, const uint32_t* list, uint32_t n, uint32_t* slots, bool ahead);
  float warmed(float heat) const;
  uint32_t free_slot();
  void vacate(Slot& slot);
  void read();
  Status fetch(const Run& run, uint8_t* spare, uint64_t& bytes);

  bool with_first_ = false;
  size_t stride_ = 0;
  uint64_t budget_ = 0;
  Arena slots_memory_;
  std::mutex mutex_;  // of all that follows
  std::vector<Slot> slots_;
  std::unique_ptr<std::atomic<uint32_t>[]> reading_;  // by slot: 1 until its neuron is there
  uint32_t usable_ = 0, filled_ = 0, hand_ = 0;       // slots that may be used; that were; where the search for an old one goes on
  std::vector<std::vector<int32_t>> slot_of_;         // [layers][neurons], -1 = on disk only
  std::vector<std::vector<float>> heat_;              // [layers][neurons], of those without a slot, too
  size_t layer_ = ~size_t{0};
  uint64_t visit_ = 0, passes_ = 0;
  uint64_t most_neurons_ = 0, ahead_[2] = {};  // of a layer; slots held for the two visits to come, by their parity
  std::deque<Run> queue_;
  uint32_t pending_ = 0, idle_ = 0;
  bool stopping_ = false;
  std::condition_variable work_, settled_;
  Status failure_;
  std::atomic<bool> failed_{false};
  uint64_t hits_ = 0, misses_ = 0, read_bytes_ = 0;
  std::atomic<uint64_t> waited_ns_{0};
  std::vector<std::thread> readers_;
};

}  // namespace hunch
