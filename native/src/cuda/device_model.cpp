#include "device_model.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>

#include "half.h"
#include "repack.h"
#include "rows.h"

namespace hunch::cuda {

namespace {

constexpr size_t kStaging = 32u << 20;  // bytes of repacked rows that go over at once

// Rows of two tensors at `stride` apart have one format; where they differ, f16.
Format pair_format(const TensorInfo& a, const TensorInfo& b) { return format_of(a.type) == format_of(b.type) ? format_of(a.type) : Format::f16; }
// What the file stores by output is turned; blocks run the other way then, so that quantised ones get 8 bits.
Format down_format(const TensorInfo& down, bool by_output, uint32_t width) {
  return !by_output || is_float(format_of(down.type)) ? format_of(down.type) : width % 32 ? Format::f16 : Format::bytes;
}
uint32_t bundle_stride(Format first, Format down, uint32_t width, bool gated) {
  return (row_stride(first, width) * (gated ? 2 : 1) + row_stride(down, width) + 127) / 128 * 128;
}

Matrix shape(Format f, uint32_t rows, uint32_t cols) { return {nullptr, rows, cols, row_stride(f, cols), 0, f, pieces(f, cols)}; }

class Uploader {
 public:
  Uploader(DeviceModel& model, const Weights& weights, const std::function<void(float)>& progress) : m_(model), w_(weights), progress_(progress) {
    for (const TensorInfo& t : m_.spec.tensors) total_ += size(t);
  }
  Status status;

  bool has(const std::string& name) const { return w_.find(name) != nullptr; }
  const TensorInfo* find(const std::string& name, uint64_t cols, uint64_t rows) {
    if (!status.ok()) return nullptr;
    const TensorInfo* t = w_.find(name);
    uint64_t have = 1;
    for (size_t i = 1; t && i < t->shape.size(); i++) have *= t->shape[i];
    if (!t || t->shape[0] != cols || have != rows) {
      status = Status::error("model-invalid", "The model " + m_.spec.path + " has no tensor " + name + " of the shape that its architecture needs.");
      return nullptr;
    }
    return t;
  }
  std::vector<float> values(const std::string& name, uint32_t n) {
    std::vector<float> out;
    const TensorInfo* t = find(name, n, 1);
    if (!t) return out;
    std::vector<uint8_t> raw(row_bytes(t->type, n));
    if (status = w_.read(*t, 0, raw.size(), raw.data()); !status.ok()) return out;
    out.resize(n);
    unpack_file_row(t->type, raw.data(), n, out.data());
    return out;
  }
  float* vector(const std::string& name, uint32_t n) {
    if (!has(name)) return nullptr;
    return m_.memory.upload(values(name, n), "the model's norms");
  }
  cuda::Norm norm(const std::string& name, uint32_t n) { return {vector(name + ".weight", n), vector(name + ".bias", n)}; }

  // Rows of the tensors one after the other; all of one format.
  Matrix stack(const std::vector<const TensorInfo*>& tensors, uint32_t cols) {
    if (!status.ok()) return {};
    uint32_t rows = 0;
    for (const TensorInfo* t : tensors) rows += (uint32_t)t->shape[1];
    Matrix out = shape(format_of(tensors[0]->type), rows, cols);
    const DevicePointer data = m_.memory.take((size_t)rows * out.stride, "the model");
    if (!data) return {};
    size_t at = 0;
    for (const TensorInfo* t : tensors) {
      send(data + at, out.stride, t->shape[1], *t, [&](uint8_t* row, const uint8_t* raw) { repack_row(t->type, raw, cols, row); });
      at += t->shape[1] * out.stride;
    }
    out.data = reinterpret_cast<const uint8_t*>(data);
    return out;
  }
  Matrix matrix(const std::string& name, uint32_t cols, uint32_t rows) {
    const TensorInfo* t = find(name, cols, rows);
    return t ? stack({t}, cols) : Matrix{};
  }

