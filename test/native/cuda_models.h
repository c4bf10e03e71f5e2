// Tiny models of every architecture and type on a GPU, real or fake.
#pragma once

#include "../../native/src/cuda/repack.h"
#include "../../native/src/cuda/session.h"
#include "tensor_file.h"
#include "tiny_model.h"

namespace hunch {

inline const std::atomic<bool> never{false};

struct Loaded {
  std::shared_ptr<cuda::DeviceModel> model;
  std::unique_ptr<cuda::DeviceSession> session;
};

inline cuda::Traits traits(const TinyOptions& o) {
  const bool llama = o.architecture == "llama", opt = o.architecture == "opt";
  return {llama ? RopeStyle::interleaved : opt ? RopeStyle::none : RopeStyle::neox, o.architecture == "gemma3" ? std::sqrt((float)o.width) : 1.0f, opt ? 2u : 0u, !opt};
}

inline Loaded load(const TinyModel& tiny, const TinyOptions& o, uint32_t context = 512) {
  Loaded l;
  std::shared_ptr<cuda::Device> device;
  Status s = cuda::Device::open(-1, device);
  REQUIRE_MESSAGE(s.ok(), s.message);
  TensorFile file;
  REQUIRE(file.open(tiny.spec).ok());
  s = cuda::DeviceModel::load(device, tiny.spec, traits(o), cuda::FileWeights(file), o.by_neuron, {}, l.model);
  REQUIRE_MESSAGE(s.ok(), s.message);
  s = cuda::DeviceSession::open(l.model, context, l.session);
  REQUIRE_MESSAGE(s.ok(), s.message);
  return l;
}

inline double error(const std::vector<float>& got, const std::vector<double>& want) {
  double off = 0, all = 0;
  for (size_t i = 0; i < want.size(); i++) {
    const double d = (double)got[i] - want[i];
    off += d * d, all += want[i] * want[i];
  }
  return std::isfinite(off) ? std::sqrt(off / all) : INFINITY;
}

struct Case {
  std::string name;
  TinyOptions o;
};
inline std::vector<Case> cases() {
  std::vector<Case> list;
  for (TensorType type : kAllTypes) {
    TinyOptions o;
    o.matrices = type;
    const bool k = type == TensorType::Q4_K || type == TensorType::Q5_K || type == TensorType::Q6_K;
    const bool plain = type == TensorType::F32 || type == TensorType::F16 || type == TensorType::BF16;
    o.width = k ? 256 : plain ? 72 : 96, o.ffn_width = k ? 512 : plain ? 104 : 160;
    o.heads = k ? 8 : plain ? 6 : 4, o.kv_heads = 2, o.head_width = k ? 32 : plain ? 8 : 32;
    if (k) o.head_width = 32;
    o.embedding = type;
    o.tied = false;
    list.push_back({std::string("llama ") + tensor_type_name(type), o});
  }
  for (const char* arch : {"qwen2", "qwen3", "gemma3", "opt"}) {
    TinyOptions o;
    o.architecture = arch;
    o.matrices = TensorType::F16;
    if (o.architecture == "gemma3") o.activation = Activation::gelu, o.window = 5, o.window_pattern = 3, o.layers = 3;
    if (o.architecture == "opt") o.activation = Activation::relu, o.kv_heads = 4;
    list.push_back({arch, o});
  }
  TinyOptions o;
  o.heads = 9, o.kv_heads = 3, o.head_width = 64, o.width = 576, o.ffn_width = 1536, o.vocabulary = 1003, o.matrices = TensorType::Q4_0, o.embedding = TensorType::Q8_0;
  list.push_back({"llama, SmolLM2's widths", o});
  o = {};
  o.head_width = 128, o.heads = 4, o.kv_heads = 1, o.rope_factors = true, o.matrices = TensorType::BF16;
  list.push_back({"llama, rope factors, heads of 128", o});
  o = {};
  o.head_width = 80, o.heads = 5, o.kv_heads = 5, o.matrices = TensorType::F16, o.rope_width = 40;
  list.push_back({"llama, heads of 80, half rotated", o});
  o = {};
  o.head_width = 256, o.heads = 4, o.kv_heads = 1, o.matrices = TensorType::Q8_0, o.architecture = "gemma3", o.activation = Activation::gelu;
  list.push_back({"gemma3, heads of 256", o});
  return list;
}

}  // namespace hunch
