// Times single tokens on the GPU for the shapes of known models, with random weights: dense beside sparse, in turns, next to the card's copy bandwidth.
//   lab_cuda_bench [--shapes NAME,NAME…] [--rounds N] [--tokens N] [--layers N] [--json FILE] [--commit HASH]
//   with --prefill N instead: prompts of N tokens, many tokens at once beside one by one
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>

#include "../src/cuda/session.h"
#include "half.h"

using namespace hunch;

namespace {

struct Shape {
  const char* name;
  const char* architecture;
  TensorType matrices, embedding;
  uint32_t layers, width, ffn, heads, kv_heads, head_width, vocabulary;
  bool tied;
  Activation activation;
  // What runs beside dense: neurons that are kept (0: none), how they are found, heads that are kept (1: all).
  double kept;
  MlpRoute route;
  uint32_t rank;
  double heads_kept;
  bool down_by_neuron;
};

// Sizes are those of the models' own headers; weights are random.
const Shape shapes[] = {
    {"llama-3.2-1b bf16", "llama", TensorType::BF16, TensorType::BF16, 16, 2048, 8192, 32, 8, 64, 128256, true, Activation::silu, 0, MlpRoute::dense, 0, 1, false},
    {"llama-3.1-8b bf16", "llama", TensorType::BF16, TensorType::BF16, 32, 4096, 14336, 32, 8, 128, 128256, false, Activation::silu, 0, MlpRoute::dense, 0, 1, false},
    {"llama-3.1-8b q4_0", "llama", TensorType::Q4_0, TensorType::Q4_0, 32, 4096, 14336, 32, 8, 128, 128256, false, Activation::silu, 0, MlpRoute::dense, 0, 1, false},
    {"llama-3.1-8b q4_0 by neuron", "llama", TensorType::Q4_0, TensorType::Q4_0, 32, 4096, 14336, 32, 8, 128, 128256, false, Activation::silu, 0.5, MlpRoute::exact, 0, 1, true},
    {"llama-2-7b relu q4_0", "llama", TensorType::Q4_0, TensorType::Q4_0, 32, 4096, 11008, 32, 32, 128, 32000, false, Activation::relu, 0.12, MlpRoute::exact, 0, 1, true},
    {"llama-2-7b relu q4_0 predicted", "llama", TensorType::Q4_0, TensorType::Q4_0, 32, 4096, 11008, 32, 32, 128, 32000, false, Activation::relu, 0.12, MlpRoute::predicted, 128, 1, true},
    {"llama-2-7b relu f16", "llama", TensorType::F16, TensorType::F16, 32, 4096, 11008, 32, 32, 128, 32000, false, Activation::relu, 0.12, MlpRoute::exact, 0, 1, true},
    {"llama-2-7b relu f16 predicted", "llama", TensorType::F16, TensorType::F16, 32, 4096, 11008, 32, 32, 128, 32000, false, Activation::relu, 0.12, MlpRoute::predicted, 128, 1, true},
    {"opt-6.7b f16 predicted", "opt", TensorType::F16, TensorType::F16, 32, 4096, 16384, 32, 32, 128, 50272, true, Activation::relu, 0.10, MlpRoute::predicted, 128, 0.42, true},
    {"smollm2-135m q4_0", "llama", TensorType::Q4_0, TensorType::Q8_0, 30, 576, 1536, 9, 3, 64, 49152, true, Activation::relu, 0.12, MlpRoute::exact, 0, 1, true},
    {"smollm2-135m q4_0 silu", "llama", TensorType::Q4_0, TensorType::Q8_0, 30, 576, 1536, 9, 3, 64, 49152, true, Activation::silu, 0, MlpRoute::dense, 0, 1, false},
};

void put_half(uint8_t* p, float x) {
  const uint16_t h = f32_to_f16(x);
  std::memcpy(p, &h, 2);
}

// Random weights that exist only where they are read: pieces of a pool, from a place that the tensor's name gives.
class Synthetic : public cuda::Weights {
 public:
  Synthetic(const Shape& s, ModelSpec& spec) {
    const auto add = [&](const std::string& name, TensorType type, uint32_t cols, uint32_t rows) {
      TensorInfo t{name, type, rows ? std::vector<uint64_t>{cols, rows} : std::vector<uint64_t>{cols}, 0};
      spec.tensors.push_back(t);
      table_[name] = t;
    };
    const bool opt = std::string(s.architecture) == "opt";
    const uint32_t q = s.heads * s.head_width, kv = s.kv_heads * s.head_width;
    add("token_embd.weight", s.embedding, s.width, s.vocabulary);
    if (!s.tied) add("output.weight", s.embedding, s.width, s.vocabulary);
    add("output_norm.weight", TensorType::F32, s.width, 0);
    if (opt) add("output_norm.bias", TensorType::F32, s.width, 0), add("position_embd.weight", TensorType::F16, s.width, 2050);
    for (uint32_t i = 0; i < s.layers; i++) {
      const std::string b = "blk." + std::to_string(i) + ".";
      add(b + "attn_norm.weight", TensorType::F32, s.width, 0), add(b + "ffn_norm.weight", TensorType::F32, s.width, 0);
      add(b + "attn_q.weight", s.matrices, s.width, q), add(b + "attn_k.weight", s.matrices, s.width, kv), add(b + "attn_v.weight", s.matrices, s.width, kv);
      add(b + "attn_output.weight", s.matrices, q, s.width);
      if (!opt) add(b + "ffn_gate.weight", s.matrices, s.width, s.ffn);
      add(b + "ffn_up.weight", s.matrices, s.width, s.ffn);
      if (s.down_by_neuron) add(b + "ffn_down_t.weight", s.matrices, s.width, s.ffn);
      else add(b + "ffn_down.weight", s.matrices, s.ffn, s.width);
      if (opt) {
        for (const char* n : {"attn_norm.bias", "ffn_norm.bias", "attn_output.bias", "ffn_down.bias", "attn_q.bias", "attn_k.bias", "attn_v.bias"}) add(b + n, TensorType::F32, s.width, 0);
        add(b + "ffn_up.bias", TensorType::F32, s.ffn, 0);
      }
    }
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    const float deviation = 1 / std::sqrt((float)s.width);
    for (TensorType type : {s.matrices, s.embedding, TensorType::F16}) {
      std::vector<uint8_t>& pool = pools_[type];
      if (!pool.empty()) continue;
      const size_t block = row_bytes(type, block_columns(type));
      pool.resize((8u << 20) / block * block);
      for (size_t at = 0; at < pool.size(); at += block) {
        uint8_t* p = pool.data() + at;
        for (size_t i = 0; i < block; i += 8) {
          const uint64_t r = random();
          std::memcpy(p + i, &r, std::min<size_t>(8, block - i));
        }
        const float v = normal(random) * deviation;
        const uint32_t bits = std::bit_cast<uint32_t>(v);
        if (type == TensorType::F16) put_half(p, v);
        else if (type == TensorType::BF16) std::memcpy(p, reinterpret_cast<const uint8_t*>(&bits) + 2, 2);
        else put_half(p, deviation / (type == TensorType::Q8_0 ? 74 : 4.6f));
      }
    }
  }
  const TensorInfo* find(const std::string& name) const override {
    const auto it = table_.find(name);
    return it == table_.end() ? nullptr : &it->second;
  }
  Status read(const TensorInfo& t, uint64_t from, uint64_t bytes, void* out) const override {
    if (t.type == TensorType::F32) {
      const float v = t.name.ends_with(".bias") ? 0.0f : 1.0f;
      for (uint64_t i = 0; i < bytes / 4; i++) std::memcpy(static_cast<uint8_t*>(out) + 4 * i, &v, 4);
      return Status::fine();
    }
    const std::vector<uint8_t>& pool = pools_.at(t.type);
    const size_t block = row_bytes(t.type, block_columns(t.type));
    // Odd rows begin elsewhere, so that no two rows of a matrix are alike.
    uint64_t at = (std::hash<std::string>()(t.name) % (pool.size() / block) * block + from + from / row_bytes(t.type, t.shape[0]) * 7 * block) % pool.size();
    uint8_t* to = static_cast<uint8_t*>(out);
    while (bytes > 0) {
      const uint64_t n = std::min<uint64_t>(bytes, pool.size() - at);
      std::memcpy(to, pool.data() + at, n);
      to += n, bytes -= n, at = 0;
    }
    return Status::fine();
  }