  // Rows of several tensors that lie side by side: `offset` bytes into every `stride`.
  struct Part {
    const TensorInfo* tensor;
    Format format;
    size_t offset;
    const uint8_t* ready = nullptr;  // rows that were made before, [rows][row_stride]
  };
  // Rows [begin, end) of what is made; `which` says which rows of the tensors these are (null: the same).
  void weave(const std::vector<Part>& parts, uint32_t cols, DevicePointer to, size_t stride, uint64_t begin, uint64_t end, const uint32_t* which = nullptr) {
    const uint64_t at_once = std::clamp<uint64_t>(kStaging / stride, 1, std::max<uint64_t>(1, end - begin));
    std::vector<uint8_t> staged(at_once * stride, 0), raw;
    std::vector<float> plain(cols);
    for (uint64_t r = begin; r < end && status.ok(); r += at_once) {
      const uint64_t n = std::min(at_once, end - r);
      for (const Part& p : parts) {
        const uint64_t bytes = row_bytes(p.tensor->type, cols);
        const size_t filled = row_stride(p.format, cols);
        if (!p.ready) {
          raw.resize(bytes * n);
          for (uint64_t i = 0, run; i < n; i += run) {
            const uint64_t first = which ? which[r + i] : r;
            for (run = which ? 1 : n; which && i + run < n && which[r + i + run] == first + run;) run++;
            if (status = w_.read(*p.tensor, first * bytes, run * bytes, raw.data() + i * bytes); !status.ok()) return;
          }
          finished(n * bytes);
        }
        for (uint64_t i = 0; i < n; i++) {
          uint8_t* row = staged.data() + i * stride + p.offset;
          if (p.ready) {
            std::memcpy(row, p.ready + (r - begin + i) * filled, filled);
          } else if (format_of(p.tensor->type) == p.format) {
            repack_row(p.tensor->type, raw.data() + i * bytes, cols, row);
          } else {
            unpack_file_row(p.tensor->type, raw.data() + i * bytes, cols, plain.data());
            repack_values(p.format, plain.data(), cols, row);
          }
        }
      }
      if (status.ok()) status = m_.memory.copy(to + r * stride, staged.data(), n * stride);
    }
  }
  Matrix pairs(const std::string& gate, const std::string& up, uint32_t cols, uint32_t n) {
    const TensorInfo *g = find(gate, cols, n), *u = find(up, cols, n);
    if (!g || !u) return {};
    const Format f = pair_format(*g, *u);
    Matrix out = shape(f, 2 * n, cols);
    out.pair = out.stride, out.stride *= 2;
    const DevicePointer data = m_.memory.take((size_t)n * out.stride, "the model");
    if (!data) return {};
    weave({{g, f, 0}, {u, f, out.pair}}, cols, data, out.stride, 0, n);
    out.data = reinterpret_cast<const uint8_t*>(data);
    return out;
  }

  // hot: the neurons that come here, ascending; null: all.
  void bundles(const std::string& blk, DeviceLayer& l, const std::vector<uint32_t>* hot) {
    const ModelSpec& s = m_.spec;
    const uint32_t width = s.width, all = s.ffn_width, n = hot ? (uint32_t)hot->size() : all;
    const bool gated = m_.traits.gated, by_output = !has(blk + "ffn_down_t.weight");
    const TensorInfo* g = gated ? find(blk + "ffn_gate.weight", width, all) : nullptr;
    const TensorInfo* u = find(blk + "ffn_up.weight", width, all);
    const TensorInfo* d = by_output ? find(blk + "ffn_down.weight", all, width) : find(blk + "ffn_down_t.weight", width, all);
    if (!u || !d || (gated && !g)) return;
    const Format f = gated ? pair_format(*g, *u) : format_of(u->type);
    const Format down = down_format(*d, by_output, width);
    const uint32_t row = row_stride(f, width), stride = bundle_stride(f, down, width, gated);
    const DevicePointer data = m_.memory.take((size_t)n * stride, "the model's neurons");
    if (!data) return;
    l.first = shape(f, gated ? 2 * n : n, width);
    l.first.stride = stride, l.first.pair = gated ? row : 0;
    l.up = shape(f, n, width);
    l.up.stride = stride;
    l.down_rows = shape(down, n, width);
    l.down_rows.stride = stride;
    const DevicePointer up_at = data + (gated ? row : 0), down_at = up_at + row;
    l.first.data = reinterpret_cast<const uint8_t*>(data);
    l.up.data = reinterpret_cast<const uint8_t*>(up_at);
    l.down_rows.data = reinterpret_cast<const uint8_t*>(down_at);
    std::vector<Part> parts;
    if (gated) parts.push_back({g, f, 0});
    parts.push_back({u, f, up_at - data});
    parts.push_back({d, down, down_at - data});
    if (!by_output) {
      weave(parts, width, data, stride, 0, n, hot ? hot->data() : nullptr);
    } else {
      const uint32_t at_once = std::max(32u, (uint32_t)std::min<uint64_t>(n, (128u << 20) / ((uint64_t)width * 4) / 256 * 256));
      for (uint32_t begin = 0, made = 0; begin < all && status.ok(); begin += at_once) {
        const uint32_t end = std::min(all, begin + at_once), before = made;
        if (hot) {
          while (made < n && (*hot)[made] < end) made++;
          if (made == before) continue;
        } else {
          made = end;
        }
        std::vector<uint8_t> rows = turned(*d, down, begin, end);
        const size_t size = row_stride(down, width);
        for (uint32_t i = before; hot && status.ok() && i < made; i++) std::memmove(rows.data() + (i - before) * size, rows.data() + ((*hot)[i] - begin) * size, size);
        parts.back().ready = rows.data();
        if (status.ok()) weave(parts, width, data, stride, before, made, hot ? hot->data() : nullptr);
      }
      finished(row_bytes(d->type, all) * width);
    }
    l.by_neuron = true;
    l.hot = n;
  }

