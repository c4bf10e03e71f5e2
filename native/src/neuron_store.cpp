#include "neuron_store.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#ifndef _WIN32
#include <sys/mman.h>
#endif

namespace hunch {

constexpr unsigned kReaders = 32;       // reads under way: what a disk needs to reach its rate with records of some kilobytes
constexpr size_t kGap = 8192;           // bytes between two neurons that are read along rather than beginning another read
constexpr uint32_t kLook = 16;          // slots compared when one has to go
constexpr float kHalfLife = 16;         // passes after which a use counts half
constexpr float kAlike = 0.01f;         // heats that differ by less are taken for equal

NeuronStore::~NeuronStore() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& t : readers_) t.join();
}

uint64_t NeuronStore::most_neurons() const {
  uint64_t most = 0;
  for (const NeuronFile::Layer& l : file.layers()) most = std::max<uint64_t>(most, l.rows->neurons);
  return most;
}

size_t NeuronStore::slot_bytes(bool with_first) const {
  size_t bytes = 0;
  for (const NeuronFile::Layer& l : file.layers()) bytes = std::max(bytes, with_first ? l.record : l.head);
  return bytes;
}

Status NeuronStore::start(bool with_first, uint64_t bytes) {
  uint64_t neurons = 0;
  for (const NeuronFile::Layer& l : file.layers()) {
    neurons += l.rows->neurons;
    slot_of_.emplace_back(l.rows->neurons, -1);
    heat_.emplace_back(l.rows->neurons, 0.0f);
  }
  with_first_ = with_first;
  stride_ = slot_bytes(with_first);
  budget_ = bytes;
  most_neurons_ = most_neurons();
  usable_ = (uint32_t)std::min<uint64_t>(neurons, bytes / stride_);
  if (usable_ < most_neurons_ || !slots_memory_.reserve((size_t)usable_ * stride_))
    return Status::error("out-of-memory", "There is no memory for the neurons that a token needs at once. Close other programs, or choose a smaller model.");
  slots_.resize(usable_);
  reading_ = std::make_unique<std::atomic<uint32_t>[]>(usable_);
  for (unsigned i = 0; i < kReaders; i++) readers_.emplace_back([this] { read(); });
  return Status::fine();
}

// Heat is the logarithm of a sum of uses that fade, scaled so that it need not be touched as time goes by: only differences count.
float NeuronStore::warmed(float heat) const {
  const float now = (float)passes_ / kHalfLife;
  return now + std::log2(std::exp2(heat - now) + 1);
}

void NeuronStore::vacate(Slot& slot) {
  if (slot.layer < 0) return;
  slot_of_[(size_t)slot.layer][slot.neuron] = -1;
  slot.layer = -1;
}

// Of the next slots that may go, the coldest; of equals, the one that came last, so that what is read over and over by layers in turn leaves
// something to be found. There is always one: the layer at hand does not have more neurons than there are slots.
uint32_t NeuronStore::free_slot() {
  if (filled_ < usable_) return filled_++;
  uint32_t best = ~0u;
  float least = INFINITY;
  uint64_t latest = 0;
  for (uint32_t seen = 0, tried = 0; seen < kLook && tried < usable_; tried++) {
    const uint32_t at = hand_;
    hand_ = hand_ + 1 == usable_ ? 0 : hand_ + 1;
    const Slot& s = slots_[at];
    if (s.visit >= visit_ && s.layer >= 0) continue;
    seen++;
    // Layers that come later in this pass have had one chance less: without that, what is needed next would go first.
    const float heat = s.layer < 0 ? -INFINITY : s.heat + (s.layer > (int32_t)layer_ ? 1 / kHalfLife : 0);
    if (best != ~0u && (heat > least + kAlike || (heat > least - kAlike && s.since <= latest))) continue;
    least = heat;
    latest = s.since;
    best = at;
  }
  vacate(slots_[best]);
  return best;
}

