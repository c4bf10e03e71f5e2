#include "model.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>

#include "half.h"

namespace hunch {

void Loader::matrix(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out) {
  if (!status_.ok()) return;
  const TensorInfo* t;
  if (status_ = file_.matrix(name, cols, rows, t); !status_.ok()) return;
  out = packed_shape(t->type, rows, cols);
  jobs_.push_back({t, &out});
}


static bool has_true_zeros(Activation a) { return a == Activation::relu || a == Activation::drelu; }

void Loader::neurons(const std::string& block, bool gated, NeuronRows& out) {
  if (!status_.ok()) return;
  const uint32_t width = model_.spec.width, neurons = model_.spec.ffn_width;
  NeuronJob job{nullptr, nullptr, nullptr, !file_.find(block + "ffn_down_t.weight"), &out};
  status_ = file_.matrix(block + (gated ? "ffn_gate" : "ffn_up") + ".weight", width, neurons, job.first);
  if (gated && status_.ok()) status_ = file_.matrix(block + "ffn_up.weight", width, neurons, job.up);
  if (status_.ok())
    status_ = job.by_output ? file_.matrix(block + "ffn_down.weight", neurons, width, job.down) : file_.matrix(block + "ffn_down_t.weight", width, neurons, job.down);
  if (!status_.ok()) return;
  const bool quantised = block_columns(job.down->type) > 1;
  if (job.by_output && quantised && width % kQuantBlock) {
    status_ = Status::error("model-unsupported", "The model " + model_.spec.path + " is " + std::to_string(width) +
                                                     " wide, which is not whole blocks of 32. Choose an unquantised version of it.");
    return;
  }
  const RowType down = job.by_output && quantised ? RowType::bytes : row_type(job.down->type);
  out = neuron_rows(neurons, width, gated, job.first->type, gated ? job.up->type : job.first->type, down, lanes_);
  out.on_disk = on_disk_;
  neuron_jobs_.push_back(job);
  stages_.push_back({jobs_.size(), jobs_.size(), true, &out});
}

void Loader::end_stage(bool together) {
  const size_t begin = stages_.empty() ? 0 : stages_.back().end;
  if (begin < jobs_.size()) stages_.push_back({begin, jobs_.size(), together, nullptr});
}

// Gives every matrix of the stage its slices: which groups are whose.
void Loader::divide(const Stage& stage, unsigned lanes) {
  uint64_t total = 0, before = 0;
  for (size_t j = stage.begin; j < stage.end; j++) total += jobs_[j].out->bytes();
  for (size_t j = stage.begin; j < stage.end; j++) {
    PackedMatrix& m = *jobs_[j].out;
    const auto group_at = [&](uint64_t byte) {
      return byte <= before ? 0u : (uint32_t)std::min<uint64_t>(m.groups, (byte - before + m.group_bytes - 1) / m.group_bytes);
    };
    m.slices.resize(lanes);
    for (unsigned lane = 0; lane < lanes; lane++) {
      const Range r = stage.together ? Range{group_at(total * lane / lanes), group_at(total * (lane + 1) / lanes)} : share(m.groups, lane, lanes);
      m.slices[lane] = {r.begin, r.end, nullptr, m.group_bytes};
    }
    before += m.bytes();
  }
}

// Gives every slice its memory: lane by lane, stage by stage. Matrices of a stage that is not read together alternate group by group.
bool Loader::place(unsigned lanes) {
  for (const Stage& stage : stages_) divide(stage, lanes);
  for (unsigned lane = 0; lane < lanes; lane++)
    for (const Stage& stage : stages_) {
      if (NeuronRows* r = stage.rows) {
        if (r->first_on_disk) continue;
        NeuronRows::Slice& slice = r->slices[lane];
        const Range mine = r->neurons_of(slice);
        if (!(slice.first = model_.arena.take((size_t)(mine.end - mine.begin) * r->first_stride))) return false;
        continue;
      }
      size_t bytes = 0, round = 0;
      for (size_t j = stage.begin; j < stage.end; j++) {
        const Slice& s = jobs_[j].out->slices[lane];
        bytes += (size_t)(s.end - s.begin) * s.stride;
        round += s.stride;
      }
      uint8_t* at = model_.arena.take(bytes);
      if (!at) return false;
      for (size_t j = stage.begin; j < stage.end; j++) {
        Slice& s = jobs_[j].out->slices[lane];
        s.data = at;
        if (stage.together) at += (size_t)(s.end - s.begin) * s.stride;
        else at += s.stride, s.stride = round;
      }
    }
  // Bundles lie apart: what is read past the end of a layer's first rows is then the next layer's attention, not neurons that may be skipped.
  for (unsigned lane = 0; lane < lanes; lane++)
    for (const NeuronJob& j : neuron_jobs_) {
      if (j.out->on_disk) continue;
      NeuronRows::Slice& slice = j.out->slices[lane];
      const Range mine = j.out->neurons_of(slice);
      if (!(slice.bundles = model_.arena.take((size_t)(mine.end - mine.begin) * j.out->bundle_stride))) return false;
    }
  return true;
}

void Loader::vector(const std::string& name, uint32_t length, std::vector<float>& out) {
  if (status_.ok()) status_ = file_.vector(name, length, out);
}

void Loader::optional_vector(const std::string& name, uint32_t length, std::vector<float>& out) {
  if (file_.find(name)) vector(name, length, out);
}

void Loader::decoder(bool gated) {
  const ModelSpec& s = model_.spec;
  const uint32_t q_rows = s.heads * s.head_width, kv_rows = s.kv_heads * s.head_width;
  const auto norm = [&](const std::string& name, uint32_t length, Norm& out) {
    vector(name + ".weight", length, out.weight);
    optional_vector(name + ".bias", length, out.bias);
  };
  const auto optional_norm = [&](const std::string& name, uint32_t length, Norm& out) {
    if (file_.find(name + ".weight")) norm(name, length, out);
  };
  norm("output_norm", s.width, model_.output_norm);
  for (uint32_t l = 0; l < s.layers; l++) {
    const std::string blk = "blk." + std::to_string(l) + ".";
    Layer& layer = model_.layers[l];
    norm(blk + "attn_norm", s.width, layer.attention_norm);
    matrix(blk + "attn_q.weight", s.width, q_rows, layer.q);
    matrix(blk + "attn_k.weight", s.width, kv_rows, layer.k);
    matrix(blk + "attn_v.weight", s.width, kv_rows, layer.v);
    end_stage(true);
    matrix(blk + "attn_output.weight", q_rows, s.width, layer.o);
    end_stage(true);
    optional_vector(blk + "attn_q.bias", q_rows, layer.q_bias);
    optional_vector(blk + "attn_k.bias", kv_rows, layer.k_bias);
    optional_vector(blk + "attn_v.bias", kv_rows, layer.v_bias);
    optional_vector(blk + "attn_output.bias", s.width, layer.o_bias);
    optional_norm(blk + "attn_q_norm", s.head_width, layer.q_norm);
    optional_norm(blk + "attn_k_norm", s.head_width, layer.k_norm);
    optional_norm(blk + "post_attention_norm", s.width, layer.post_attention_norm);
    norm(blk + "ffn_norm", s.width, layer.ffn_norm);
    const bool only_rows = on_disk_ || has_true_zeros(s.activation) || file_.find(blk + "ffn_down_t.weight");
    if (!only_rows) {
      if (gated) matrix(blk + "ffn_gate.weight", s.width, s.ffn_width, layer.gate);
      matrix(blk + "ffn_up.weight", s.width, s.ffn_width, layer.up);
      end_stage(false);
      matrix(blk + "ffn_down.weight", s.ffn_width, s.width, layer.down);
      end_stage(true);
    }
    if (only_rows || by_neuron_) neurons(blk, gated, layer.rows);
    optional_vector(blk + "ffn_up.bias", s.ffn_width, layer.up_bias);
    optional_vector(blk + "ffn_down.bias", s.width, layer.down_bias);
    optional_norm(blk + "post_ffw_norm", s.width, layer.post_ffn_norm);
    layer.windowed = s.window > 0 && s.window_pattern > 0 && (l + 1) % s.window_pattern != 0;
  }
  if (file_.find("output.weight")) {
    matrix("output.weight", s.width, s.vocabulary, model_.output);
    end_stage(true);
  }
  matrix("token_embd.weight", s.width, s.vocabulary, model_.embedding);  // last: where tied, it is the head
  end_stage(true);
}

Status Loader::fill(const Job& j, const Slice& slice) const {
  const uint64_t row = row_bytes(j.out->type, j.out->cols);
  std::vector<uint8_t> raw;
  for (uint32_t g = slice.begin; g < slice.end; g++) {
    const uint32_t rows = std::min(kLanes, j.out->rows - g * kLanes);
    raw.resize(row * rows);
    if (Status s = file_.read(*j.tensor, (uint64_t)g * kLanes * row, raw.size(), raw.data()); !s.ok()) return s;
    pack_group(j.out->type, raw.data(), rows, j.out->cols, slice.group(g));
  }
  return Status::fine();
}

Status Loader::fill_rows(const TensorInfo& tensor, Range rows, uint32_t cols, uint8_t* out, size_t stride) const {
  const uint64_t bytes = row_bytes(tensor.type, cols);
  std::vector<uint8_t> raw(bytes);
  for (uint32_t r = rows.begin; r < rows.end; r++, out += stride) {
    if (Status s = file_.read(tensor, r * bytes, bytes, raw.data()); !s.ok()) return s;
    pack_row(tensor.type, raw.data(), cols, out);
  }
  return Status::fine();
}

// Columns of the file's matrix as rows.
Status Loader::fill_transposed_rows(const TensorInfo& tensor, RowType type, uint32_t tensor_cols, Range columns, uint32_t tensor_rows, uint8_t* out, size_t stride) const {
  const uint32_t mine = columns.end - columns.begin, block = (uint32_t)block_columns(tensor.type);
  // Whole blocks around the columns are read and kept, a row at a time.
  const uint32_t first = columns.begin / block * block, end = std::min(tensor_cols, (columns.end + block - 1) / block * block);
  const uint64_t bytes = row_bytes(tensor.type, tensor_cols), skip = row_bytes(tensor.type, first), size = row_bytes(tensor.type, end - first);
  std::vector<float> kept((size_t)mine * tensor_rows), row(end - first);
  std::vector<uint8_t> raw(size);
  for (uint32_t r = 0; r < tensor_rows; r++) {
    if (Status s = file_.read(tensor, r * bytes + skip, size, raw.data()); !s.ok()) return s;
    unpack_file_row(tensor.type, raw.data(), end - first, row.data());
    for (uint32_t c = 0; c < mine; c++) kept[(size_t)c * tensor_rows + r] = row[columns.begin - first + c];
  }
  for (uint32_t c = 0; c < mine; c++, out += stride) pack_row(type, kept.data() + (size_t)c * tensor_rows, tensor_rows, out);
  return Status::fine();
}

Status Loader::fill(const NeuronJob& j, const NeuronRows::Slice& slice) const {
  const NeuronRows& r = *j.out;
  const Range mine = r.neurons_of(slice);
  if (mine.begin >= mine.end) return Status::fine();
  if (!r.first_on_disk)
    if (Status s = fill_rows(*j.first, mine, r.width, slice.first, r.first_stride); !s.ok()) return s;
  return r.on_disk ? Status::fine() : fill_bundles(j, mine, slice.bundles, r.bundle_stride);
}

Status Loader::fill_bundles(const NeuronJob& j, Range neurons, uint8_t* out, size_t stride) const {
  const NeuronRows& r = *j.out;
  if (r.gated)
    if (Status s = fill_rows(*j.up, neurons, r.width, out, stride); !s.ok()) return s;
  if (!j.by_output) return fill_rows(*j.down, neurons, r.width, out + r.down_offset, stride);
  return fill_transposed_rows(*j.down, r.down, r.neurons, neurons, r.width, out + r.down_offset, stride);
}

uint64_t Loader::bytes() const {
  uint64_t total = 0;
  for (const Job& j : jobs_) total += j.out->bytes();
  for (const NeuronJob& j : neuron_jobs_) {
    const NeuronRows& r = *j.out;
    total += (uint64_t)r.neurons * ((r.first_on_disk ? 0 : r.first_stride) + (r.on_disk ? 0 : r.bundle_stride)) + (uint64_t)lanes_ * 128;
  }
  return total;
}

Status Loader::open_store(const std::string& path, uint64_t budget, Pool& pool, const std::function<void(float)>& progress) {
  if (!status_.ok()) return status_;
  auto store = std::make_unique<NeuronStore>();
  std::vector<const NeuronRows*> rows;
  for (const NeuronJob& j : neuron_jobs_) rows.push_back(j.out);
  store->file.lay_out(path, identity_of(model_.spec), rows);
  // First rows stay in memory where they fit: the routes that read them all read them for every token, and those that are in memory tell which
  // bundles are needed.
  const auto first_rows_on_disk = [&](bool where) {
    for (const NeuronJob& j : neuron_jobs_) j.out->first_on_disk = where;
    return bytes() + store->least_bytes(where);
  };
  const bool with_first = first_rows_on_disk(false) > budget;
  if (const uint64_t least = with_first ? first_rows_on_disk(true) : 0; least > budget)
    return Status::error("out-of-memory", "The memory budget of " + std::to_string(budget >> 20) + " MB is too small: what this model needs for every token takes " +
                                              std::to_string((least >> 20) + 1) + " MB. Allow at least that, or choose a smaller model.");
  Status status = store->file.open();
  if (!status.ok())
    status = store->file.make(pool, [&](size_t layer, Range neurons, uint8_t* out) {
      const NeuronFile::Layer& l = store->file.layers()[layer];
      if (Status s = fill_bundles(neuron_jobs_[layer], neurons, out, l.record); !s.ok()) return s;
      return fill_rows(*neuron_jobs_[layer].first, neurons, l.rows->width, out + l.first, l.record);
    }, progress);
  if (status.ok()) status = store->start(with_first, budget - bytes());
  model_.store = std::move(store);
  return status;
}

Status Loader::run(Pool& pool, const std::function<void(float)>& progress) {
  if (!status_.ok()) return status_;
  const uint64_t total = bytes();
  uint64_t groups = 0;
  for (const Job& j : jobs_) groups += j.out->groups;
  for (const NeuronJob& j : neuron_jobs_) groups += j.out->neurons;
  if (!model_.arena.reserve(total) || !place(pool.size()))
    return Status::error("out-of-memory", "The model needs " + std::to_string(total >> 20) +
                                              " MB of memory, which the system does not have free. Close other programs or choose a smaller model.");

  std::atomic<uint64_t> done{0};
  std::mutex mutex;
  Status failure;
  pool.run([&](unsigned lane) {
    const auto finished = [&](Status s, uint32_t n) {
      done += n;
      if (lane == 0 && progress) progress((float)((double)done / (double)groups));
      if (s.ok()) return true;
      std::lock_guard lock(mutex);
      if (failure.ok()) failure = std::move(s);
      return false;
    };
    for (const Job& j : jobs_)
      if (const Slice& mine = j.out->slices[lane]; !finished(fill(j, mine), mine.end - mine.begin)) return;
    for (const NeuronJob& j : neuron_jobs_) {
      const NeuronRows::Slice& mine = j.out->slices[lane];
      if (const Range n = j.out->neurons_of(mine); !finished(fill(j, mine), n.end - n.begin)) return;
    }
  });
  return failure;
}

static const Architecture architectures[] = {
    {"llama", plan_llama}, {"bamboo", plan_llama}, {"qwen2", plan_qwen2}, {"qwen3", plan_qwen3}, {"gemma3", plan_gemma3}, {"opt", plan_opt},
};

const Architecture* find_architecture(const std::string& name) {
  for (const Architecture& a : architectures)
    if (name == a.name) return &a;
  return nullptr;
}

std::string architecture_names() {
  std::string s;
  for (const Architecture& a : architectures) s += (s.empty() ? "" : ", ") + std::string(a.name);
  return s;
}

// Counts that the header claims and the engine multiplies: kept far from overflow.
static Status check_spec(const ModelSpec& s) {
  const auto bad = [&](const char* what, uint64_t value) {
    return Status::error("model-invalid", "The model " + s.path + " says " + what + " = " + std::to_string(value) + ", which cannot be.");
  };
  if (s.layers < 1 || s.layers > 1024) return bad("block_count", s.layers);
  if (s.width < 1 || s.width > 65536) return bad("embedding_length", s.width);
  if (s.ffn_width < 1 || s.ffn_width > (1u << 20)) return bad("feed_forward_length", s.ffn_width);
  if (s.heads < 1 || s.heads > 1024) return bad("attention.head_count", s.heads);
  if (s.kv_heads < 1 || s.kv_heads > s.heads || s.heads % s.kv_heads) return bad("attention.head_count_kv", s.kv_heads);
  if (s.head_width < 2 || s.head_width > 1024 || s.head_width % 2) return bad("attention.key_length", s.head_width);
  if (s.window > (1u << 30)) return bad("attention.sliding_window", s.window);
  if (s.rope_width < 2 || s.rope_width > s.head_width || s.rope_width % 2) return bad("rope.dimension_count", s.rope_width);
  if (s.trained_context > (1u << 30)) return bad("context_length", s.trained_context);
  if (s.vocabulary < 1 || s.vocabulary > (1u << 22)) return bad("vocabulary size", s.vocabulary);
  for (const RopeSpec* r : {&s.rope, &s.window_rope})
    if (!(r->base > 0) || !(r->factor > 0)) return bad("rope.freq_base or rope.scaling.factor", 0);
  if (!(s.norm_epsilon >= 0)) return bad("layer_norm_rms_epsilon", 0);
  return Status::fine();
}

Status first_row(const Model& model, size_t layer, uint32_t neuron, float* out) {
  const NeuronRows& r = model.layers[layer].rows;
  if (r.first_on_disk) {
    std::vector<uint8_t> row(r.first_stride);
    if (Status s = model.store->file.read_first(layer, neuron, row.data()); !s.ok()) return s;
    unpack_row(r.first, row.data(), r.width, out);
    return Status::fine();
  }
  for (const NeuronRows::Slice& slice : r.slices)
    if (const Range mine = r.neurons_of(slice); neuron >= mine.begin && neuron < mine.end)
      unpack_row(r.first, slice.first + (size_t)(neuron - mine.begin) * r.first_stride, r.width, out);
  return Status::fine();
}

Status load_model(const ModelSpec& spec, const Kernels* kernels, Pool& pool, const LoadOptions& options, Model& out) {
  if (Status s = check_spec(spec); !s.ok()) return s;
  const Architecture* architecture = find_architecture(spec.architecture);
  if (!architecture)
    return Status::error("model-unsupported", "The model " + spec.path + " has the architecture '" + spec.architecture +
                                                  "'. This version runs: " + architecture_names() + ".");
  out.spec = spec;
  out.kernels = kernels;
  out.layers.resize(spec.layers);
  TensorFile file;
  if (Status s = file.open(out.spec); !s.ok()) return s;
  auto loader = std::make_unique<Loader>(file, out, pool.size(), options.by_neuron);
  architecture->plan(out, *loader);
  if (options.memory_budget && loader->bytes() > options.memory_budget) {
    out.layers = std::vector<Layer>(spec.layers);
    loader = std::make_unique<Loader>(file, out, pool.size(), options.by_neuron, true);
    architecture->plan(out, *loader);
    const std::string path = options.neuron_file.empty() ? spec.path + ".neurons" : options.neuron_file;
    if (Status s = loader->open_store(path, options.memory_budget, pool, options.progress); !s.ok()) return s;
  }
  if (Status s = loader->run(pool, options.progress); !s.ok()) return s;
  const bool tied = !out.output.present();
  if (tied) out.output = out.embedding;  // the same slices

  for (const Layer& l : out.layers) {
    if (l.rows.present() && !l.up.present()) {
      out.weight_bytes_per_token += l.rows.bytes();
      out.parameter_count += (uint64_t)l.rows.neurons * l.rows.width * (l.rows.gated ? 3 : 2);
    }
    for (const PackedMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) {
      out.weight_bytes_per_token += m->bytes();
      out.always_bytes += m->bytes();
      out.parameter_count += (uint64_t)m->rows * m->cols;
    }
  }
  out.weight_bytes_per_token += out.output.bytes();
  out.parameter_count += (uint64_t)out.embedding.rows * out.embedding.cols;
  out.parameter_count += (uint64_t)out.positions.rows * out.positions.cols;
  if (!tied) out.parameter_count += (uint64_t)out.output.rows * out.output.cols;
  out.spec.tensors.clear();
  return Status::fine();
}

}  // namespace hunch