 private:
  uint64_t size(const TensorInfo& t) const {
    uint64_t rows = 1;
    for (size_t i = 1; i < t.shape.size(); i++) rows *= t.shape[i];
    return rows * row_bytes(t.type, t.shape[0]);
  }

  // Rows of t, each made by `make`, one after the other.
  template <class Make>
  void send(DevicePointer to, size_t stride, uint64_t rows, const TensorInfo& t, Make&& make) {
    if (!status.ok()) return;
    const uint64_t bytes = row_bytes(t.type, t.shape[0]), at_once = std::clamp<uint64_t>(kStaging / stride, 1, rows);
    std::vector<uint8_t> raw(bytes * at_once), staged(at_once * stride);
    for (uint64_t r = 0; r < rows && status.ok(); r += at_once) {
      const uint64_t n = std::min(at_once, rows - r);
      if (status = w_.read(t, r * bytes, n * bytes, raw.data()); !status.ok()) return;
      for (uint64_t i = 0; i < n; i++) make(staged.data() + i * stride, raw.data() + i * bytes);
      status = m_.memory.copy(to + r * stride, staged.data(), n * stride);
      finished(n * bytes);
    }
  }
  // Columns [begin, end) of t [width][neurons] as rows; `begin` is at a block's start.
  std::vector<uint8_t> turned(const TensorInfo& t, Format f, uint32_t begin, uint32_t end) {
    const uint32_t n = m_.spec.ffn_width, width = m_.spec.width, block = (uint32_t)block_columns(t.type);
    const uint32_t upto = std::min(n, (end + block - 1) / block * block), count = end - begin;
    const uint64_t bytes = row_bytes(t.type, n), skip = row_bytes(t.type, begin), some = row_bytes(t.type, upto - begin);
    const size_t filled = row_stride(f, width);
    std::vector<uint8_t> raw(some), out(count * filled, 0);
    std::vector<float> row(upto - begin), columns((size_t)count * width);
    for (uint32_t r = 0; r < width; r++) {
      if (status = w_.read(t, r * bytes + skip, some, raw.data()); !status.ok()) return out;
      unpack_file_row(t.type, raw.data(), upto - begin, row.data());
      for (uint32_t c = 0; c < count; c++) columns[(size_t)c * width + r] = row[c];
    }
    for (uint32_t c = 0; c < count; c++) {
      const float* from = columns.data() + (size_t)c * width;
      uint8_t* to = out.data() + c * filled;
      if (f != Format::bf16) {
        repack_values(f, from, width, to);
        continue;
      }
      for (uint32_t r = 0; r < width; r++) {  // exact: that is what it was
        const uint16_t h = (uint16_t)(std::bit_cast<uint32_t>(from[r]) >> 16);
        std::memcpy(to + 2 * r, &h, 2);
      }
    }
    return out;
  }
  void finished(uint64_t bytes) {
    done_ += bytes;
    if (progress_ && total_) progress_(std::min(1.0f, (float)((double)done_ / (double)total_)));
  }

