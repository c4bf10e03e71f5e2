#include "model.h"

#include <algorithm>
#include <atomic>
#include <mutex>

namespace hunch {

void Loader::matrix(const std::string& name, uint32_t cols, uint32_t rows, PackedMatrix& out) {
  if (!status_.ok()) return;
  const TensorInfo* t;
  if (status_ = file_.matrix(name, cols, rows, t); !status_.ok()) return;
  out = {t->type, rows, cols, (rows + kLanes - 1) / kLanes, packed_group_bytes(t->type, cols), nullptr};
  jobs_.push_back({t, &out});
}

void Loader::vector(const std::string& name, uint32_t length, std::vector<float>& out) {
  if (status_.ok()) status_ = file_.vector(name, length, out);
}

Status Loader::run(Pool& pool, const std::function<void(float)>& progress) {
  if (!status_.ok()) return status_;
  uint64_t total = 0, groups = 0;
  for (const Job& j : jobs_) total += Arena::padded(j.out->bytes()), groups += j.out->groups;
  if (!model_.arena.reserve(total))
    return Status::error("out-of-memory", "The model needs " + std::to_string(total >> 20) +
                                              " MB of memory, which the system does not have free. Close other programs or choose a smaller model.");
  for (Job& j : jobs_) j.out->data = model_.arena.take(j.out->bytes());

  std::atomic<uint64_t> done{0};
  std::mutex mutex;
  Status failure;
  pool.run([&](unsigned lane) {
    std::vector<uint8_t> raw;
    for (const Job& j : jobs_) {
      const Range mine = share(j.out->groups, lane, pool.size());
      const uint64_t row = row_bytes(j.out->type, j.out->cols);
      for (uint32_t g = mine.begin; g < mine.end; g++) {
        const uint32_t rows = std::min(kLanes, j.out->rows - g * kLanes);
        raw.resize(row * rows);
        Status s = file_.read(*j.tensor, (uint64_t)g * kLanes * row, raw.size(), raw.data());
        if (!s.ok()) {
          std::lock_guard lock(mutex);
          if (failure.ok()) failure = std::move(s);
          return;
        }
        pack_group(j.out->type, raw.data(), rows, j.out->cols, j.out->data + (size_t)g * j.out->group_bytes);
      }
      done += mine.end - mine.begin;
      if (lane == 0 && progress) progress((float)((double)done / (double)groups));
    }
  });
  return failure;
}

static const Architecture architectures[] = {
    {"llama", plan_llama},
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
  if (s.rope_width < 2 || s.rope_width > s.head_width || s.rope_width % 2) return bad("rope.dimension_count", s.rope_width);
  if (s.vocabulary < 1 || s.vocabulary > (1u << 22)) return bad("vocabulary size", s.vocabulary);
  if (!(s.rope_base > 0) || !(s.norm_epsilon >= 0)) return bad("rope.freq_base or layer_norm_rms_epsilon", 0);
  return Status::fine();
}

Status load_model(const ModelSpec& spec, const Kernels* kernels, Pool& pool, const std::function<void(float)>& progress, Model& out) {
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
  Loader loader(file, out);
  if (Status s = architecture->plan(file, out, loader); !s.ok()) return s;
  if (Status s = loader.run(pool, progress); !s.ok()) return s;
  if (!out.output.data) out.output = out.embedding;  // tied

  for (const Layer& l : out.layers)
    for (const PackedMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) {
      out.weight_bytes_per_token += m->bytes();
      out.parameter_count += (uint64_t)m->rows * m->cols;
    }
  out.weight_bytes_per_token += out.output.bytes();
  out.parameter_count += (uint64_t)out.embedding.rows * out.embedding.cols;
  if (out.output.data != out.embedding.data) out.parameter_count += (uint64_t)out.output.rows * out.output.cols;
  out.spec.tensors.clear();
  return Status::fine();
}

}  // namespace hunch
