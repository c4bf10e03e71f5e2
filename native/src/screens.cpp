#include "screens.h"

#include "forward.h"
#include "lane.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <new>

namespace hunch {

namespace {

constexpr uint32_t kGateBits = 2;
constexpr uint32_t kWideBlocks = 4;  // of 32 columns, which hold most of the inputs' energy

Status no_memory() {
  return Status::error("out-of-memory", "There is no memory left for the low-bit copies that this place of the slider uses. Choose a denser one, or a smaller model.");
}

// row(r, out) gives the weights of row r; the slices come with their groups and get their memory.
template <class F>
bool fill(Pool& pool, Screen& s, const std::vector<float>& importance, bool unit, Screens& owner, F&& row) {
  // Of a small model, one takes what the one before left of its huge page.
  if (const size_t bytes = s.bytes() + s.slices.size() * 128; owner.memory.empty() || owner.memory.back()->left() < bytes) {
    owner.memory.push_back(std::make_unique<Arena>());
    if (!owner.memory.back()->reserve(bytes)) return false;
  }
  Arena& arena = *owner.memory.back();
  const size_t wide_bytes = packed_group_bytes(TensorType::Q8_0, s.wide);
  for (Slice& slice : s.slices) {
    const size_t groups = slice.end - slice.begin;
    slice.stride = s.group_bytes;
    s.wide_slices.push_back({slice.begin, slice.end, arena.take(groups * wide_bytes), wide_bytes});
    slice.data = arena.take(groups * s.group_bytes);
    if (!slice.data || !s.wide_slices.back().data) return false;
  }
  pool.run([&](unsigned lane) {
    std::vector<float> w(s.cols);
    const Slice &mine = s.slices[lane], &wide = s.wide_slices[lane];
    for (uint32_t g = mine.begin; g < mine.end; g++)
      for (uint32_t r = 0; r < kLanes && g * kLanes + r < s.rows; r++) {
        row(g * kLanes + r, w.data());
        put_screen_row(s, w.data(), importance.data(), unit, r, mine.group(g), wide.group(g));
      }
  });
  return true;
}

bool make_head(const Model& m, Pool& pool, uint32_t bits, Screens& out) {
  Screen s = screen_shape(bits, m.output.rows, m.output.cols, kWideBlocks, out.output_importance.data());
  for (const Slice& slice : m.output.slices) s.slices.push_back({slice.begin, slice.end, nullptr, 0});
  if (!fill(pool, s, out.output_importance, false, out, [&](uint32_t r, float* w) { unpack_row(m.output, r, w); })) return false;
  out.head[bits] = std::move(s);
  return true;
}

Status make_gates(const Model& m, Pool& pool, Screens& out) {
  std::mutex mutex;
  Status failure;
  std::vector<Screen> gates(m.layers.size());
  for (size_t i = 0; i < gates.size(); i++) {
    const NeuronRows& rows = m.layers[i].rows;
    if (!rows.present() || rows.width % kQuantBlock) continue;
    Screen s = screen_shape(kGateBits, rows.neurons, rows.width, kWideBlocks, out.mlp_importance[i].data());
    for (const NeuronRows::Slice& slice : rows.slices) {
      const Range mine = rows.neurons_of(slice);
      s.slices.push_back({mine.begin / kLanes, (mine.end + kLanes - 1) / kLanes, nullptr, 0});  // parts are whole groups
    }
    const auto row = [&](uint32_t n, float* w) {
      Status read = first_row(m, i, n, w);
      if (read.ok()) return;
      std::lock_guard lock(mutex);
      if (failure.ok()) failure = std::move(read);
    };
    if (!fill(pool, s, out.mlp_importance[i], true, out, row)) return no_memory();
    if (!failure.ok()) return failure;
    gates[i] = std::move(s);
  }
  out.gates = std::move(gates);
  out.gate_bits = kGateBits;
  return Status::fine();
}

// How much each column counts in the inputs of the MLPs and of the output head: the root of its mean square over a short text of fixed tokens.
// Which columns stand out hardly depends on the text (Dettmers 2022).
Status probe(const Model& m, Pool& pool, Screens& out) {
  constexpr uint32_t kTokens = 64, kFirst = 4;  // the first tokens are attention's sinks, unlike all others
  KvCache kv;
  if (!kv.allocate(m.spec.layers, m.spec.kv_heads, m.spec.head_width, kTokens)) return no_memory();
  Scratch scratch;
  Tap tap;
  scratch.allocate(m, kTokens, pool.size());
  scratch.screens = &out;
  tap.resize(m.spec, kTokens);
  scratch.tap = &tap;
  std::vector<int32_t> ids(kTokens);
  for (uint32_t i = 0; i < kTokens; i++) ids[i] = (int32_t)((uint64_t)(i + 1) * 7919 % m.spec.vocabulary);
  const std::atomic<bool> never{false};
  if (!forward(m, pool, kv, scratch, ids, 0, nullptr, Logits::none, never)) return m.store->take_failure();
  const uint32_t width = m.spec.width;
  const auto importance = [&](const float* x) {
    std::vector<float> of(width);
    double mean = 0;
    for (uint32_t c = 0; c < width; c++) {
      double sum = 0;
      for (uint32_t t = kFirst; t < kTokens; t++) sum += (double)x[(size_t)t * width + c] * x[(size_t)t * width + c];
      of[c] = (float)std::sqrt(sum / (kTokens - kFirst));
      mean += of[c] / width;
    }
    for (float& v : of) v = std::isfinite(v) ? std::max(v, (float)(mean * 1e-3)) : 1;  // a silent column still has an order and an error
    return of;
  };
  for (uint32_t i = 0; i < m.spec.layers; i++) out.mlp_importance.push_back(importance(tap.mlp_in.data() + (size_t)i * kTokens * width));
  for (uint32_t t = 0; t < kTokens; t++) normalise(m, m.output_norm, scratch.x.data() + (size_t)t * width, width, tap.output_in.data() + (size_t)t * width);
  out.output_importance = importance(tap.output_in.data());
  return Status::fine();
}

}  // namespace

Status make_screens(const Model& model, Pool& pool, const Plan& plan, Screens& out) try {
  const uint32_t bits = plan.vocabulary_bits, cols = model.output.cols;
  const bool wide_enough = cols % kQuantBlock == 0 && cols > 2 * kWideBlocks * kQuantBlock;
  const bool head = bits && wide_enough && !out.head[bits].present();
  const bool gates = wide_enough && out.gates.empty() && std::any_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& l) { return l.mlp == MlpRoute::screened; });
  if ((head || gates) && out.mlp_importance.empty())
    if (Status s = probe(model, pool, out); !s.ok()) return s;
  if (head && !make_head(model, pool, bits, out)) return no_memory();
  return gates ? make_gates(model, pool, out) : Status::fine();
} catch (const std::bad_alloc&) {
  return no_memory();
}

uint64_t screens_bytes(const Model& model, const Plan& plan) {
  const auto copy = [](uint64_t rows, uint64_t cols, uint32_t bits) { return rows * (cols * (bits + 1) + kWideBlocks * kQuantBlock * 9) / 8; };  // with scales
  uint64_t bytes = plan.vocabulary_bits ? copy(model.output.rows, model.output.cols, plan.vocabulary_bits) : 0;
  if (std::any_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& l) { return l.mlp == MlpRoute::screened; }))
    for (const Layer& l : model.layers) bytes += copy(l.rows.neurons, l.rows.width, kGateBits);
  return bytes;
}

}  // namespace hunch
