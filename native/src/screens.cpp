#include "screens.h"

#include <algorithm>
#include <atomic>

namespace hunch {

namespace {

constexpr uint32_t kGateBits = 2;

Status no_memory() {
  return Status::error("out-of-memory", "There is no memory left for the low-bit copies that this place of the slider uses. Choose a denser one, or a smaller model.");
}

// row(lane, r, out) gives the weights of row r; slices come with their groups, and get their memory.
template <class F>
bool fill(Pool& pool, Screen& s, const float* importance, bool unit, Screens& owner, F&& row) {
  auto arena = std::make_unique<Arena>();
  if (!arena->reserve(s.bytes() + s.slices.size() * 64)) return false;
  for (Slice& slice : s.slices) {
    slice.stride = s.group_bytes;
    if (!(slice.data = arena->take((size_t)(slice.end - slice.begin) * s.group_bytes))) return false;
  }
  pool.run([&](unsigned lane) {
    std::vector<float> w(s.cols);
    const Slice& mine = s.slices[lane];
    for (uint32_t g = mine.begin; g < mine.end; g++)
      for (uint32_t r = 0; r < kLanes && g * kLanes + r < s.rows; r++) {
        row(g * kLanes + r, w.data());
        put_screen_row(s.bits, w.data(), importance, s.cols, unit, r, mine.group(g));
      }
  });
  owner.memory.push_back(std::move(arena));
  return true;
}

bool make_head(const Model& m, Pool& pool, uint32_t bits, Screens& out) {
  Screen s = screen_shape(bits, m.output.rows, m.output.cols);
  for (const Slice& slice : m.output.slices) s.slices.push_back({slice.begin, slice.end, nullptr, 0});
  if (!fill(pool, s, m.output_norm.weight.data(), false, out, [&](uint32_t r, float* w) { unpack_row(m.output, r, w); })) return false;
  out.head[bits] = std::move(s);
  return true;
}

bool make_gates(const Model& m, Pool& pool, Screens& out) {
  std::vector<Screen> gates(m.layers.size());
  for (size_t i = 0; i < gates.size(); i++) {
    const NeuronRows& rows = m.layers[i].rows;
    if (!rows.present() || rows.width % kQuantBlock) continue;
    Screen s = screen_shape(kGateBits, rows.neurons, rows.width);
    for (const NeuronRows::Slice& slice : rows.slices) {
      const Range mine = rows.neurons_of(slice);
      s.slices.push_back({mine.begin / kLanes, (mine.end + kLanes - 1) / kLanes, nullptr, 0});  // parts are whole groups
    }
    const auto row = [&](uint32_t n, float* w) {
      for (const NeuronRows::Slice& slice : rows.slices)
        if (const Range mine = rows.neurons_of(slice); n >= mine.begin && n < mine.end)
          unpack_row(rows.first, slice.first + (size_t)(n - mine.begin) * rows.first_stride, rows.width, w);
    };
    if (!fill(pool, s, m.layers[i].ffn_norm.weight.data(), true, out, row)) return false;
    gates[i] = std::move(s);
  }
  out.gates = std::move(gates);
  out.gate_bits = kGateBits;
  return true;
}

}  // namespace

Status make_screens(const Model& model, Pool& pool, const Plan& plan, Screens& out) {
  const uint32_t bits = plan.vocabulary_bits;
  if (bits && model.output.cols % kQuantBlock == 0 && !out.head[bits].present() && !make_head(model, pool, bits, out)) return no_memory();
  const bool gates = std::any_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& l) { return l.mlp == MlpRoute::screened; });
  if (gates && out.gates.empty() && !make_gates(model, pool, out)) return no_memory();
  return Status::fine();
}

}  // namespace hunch