  DeviceModel& m_;
  const Weights& w_;
  const std::function<void(float)>& progress_;
  uint64_t done_ = 0, total_ = 0;
};

uint64_t bytes_of(const Matrix& m) { return m.data ? (uint64_t)(m.pair ? m.rows / 2 : m.rows) * m.stride : 0; }

}  // namespace

uint64_t DeviceModel::mlp_bytes(uint32_t layer) const {
  const DeviceLayer& l = layers[layer];
  return l.down.data ? bytes_of(l.gate_up) + bytes_of(l.down) : (uint64_t)l.hot * l.first.stride;
}

uint32_t DeviceModel::turns() const {
  uint32_t n = placement.cpu_layers > 0;
  for (uint32_t i = 0; i < spec.layers; i++) n += split(i);
  return n;
}

uint64_t Footprint::whole(uint32_t neurons) const {
  uint64_t sum = embedding + positions + output;
  for (const Layer& l : layers) sum += l.attention + l.dense + l.neuron * neurons;
  return sum;
}

Footprint DeviceModel::footprint(const ModelSpec& spec, const Traits& traits, const Weights& weights, bool by_neuron) {
  Footprint f;
  const auto matrix = [&](const std::string& name) -> uint64_t {
    const TensorInfo* t = weights.find(name);
    return t && t->shape.size() > 1 ? t->shape[1] * row_stride(format_of(t->type), (uint32_t)t->shape[0]) : 0;
  };
  const bool zeros = spec.activation == Activation::relu || spec.activation == Activation::drelu;
  for (uint32_t i = 0; i < spec.layers; i++) {
    const std::string blk = "blk." + std::to_string(i) + ".";
    Footprint::Layer& l = f.layers.emplace_back();
    for (const char* name : {"attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"}) l.attention += matrix(blk + name);
    l.attention += 16ull * spec.width * sizeof(float);  // norms and biases, at most
    const TensorInfo *gate = weights.find(blk + "ffn_gate.weight"), *up = weights.find(blk + "ffn_up.weight"), *turned = weights.find(blk + "ffn_down_t.weight");
    const TensorInfo* down = turned ? turned : weights.find(blk + "ffn_down.weight");
    if (!turned) l.dense = matrix(blk + "ffn_gate.weight") + matrix(blk + "ffn_up.weight") + matrix(blk + "ffn_down.weight");
    if (!up || !down || (traits.gated && !gate) || !(turned || by_neuron || zeros)) continue;
    const Format first = traits.gated ? pair_format(*gate, *up) : format_of(up->type);
    l.neuron = bundle_stride(first, down_format(*down, !turned, spec.width), spec.width, traits.gated);
    l.always = row_stride(first, spec.width);
  }
  f.embedding = matrix("token_embd.weight"), f.positions = matrix("position_embd.weight");
  f.output = matrix("output.weight");
  return f;
}

Traits traits_of(const Model& m) {
  return {m.rope_style, m.embedding_scale, m.position_offset, m.layers.empty() || m.layers[0].gate.present() || m.layers[0].rows.gated};
}

Status DeviceModel::load(std::shared_ptr<Device> device, const ModelSpec& spec, const Traits& traits, const Weights& weights, bool by_neuron,
                         const std::function<void(float)>& progress, std::shared_ptr<DeviceModel>& out, const Placement* placement) try {
  const auto refuse = [&](const std::string& what) {
    return Status::error("model-unsupported", "The model " + spec.path + " has " + what + ", which the GPU kernels do not run. Run it on the CPU.");
  };
  if (spec.head_width % 8 || spec.head_width > kMaxHeadWidth) return refuse("heads of " + std::to_string(spec.head_width) + " numbers");
  if (spec.heads > kMaxHeads) return refuse(std::to_string(spec.heads) + " heads");
  if (spec.width % 8 || spec.ffn_width % 8) return refuse("a width that is no multiple of 8");
  auto m = std::make_shared<DeviceModel>(std::move(device));
  m->spec = spec;
  m->traits = traits;
  Uploader u(*m, weights, progress);
  const bool zeros = spec.activation == Activation::relu || spec.activation == Activation::drelu;
  const uint32_t q_rows = spec.heads * spec.head_width, kv_rows = spec.kv_heads * spec.head_width;
  if (u.has("rope_freqs.weight")) m->rope_factors = u.values("rope_freqs.weight", spec.rope_width / 2);
  m->layers.resize(spec.layers);
  if (placement) m->placement = *placement;
  for (uint32_t i = m->placement.cpu_layers; i < spec.layers && u.status.ok() && m->memory.status().ok(); i++) {
    DeviceLayer& l = m->layers[i];
    const std::string blk = "blk." + std::to_string(i) + ".";
    l.attention_norm = u.norm(blk + "attn_norm", spec.width);
    l.ffn_norm = u.norm(blk + "ffn_norm", spec.width);
    l.post_attention_norm = u.norm(blk + "post_attention_norm", spec.width);
    l.post_ffn_norm = u.norm(blk + "post_ffw_norm", spec.width);
    l.q_norm = u.norm(blk + "attn_q_norm", spec.head_width);
    l.k_norm = u.norm(blk + "attn_k_norm", spec.head_width);
    const TensorInfo *q = u.find(blk + "attn_q.weight", spec.width, q_rows), *k = u.find(blk + "attn_k.weight", spec.width, kv_rows),
                     *v = u.find(blk + "attn_v.weight", spec.width, kv_rows);
    if (!q || !k || !v) break;
    // Queries stay apart where their heads may be skipped: their rows are then chosen by a list.
    if (format_of(q->type) == format_of(k->type) && format_of(k->type) == format_of(v->type)) {
      l.attention_parts = 1;
      l.qkv[0] = u.stack({q, k, v}, spec.width);
    } else {
      l.attention_parts = 3;
      l.qkv[0] = u.stack({q}, spec.width), l.qkv[1] = u.stack({k}, spec.width), l.qkv[2] = u.stack({v}, spec.width);
    }
    if (u.has(blk + "attn_q.bias")) {
      std::vector<float> bias = u.values(blk + "attn_q.bias", q_rows);
      for (const char* name : {"attn_k.bias", "attn_v.bias"}) {
        const std::vector<float> more = u.has(blk + name) ? u.values(blk + name, kv_rows) : std::vector<float>(kv_rows, 0.0f);
        bias.insert(bias.end(), more.begin(), more.end());
      }
      l.qkv_bias = m->memory.upload(bias, "the model's biases");
    }
    l.o = u.matrix(blk + "attn_output.weight", q_rows, spec.width);
    l.o_bias = u.vector(blk + "attn_output.bias", spec.width);
    const bool only_rows = u.has(blk + "ffn_down_t.weight");
    const std::vector<uint32_t>* hot = m->placement.by_neuron && m->placement.hot[i].size() < spec.ffn_width ? &m->placement.hot[i] : nullptr;
    if (!only_rows && !m->placement.by_neuron) {
      l.gate_up = traits.gated ? u.pairs(blk + "ffn_gate.weight", blk + "ffn_up.weight", spec.width, spec.ffn_width) : u.matrix(blk + "ffn_up.weight", spec.width, spec.ffn_width);
      l.down = u.matrix(blk + "ffn_down.weight", spec.ffn_width, spec.width);
    }
    // A model that is split by layers for want of room has no room for a second form of its MLPs either.
    if (only_rows || m->placement.by_neuron || (!placement && (by_neuron || zeros))) u.bundles(blk, l, hot);
    if (hot && u.has(blk + "ffn_up.bias")) {
      const std::vector<float> all = u.values(blk + "ffn_up.bias", spec.ffn_width);
      std::vector<float> some;
      for (uint32_t n : *hot)
        if (n < all.size()) some.push_back(all[n]);
      l.up_bias = m->memory.upload(some, "the model's biases");
    } else {
      l.up_bias = u.vector(blk + "ffn_up.bias", spec.ffn_width);
    }
    l.down_bias = u.vector(blk + "ffn_down.bias", spec.width);
    l.windowed = spec.window > 0 && spec.window_pattern > 0 && (i + 1) % spec.window_pattern != 0;
    for (const Matrix& a : l.qkv) m->token_bytes += bytes_of(a);
    m->token_bytes += bytes_of(l.o) + m->mlp_bytes(i);
  }
  m->output_norm = u.norm("output_norm", spec.width);
  const bool embeds = m->placement.cpu_layers == 0;  // else the CPU does
  if (embeds || !u.has("output.weight")) m->embedding = u.matrix("token_embd.weight", spec.width, spec.vocabulary);
  m->output = u.has("output.weight") ? u.matrix("output.weight", spec.width, spec.vocabulary) : m->embedding;
  if (embeds && u.has("position_embd.weight")) m->positions = u.matrix("position_embd.weight", spec.width, spec.trained_context + traits.position_offset);
  m->token_bytes += bytes_of(m->output);
  if (!u.status.ok()) return u.status;
  if (!m->memory.status().ok()) return m->memory.status();
  m->spec.tensors.clear();
  out = std::move(m);
  return Status::fine();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "There is no memory left to prepare the model for the GPU. Close other programs or choose a smaller model.");
}