 private:
  std::map<std::string, TensorInfo> table_;
  std::map<TensorType, std::vector<uint8_t>> pools_;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

void check(const Status& s) {
  if (s.ok()) return;
  std::printf("%s: %s\n", s.code.c_str(), s.message.c_str());
  std::exit(1);
}

double copy_bandwidth(const std::shared_ptr<cuda::Device>& device) {  // bytes read and written a second
  cuda::Memory memory(device);
  const size_t n = std::min<size_t>(4ull << 30, device->free_memory() / 4);
  const cuda::DevicePointer a = memory.take(n, "a copy"), b = memory.take(n, "a copy");
  check(memory.status());
  const cuda::Driver& d = device->d;
  void *stream = nullptr, *begin = nullptr, *end = nullptr;
  d.StreamCreate(&stream, 1), d.EventCreate(&begin, 0), d.EventCreate(&end, 0);
  std::vector<double> rates;
  for (int i = 0; i < 9; i++) {
    d.EventRecord(begin, stream);
    d.MemcpyDtoDAsync(b, a, n, stream);
    d.EventRecord(end, stream);
    d.StreamSynchronize(stream);
    float ms = 0;
    d.EventElapsedTime(&ms, begin, end);
    if (i > 1) rates.push_back(2.0 * (double)n / (ms * 1e-3));
  }
  d.EventDestroy(begin), d.EventDestroy(end), d.StreamDestroy(stream);
  return median(rates);
}

Predictors random_predictors(const Shape& s) {
  Predictors p;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  const auto values = [&](size_t n, float deviation) {
    std::vector<float> v(n);
    for (float& x : v) x = normal(random) * deviation;
    return v;
  };
  p.mlp.resize(s.layers), p.heads.resize(s.layers);
  LowRankPredictor mlp{PredictorSource::attention, s.rank, false, values((size_t)s.rank * s.width, 1 / std::sqrt((float)s.width)), values((size_t)s.ffn * s.rank, 1 / std::sqrt((float)s.rank)), {}};
  LowRankPredictor heads{PredictorSource::previous, 64, false, values((size_t)64 * s.width, 1 / std::sqrt((float)s.width)), values((size_t)s.heads * 64, 1 / 8.0f), {}};
  for (uint32_t i = 0; i < s.layers; i++) {
    if (s.route == MlpRoute::predicted) p.mlp[i] = mlp;
    if (s.heads_kept < 1 && i > 0) p.heads[i] = heads;  // the first layer has none before it: all its heads run (as in DejaVu)
  }
  return p;
}

// Prompts of n tokens with the last one's logits, on the host's clock.
void time_prompts(const Shape& s, cuda::DeviceSession& session, uint32_t n, int rounds) {
  std::mt19937 random(9);
  std::vector<int32_t> ids(n);
  for (int32_t& id : ids) id = (int32_t)(random() % s.vocabulary);
  std::vector<float> logits(s.vocabulary);
  const std::atomic<bool> never{false};
  std::vector<double> ms[2];
  for (int r = 0; r < rounds + 1; r++)
    for (int way = 0; way < (r < 3 ? 2 : 1); way++) {  // one by one only twice, it is long
      session.use_batches(way == 0);
      const auto begin = std::chrono::steady_clock::now();
      check(session.extend(ids, 0, logits.data(), never));
      if (r > 0) ms[way].push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    }
  const double batch = median(ms[0]), alone = median(ms[1]), of_layer = 2.0 * s.width * (s.heads + s.kv_heads) * s.head_width + (s.architecture == std::string("opt") ? 2.0 : 3.0) * s.width * s.ffn;
  std::printf("%-34s prompt of %u: %8.3f ms, %7.0f tok/s (%.0f TFLOPS in products); one by one %9.3f ms, %6.0f tok/s: %.1fx\n", s.name, n, batch, n / batch * 1e3, 2 * n * of_layer * s.layers / batch * 1e-9, alone,
              n / alone * 1e3, alone / batch);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::string wanted, json, commit = "unknown";
  int rounds = 7, tokens = 48, prefill = 0;
  uint32_t layers = UINT32_MAX;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string a = argv[i];
    if (a == "--shapes") wanted = argv[i + 1];
    else if (a == "--rounds") rounds = std::atoi(argv[i + 1]);
    else if (a == "--tokens") tokens = std::atoi(argv[i + 1]);
    else if (a == "--prefill") prefill = std::atoi(argv[i + 1]);
    else if (a == "--json") json = argv[i + 1];
    else if (a == "--commit") commit = argv[i + 1];
    else if (a == "--layers") layers = (uint32_t)std::atoi(argv[i + 1]);
  }
  std::shared_ptr<cuda::Device> device;
  check(cuda::Device::open(-1, device));
  const double bandwidth = copy_bandwidth(device);
  std::printf("%s, %u multiprocessors, copy %.0f GB/s (read + written), commit %s\n", device->gpu.name.c_str(), device->blocks, bandwidth * 1e-9, commit.c_str());
  std::string out = "{\n  \"card\": \"" + device->gpu.name + "\",\n  \"copyGBps\": " + std::to_string(bandwidth * 1e-9) + ",\n  \"commit\": \"" + commit + "\",\n  \"command\": \"";
  for (int i = 0; i < argc; i++) out += std::string(i ? " " : "") + (i ? argv[i] : "lab_cuda_bench");
  out += "\",\n  \"weights\": \"random (synthetic), shapes of known models\",\n  \"shapes\": [";
  bool first = true;
  for (Shape s : shapes) {
    if (!wanted.empty() && ("," + wanted + ",").find("," + std::string(s.name) + ",") == std::string::npos) continue;
    s.layers = std::min(s.layers, layers);
    ModelSpec spec;
    spec.path = s.name, spec.architecture = s.architecture;
    spec.layers = s.layers, spec.width = s.width, spec.ffn_width = s.ffn, spec.heads = s.heads, spec.kv_heads = s.kv_heads, spec.head_width = s.head_width;
    spec.vocabulary = s.vocabulary, spec.trained_context = 2048, spec.norm_epsilon = 1e-5f, spec.activation = s.activation, spec.rope_width = s.head_width;
    const Synthetic weights(s, spec);
    const bool opt = std::string(s.architecture) == "opt";
    const cuda::Traits traits{opt ? RopeStyle::none : RopeStyle::interleaved, 1, opt ? 2u : 0u, !opt};
    std::shared_ptr<cuda::DeviceModel> model;
    const auto began = std::chrono::steady_clock::now();
    if (const Status status = cuda::DeviceModel::load(device, spec, traits, weights, s.kept > 0, {}, model); !status.ok()) {
      std::printf("%-34s %s\n", s.name, status.message.c_str());
      continue;
    }
    const double load = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    if (s.rank || s.heads_kept < 1) check(model->set_predictors(random_predictors(s)));
    std::unique_ptr<cuda::DeviceSession> session;
    check(cuda::DeviceSession::open(model, (uint32_t)std::max(1024, prefill), session));
    std::mt19937 random(9);
    std::vector<int32_t> ids(128 + (size_t)tokens + 1);
    for (int32_t& id : ids) id = (int32_t)(random() % s.vocabulary);
    const std::atomic<bool> never{false};
    if (prefill > 0) {
      time_prompts(s, *session, (uint32_t)prefill, rounds);
      continue;
    }
    check(session->extend(std::span(ids).first(128), 0, nullptr, never));
    const std::span<const int32_t> timed = std::span(ids).subspan(128);
    const auto time = [&](const Plan* plan) {
      float ms = 0;
      check(session->set_plan(plan));
      check(session->time(timed, 128, ms));
      return (double)ms;
    };
    // The thresholds that keep what the table says, found by counting, layer by layer.
    Plan plan;
    std::vector<double> low(s.layers, -30), high(s.layers, 30), head_low(s.layers, -30), head_high(s.layers, 30);
    double kept = 1, heads_kept = 1;
    if (s.kept > 0) {
      if (s.activation != Activation::relu) low.assign(s.layers, 0);
      if (s.route == MlpRoute::exact && s.activation == Activation::relu) low.assign(s.layers, 0);
      for (uint32_t i = 0; i < s.layers; i++) {
        plan.layers.push_back({.mlp = s.route, .head_threshold = {}});
        if (s.heads_kept < 1 && i > 0) plan.layers[i].head_threshold = 0;
      }
      std::vector<uint64_t> neurons, heads;
      for (int step = 0; step < 16; step++) {
        for (uint32_t i = 0; i < s.layers; i++) {
          (s.route == MlpRoute::predicted ? plan.layers[i].score_threshold : plan.layers[i].gate_threshold) = (float)((low[i] + high[i]) / 2);
          if (plan.layers[i].head_threshold) plan.layers[i].head_threshold = (float)((head_low[i] + head_high[i]) / 2);
        }
        check(session->set_plan(&plan));
        check(session->counts(neurons, heads));
        float ms;
        check(session->time(timed, 128, ms));
        check(session->counts(neurons, heads));
        kept = heads_kept = 0;
        for (uint32_t i = 0; i < s.layers; i++) {
          const double share = (double)neurons[i] / tokens / s.ffn, of_heads = (double)heads[i] / tokens / s.heads;
          kept += share / s.layers, heads_kept += (plan.layers[i].head_threshold ? of_heads : 1) / s.layers;
          (share > s.kept ? low : high)[i] = (low[i] + high[i]) / 2;
          (of_heads > s.heads_kept ? head_low : head_high)[i] = (head_low[i] + head_high[i]) / 2;
        }
      }
    }
#ifdef HUNCH_MARKS
    for (const Plan* p : {(const Plan*)nullptr, (const Plan*)&plan}) {
      if (p && s.kept <= 0) continue;
      time(p);
      std::vector<long long> m((size_t)session->stages() * cuda::kMarks);
      device->d.MemcpyDtoHAsync(m.data(), reinterpret_cast<cuda::DevicePointer>(session->marks()), m.size() * 8, nullptr);
      device->d.StreamSynchronize(nullptr);
      const int per = (session->stages() - 2) / (int)s.layers, from = per * (int)(s.layers / 2);
      for (int i = from; i < from + 2 * per && i < session->stages(); i++) {
        std::printf("  stage %3d:", i);
        const long long* at = m.data() + (size_t)i * cuda::kMarks;
        for (int k = 0; k < 7; k++) std::printf(" %7lld", at[k] ? at[k] - m[(size_t)from * cuda::kMarks] : -1);
        std::printf(" | warp 0 waited %6lld | asked %7lld to %7lld, waited %6lld", at[8], at[10] - m[(size_t)from * cuda::kMarks], at[11] - m[(size_t)from * cuda::kMarks], at[12]);
        std::printf("\n");
      }
    }
#endif
    std::vector<double> dense, sparse;
    for (int r = 0; r < rounds + 1; r++) {
      const double d = time(nullptr), p = s.kept > 0 ? time(&plan) : 0;
      if (r > 0) dense.push_back(d), sparse.push_back(p);  // the first warms up
    }
    const double floor = (double)model->token_bytes / bandwidth * 1e3, d = median(dense), p = median(sparse);
    std::printf("%-34s %6.2f GB  dense %7.4f ms (%4.1f %% of the floor %.4f, %.0f tok/s)", s.name, (double)model->token_bytes * 1e-9, d, 100 * floor / d, floor, 1e3 / d);
    if (s.kept > 0) std::printf("  %s %.1f %% neurons %.0f %% heads %7.4f ms = %.2fx", s.route == MlpRoute::exact ? "exact" : "predicted", 100 * kept, 100 * heads_kept, p, d / p);
    std::printf("  (load %.1f s)\n", load);
    std::fflush(stdout);
    char line[1024];
    std::snprintf(line, sizeof line,
                  "%s\n    { \"name\": \"%s\", \"bytes\": %llu, \"floorMs\": %.5f, \"denseMs\": %.5f, \"denseOfFloor\": %.4f, \"denseSpread\": [%.5f, %.5f]", first ? "" : ",", s.name,
                  (unsigned long long)model->token_bytes, floor, d, floor / d, *std::min_element(dense.begin(), dense.end()), *std::max_element(dense.begin(), dense.end()));
    out += line;
    if (s.kept > 0) {
      std::snprintf(line, sizeof line, ", \"route\": \"%s\", \"rank\": %u, \"neuronsKept\": %.4f, \"headsKept\": %.4f, \"sparseMs\": %.5f, \"speedup\": %.4f, \"sparseSpread\": [%.5f, %.5f]",
                    s.route == MlpRoute::exact ? "exact" : "predicted", s.rank, kept, heads_kept, p, d / p, *std::min_element(sparse.begin(), sparse.end()), *std::max_element(sparse.begin(), sparse.end()));
      out += line;
    }
    out += " }";
    first = false;
    if (!json.empty()) std::ofstream(json) << out << "\n  ]\n}\n";  // what is there so far, should the time be up
  }
  return 0;
}