void NeuronStore::want(size_t layer, uint32_t base, const uint32_t* list, uint32_t n, uint32_t* slots, bool ahead) {
  std::lock_guard lock(mutex_);
  if (!ahead && layer != layer_) {
    if (layer_ == ~size_t{0} || layer <= layer_) passes_++;
    layer_ = layer;
    visit_++;
    ahead_[visit_ % 2] = 0;
  }
  // Layers come one after the other, so it is known which visit a later one will be.
  const uint64_t visit = !ahead ? visit_ : visit_ + (layer_ != ~size_t{0} && layer > layer_ ? layer - layer_ : 1);
  const NeuronFile::Layer& l = file.layers()[layer];
  std::vector<int32_t>& slot_of = slot_of_[layer];
  std::vector<float>& heat = heat_[layer];
  const size_t runs = queue_.size();
  for (uint32_t i = 0; i < n; i++) {
    const uint32_t neuron = base + (list ? list[i] : i);
    int32_t& at = slot_of[neuron];
    if (ahead && (at < 0 || slots_[(size_t)at].visit != visit) && ++ahead_[visit % 2] + ahead_[(visit + 1) % 2] + most_neurons_ > usable_) break;
    if (at >= 0) {
      Slot& s = slots_[(size_t)at];
      if (s.visit != visit) s.visit = visit, s.heat = heat[neuron] = warmed(heat[neuron]), hits_++;
    } else {
      misses_++;
      const uint32_t slot = free_slot();
      at = (int32_t)slot;
      heat[neuron] = warmed(heat[neuron]);
      slots_[slot] = {(int32_t)layer, neuron, visit, heat[neuron], visit};
      reading_[slot].store(1, std::memory_order_relaxed);
      // With the neuron before, where it is near.
      Run* run = queue_.size() > runs ? &queue_.back() : nullptr;
      const uint32_t last = run ? run->first + run->count : 0;
      if (run && neuron >= last && (neuron - last) * l.record <= kGap && neuron - run->first < kRun) {
        while (run->first + run->count < neuron) run->slots[run->count++] = -1;
      } else {
        queue_.push_back({(uint32_t)layer, neuron, 0, {}});
        run = &queue_.back();
      }
      run->slots[run->count++] = at;
    }
    if (slots) slots[i] = (uint32_t)at;
  }
  const size_t more = queue_.size() - runs;
  pending_ += (uint32_t)more;
  for (size_t i = 0; i < std::min<size_t>(more, idle_); i++) work_.notify_one();
}

void NeuronStore::get(size_t layer, uint32_t base, const uint32_t* list, uint32_t n, uint32_t* slots) {
  want(layer, base, list, n, slots, false);
  std::chrono::steady_clock::time_point begin{};
  for (uint32_t i = 0; i < n; i++) {
    std::atomic<uint32_t>& reading = reading_[slots[i]];
    if (!reading.load(std::memory_order_acquire)) continue;
    if (begin.time_since_epoch().count() == 0) begin = std::chrono::steady_clock::now();
    reading.wait(1, std::memory_order_acquire);
  }
  if (begin.time_since_epoch().count()) waited_ns_ += (uint64_t)std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count();
}

Status NeuronStore::fetch(const Run& run, uint8_t* spare, uint64_t& bytes) {
  const NeuronFile::Layer& l = file.layers()[run.layer];
  const size_t wanted = with_first_ ? l.record : l.head;
  Piece pieces[2 * kRun];
  size_t count = 0;
  bytes = 0;
  const auto add = [&](uint8_t* to, size_t n) {
    bytes += n;
    if (count && to != spare && pieces[count - 1].to + pieces[count - 1].bytes == to) pieces[count - 1].bytes += n;
    else pieces[count++] = {to, n};
  };
  for (uint32_t i = 0; i < run.count; i++) {
    const bool last = i + 1 == run.count;
    if (run.slots[i] < 0) add(spare, l.record);
    else {
      add(slots_memory_.data() + (size_t)run.slots[i] * stride_, wanted);
      if (!last && wanted < l.record) add(spare, l.record - wanted);
    }
  }
  if (Status s = file.read(l.offset + (uint64_t)run.first * l.record, {pieces, count}); !s.ok()) return s;
  for (uint32_t i = 0; i < run.count; i++)
    if (run.slots[i] >= 0 && !NeuronFile::sound(l, slots_memory_.data() + (size_t)run.slots[i] * stride_, with_first_)) return file.damaged(run.layer, run.first + i);
  return Status::fine();
}