Status DeviceModel::set_predictors(const Predictors& from) try {
  auto room = std::make_unique<Memory>(memory.owner());
  std::vector<DevicePredictor> by_mlp(spec.layers), by_heads(spec.layers);
  const auto rows_of = [&](const std::vector<float>& w, uint32_t rows, uint32_t cols, uint32_t padded, uint32_t padded_rows, Format f) {
    Matrix out = shape(f, padded_rows, padded);
    std::vector<uint8_t> packed((size_t)padded_rows * out.stride, 0);
    std::vector<float> row(padded);
    for (uint32_t r = 0; r < rows; r++) {
      std::fill(row.begin(), row.end(), 0.0f);
      std::copy_n(w.data() + (size_t)r * cols, cols, row.data());
      repack_values(f, row.data(), padded, packed.data() + (size_t)r * out.stride);
    }
    out.data = room->upload(packed, "the predictors");
    return out;
  };
  // chosen: the rows that are used, ascending; null: all.
  const auto take = [&](const LowRankPredictor& all, uint32_t rows, bool heads, DevicePredictor& out, const std::vector<uint32_t>* chosen = nullptr) {
    LowRankPredictor p = all;
    if (chosen) {
      for (uint32_t i = 0; i < chosen->size(); i++) {
        std::copy_n(all.b.data() + (size_t)(*chosen)[i] * p.rank, p.rank, p.b.data() + (size_t)i * p.rank);
        if (!p.bias.empty()) p.bias[i] = all.bias[(*chosen)[i]];
      }
      rows = (uint32_t)chosen->size();
      p.bias.resize(p.bias.empty() ? 0 : rows);
    }
    out.present = true, out.relu = p.relu, out.source = p.source;
    out.rank = (p.rank + 31) / 32 * 32;
    out.a = rows_of(p.a, p.rank, spec.width, spec.width, out.rank, Format::f16);
    std::vector<float> bias = p.bias.empty() ? std::vector<float>(rows, 0.0f) : p.bias;
    out.bias = room->upload(bias, "the predictors");
    if (!heads) {
      out.b = rows_of(p.b, rows, p.rank, out.rank, rows, Format::bytes);
      return;
    }
    std::vector<float> b((size_t)rows * out.rank, 0.0f);
    for (uint32_t r = 0; r < rows; r++) std::copy_n(p.b.data() + (size_t)r * p.rank, p.rank, b.data() + (size_t)r * out.rank);
    out.head_b = room->upload(b, "the predictors");
  };
  for (size_t i = 0; i < from.mlp.size() && i < spec.layers; i++)
    if (from.mlp[i] && layers[i].by_neuron) take(*from.mlp[i], spec.ffn_width, false, by_mlp[i], split((uint32_t)i) ? &placement.hot[i] : nullptr);
  for (size_t i = 0; i < from.heads.size() && i < spec.layers; i++)
    if (from.heads[i] && i >= placement.cpu_layers) take(*from.heads[i], spec.heads, true, by_heads[i]);
  if (!room->status().ok()) return room->status();
  mlp = std::move(by_mlp), heads = std::move(by_heads);
  predictor_memory_ = std::move(room);
  predictors_version++;
  return Status::fine();
} catch (const std::bad_alloc&) {
  return Status::error("out-of-memory", "There is no memory left for the predictors. Close other programs or choose a smaller model.");
}

}  // namespace hunch::cuda
