#include "predictors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "half.h"

namespace hunch {

namespace {

Status wrong(size_t layer, const char* kind, const std::string& what) {
  return Status::error("bad-request", std::string("The ") + kind + " predictor of layer " + std::to_string(layer) + " " + what + ".");
}

bool finite(const std::vector<float>& v) {
  return std::all_of(v.begin(), v.end(), [](float x) { return std::isfinite(x); });
}

// w [rows][cols] with its rows padded to `padded` columns, as F16 or Q8_0 groups [begin, end) of the slices.
bool pack(TensorType type, const std::vector<float>& w, uint32_t rows, uint32_t cols, uint32_t padded, std::vector<Range> groups, PackedMatrix& out,
          PredictorSet& owner) {
  out = packed_shape(type, rows, padded);
  // Many are small: one takes what the one before left of its huge page.
  if (const size_t bytes = out.bytes() + groups.size() * 64; owner.memory.empty() || owner.memory.back()->left() < bytes) {
    owner.memory.push_back(std::make_unique<Arena>());
    if (!owner.memory.back()->reserve(bytes)) return false;
  }
  Arena& arena = *owner.memory.back();
  std::vector<float> row(padded, 0.0f);
  const size_t bytes = row_bytes(type, padded);
  std::vector<uint8_t> raw(bytes * kLanes);
  for (const Range& r : groups) {
    Slice s{r.begin, r.end, arena.take((size_t)(r.end - r.begin) * out.group_bytes), out.group_bytes};
    if (!s.data) return false;
    for (uint32_t g = r.begin; g < r.end; g++) {
      const uint32_t n = std::min(kLanes, rows - g * kLanes);
      for (uint32_t i = 0; i < n; i++) {
        std::copy_n(w.data() + (size_t)(g * kLanes + i) * cols, cols, row.data());
        if (type == TensorType::Q8_0) quantise_q8_0(row.data(), padded, raw.data() + i * bytes);
        else
          for (uint32_t c = 0; c < padded; c++) {
            const uint16_t h = f32_to_f16(row[c]);
            std::memcpy(raw.data() + i * bytes + 2 * c, &h, 2);
          }
      }
      pack_group(type, raw.data(), n, padded, s.group(g));
    }
    out.slices.push_back(s);
  }
  return true;
}

Status pack_one(const Model& m, size_t layer, const char* kind, const LowRankPredictor& from, uint32_t rows, const std::vector<Range>& groups, Predictor& out, PredictorSet& owner) {
  const uint32_t width = m.spec.width;
  if (from.rank < 1 || from.rank > kMaxRank) return wrong(layer, kind, "has rank " + std::to_string(from.rank) + "; it must lie between 1 and 4096");
  if (from.a.size() != (size_t)from.rank * width) return wrong(layer, kind, "has a first factor of another shape than rank x width");
  if (from.b.size() != (size_t)rows * from.rank) return wrong(layer, kind, "has a second factor of another shape than rows x rank");
  if (!from.bias.empty() && from.bias.size() != rows) return wrong(layer, kind, "has a bias of another length than its rows");
  if (!finite(from.a) || !finite(from.b) || !finite(from.bias)) return wrong(layer, kind, "holds values that are not numbers");
  if (from.source == PredictorSource::previous && layer == 0) return wrong(layer, kind, "reads the layer before, which the first layer does not have");
  out.source = from.source;
  out.relu = from.relu;
  out.rank = (from.rank + kQuantBlock - 1) / kQuantBlock * kQuantBlock;
  // Rows of `a` past the rank are zeros, so that what they give is.
  std::vector<float> a(from.a);
  a.resize((size_t)out.rank * width, 0.0f);
  out.bias = from.bias;
  if (out.bias.empty()) out.bias.assign(rows, 0.0f);
  // The first factor stays in half precision and reads unrounded inputs: it may weigh small columns heavily that stand beside great ones.
  if (!pack(TensorType::F16, a, out.rank, width, width, {{0, (out.rank + kLanes - 1) / kLanes}}, out.a, owner) ||
      !pack(TensorType::Q8_0, from.b, rows, from.rank, out.rank, groups, out.b, owner))
    return Status::error("out-of-memory", "There is no memory left for the predictors. Close other programs or choose a smaller model.");
  return Status::fine();
}

}  // namespace

Activations HiddenInput::split(const Kernels& k, const Predictor& p, const float* hidden, uint32_t tokens) {
  const size_t size = (size_t)tokens * p.rank, blocks = size / kQuantBlock;
  if (floats.size() < 2 * size) {
    floats.resize(2 * size);
    q.resize(2 * size);
    d.resize(2 * blocks);
    sum.resize(4 * blocks);
  }
  float *whole = floats.data(), *rest = whole + size;
  std::copy_n(hidden, size, whole);
  if (p.relu) k.activate[(int)Activation::relu](whole, (uint32_t)size);
  k.quantize(whole, (uint32_t)size, q.data(), d.data(), sum.data());
  for (size_t i = 0; i < size; i++) rest[i] = whole[i] - d[i / kQuantBlock] * (float)q[i];
  k.quantize(rest, (uint32_t)size, q.data() + size, d.data() + blocks, sum.data() + 2 * blocks);
  return {whole, q.data(), d.data(), sum.data()};
}

void predictor_scores(const Kernels& k, const Predictor& p, const float* x, uint32_t tokens, float* scores) {
  const uint32_t rows = (uint32_t)p.bias.size(), padded = (rows + kLanes - 1) / kLanes * kLanes;
  std::vector<float> hidden((size_t)p.rank), both(2 * (size_t)padded);
  HiddenInput input;
  for (uint32_t t = 0; t < tokens; t++) {
    const Slice& a = p.a.slices[0];
    k.matmul[(int)p.a.type]({a.data, a.stride, a.end - a.begin, p.rank, p.a.cols, {x + (size_t)t * p.a.cols, nullptr, nullptr, nullptr}, 1, hidden.data(), p.rank, false});
    const Activations in = input.split(k, p, hidden.data(), 1);
    for (const Slice& b : p.b.slices)
      k.matmul[(int)p.b.type]({b.data, b.stride, b.end - b.begin, rows - b.begin * kLanes, p.rank, in, 2, both.data() + b.begin * kLanes, padded, false});
    k.add(both.data(), both.data() + padded, rows);
    k.add(both.data(), p.bias.data(), rows);
    std::copy_n(both.data(), rows, scores + (size_t)t * rows);
  }
}

void round_as_packed(LowRankPredictor& p) {
  for (float& w : p.a) w = f16_to_f32(f32_to_f16(w));
  const uint32_t padded = (p.rank + kQuantBlock - 1) / kQuantBlock * kQuantBlock;
  std::vector<float> row(padded, 0.0f);
  std::vector<uint8_t> raw(row_bytes(TensorType::Q8_0, padded));
  for (size_t r = 0; r + p.rank <= p.b.size(); r += p.rank) {
    std::copy_n(p.b.data() + r, p.rank, row.data());
    quantise_q8_0(row.data(), padded, raw.data());
    for (uint32_t c = 0; c < p.rank; c++) {
      const uint8_t* block = raw.data() + row_bytes(TensorType::Q8_0, kQuantBlock) * (c / kQuantBlock);  // a half, then 32 integers
      uint16_t d;
      std::memcpy(&d, block, 2);
      p.b[r + c] = f16_to_f32(d) * (float)(int8_t)block[2 + c % kQuantBlock];
    }
  }
}

void round_as_packed(Predictors& all) {
  for (auto* list : {&all.mlp, &all.heads})
    for (auto& p : *list)
      if (p) round_as_packed(*p);
}

Status pack_predictors(const Model& model, const Predictors& from, PredictorSet& out) try {
  const size_t layers = model.layers.size();
  for (const auto* list : {&from.mlp, &from.heads})
    if (!list->empty() && list->size() != layers)
      return Status::error("bad-request", "There are predictors for " + std::to_string(list->size()) + " layers; the model has " + std::to_string(layers) + ".");
  out.mlp.resize(layers);
  out.heads.resize(layers);
  for (size_t i = 0; i < from.mlp.size(); i++) {
    const NeuronRows& r = model.layers[i].rows;
    if (!from.mlp[i]) continue;
    if (!r.present()) return wrong(i, "MLP", "has nothing to predict: the model was loaded without its neurons apart");
    std::vector<Range> groups;
    for (const NeuronRows::Slice& s : r.slices) {
      const Range n = r.neurons_of(s);
      groups.push_back({n.begin / kLanes, (n.end + kLanes - 1) / kLanes});
    }
    if (Status s = pack_one(model, i, "MLP", *from.mlp[i], r.neurons, groups, out.mlp[i], out); !s.ok()) return s;
  }
  for (size_t i = 0; i < from.heads.size(); i++) {
    const uint32_t heads = model.spec.heads;
    if (!from.heads[i]) continue;
    if (from.heads[i]->source == PredictorSource::same) return wrong(i, "head", "reads the MLP's input, which comes after the heads");
    if (Status s = pack_one(model, i, "head", *from.heads[i], heads, {{0, (heads + kLanes - 1) / kLanes}}, out.heads[i], out); !s.ok()) return s;
  }
  return Status::fine();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "There is no memory left for the predictors. Close other programs or choose a smaller model.");
}

}  // namespace hunch