void NeuronStore::read() {
  size_t longest = 0;
  for (const NeuronFile::Layer& l : file.layers()) longest = std::max(longest, l.record);
  struct Freed {
    void operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t{4096}); }
  };
  const std::unique_ptr<uint8_t, Freed> spare(static_cast<uint8_t*>(::operator new(longest, std::align_val_t{4096})));
  std::unique_lock lock(mutex_);
  for (;;) {
    idle_++;
    work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    idle_--;
    if (stopping_) return;
    const Run run = queue_.front();
    queue_.pop_front();
    lock.unlock();
    uint64_t bytes = 0;
    Status status = failed() ? Status::fine() : fetch(run, spare.get(), bytes);
    const bool zeros = failed() || !status.ok();
    for (uint32_t i = 0; i < run.count; i++) {
      if (run.slots[i] < 0) continue;
      const size_t slot = (size_t)run.slots[i];
      if (zeros) std::memset(slots_memory_.data() + slot * stride_, 0, stride_);
      reading_[slot].store(0, std::memory_order_release);
      reading_[slot].notify_all();
    }
    lock.lock();
    read_bytes_ += bytes;
    if (!status.ok() && failure_.ok()) failure_ = std::move(status), failed_.store(true, std::memory_order_release);
    if (--pending_ == 0) settled_.notify_all();
  }
}

void NeuronStore::settle() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [&] { return pending_ == 0; });
}

Status NeuronStore::take_failure() {
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [&] { return pending_ == 0; });
  if (failed()) {  // which slots hold zeros is not worth remembering
    for (Slot& s : slots_) vacate(s);
    failed_ = false;
  }
  return std::exchange(failure_, {});
}

bool NeuronStore::leave(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  const uint64_t left = bytes < budget_ ? (budget_ - bytes) / stride_ : 0;
  if (left < most_neurons_) return false;
  const uint32_t next = (uint32_t)std::min<uint64_t>(slots_.size(), left);
  for (uint32_t i = next; i < std::min(filled_, usable_); i++) vacate(slots_[i]);
#ifndef _WIN32
  if (next < usable_) {
    const uintptr_t page = 4096, begin = ((uintptr_t)slots_memory_.data() + (size_t)next * stride_ + page - 1) / page * page, end = (uintptr_t)slots_memory_.data() + slots_memory_.size();
    if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
#endif
  usable_ = next;
  filled_ = std::min(filled_, usable_);
  hand_ = 0;
  return true;
}

void NeuronStore::report(unsigned lanes, Residency& out) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < slot_of_.size(); i++) {
    const NeuronFile::Layer& l = file.layers()[i];
    const uint32_t here = (uint32_t)std::count_if(slot_of_[i].begin(), slot_of_[i].end(), [](int32_t s) { return s >= 0; }), away = l.rows->neurons - here;
    const uint64_t each = l.rows->bundle_stride + (with_first_ ? l.rows->first_stride : 0);
    out.memory[i] = here, out.disk[i] = away;
    out.memory_bytes += here * each, out.disk_bytes += away * each;
  }
  out.hits = std::exchange(hits_, 0);
  out.misses = std::exchange(misses_, 0);
  out.read_bytes = std::exchange(read_bytes_, 0);
  out.waited_seconds = (double)waited_ns_.exchange(0) * 1e-9 / std::max(1u, lanes);
}

}  // namespace hunch
