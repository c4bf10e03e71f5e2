// A model larger than the GPU's memory, divided by neurons and, beside it in turns, by layers as llama.cpp does: single tokens of the whole engine, from a file of random weights.
//   lab_hybrid_bench [--share 0.4] [--kept 0.12] [--layers 32] [--width 4096] [--ffn 11008] [--rounds 7] [--tokens 48] [--threads N] [--file PATH] [--json FILE] [--commit HASH]
//
// The shape is prosparse-llama-2-7b's, Q4_0. Gates have rank 128: row n is a_n B_n A, with a_n such that, of normally distributed inputs, neurons of a layer are
// active with frequencies r^-0.834 by rank r, where 26 % of them have 80 % of the activations (PowerInfer, Song 2023); all layers have the same rows in another
// order. Attention's outputs are small, so that (A, a_n B_n) predicts from the attention's input. Each layer's gate threshold is the one that keeps the wanted
// share, and its neurons' frequencies are what the CPU's model does with that threshold on random tokens; both are printed. GPU budgets are bytes of weights and,
// for the predicted route, predictors.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>

#include "../src/cuda/device_model.h"
#include "../src/forward.h"
#include "half.h"
#include "kernels.h"

using namespace hunch;

namespace {

constexpr uint32_t kRank = 128;

struct Shape {
  uint32_t layers = 32, width = 4096, ffn = 11008, head_width = 128, vocabulary = 32000;
};

void check(const Status& s) {
  if (s.ok()) return;
  std::printf("%s: %s\n", s.code.c_str(), s.message.c_str());
  std::exit(1);
}

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

template <class F>
void in_parallel(uint32_t n, F&& f) {
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; t++)
    all.emplace_back([&, t] { for (uint32_t i = t; i < n; i += threads) f(i); });
  for (auto& t : all) t.join();
}

// x where a normal variable exceeds x with probability p.
double exceeded_with(double p) {
  double low = -8, high = 8;
  for (int i = 0; i < 60; i++) {
    const double mid = (low + high) / 2;
    (0.5 * std::erfc(mid / std::sqrt(2.0)) > p ? low : high) = mid;
  }
  return low;
}

void quantise_q4_0(const float* x, uint32_t n, uint8_t* out) {
  for (uint32_t b = 0; b < n; b += 32, out += 18) {
    float peak = 0;
    for (uint32_t i = 0; i < 32; i++)
      if (std::fabs(x[b + i]) > std::fabs(peak)) peak = x[b + i];
    const float d = peak / -8;
    const uint16_t h = f32_to_f16(d);
    std::memcpy(out, &h, 2);
    const auto code = [&](float v) { return (uint8_t)std::clamp((int)(d != 0 ? v / d + 8.5f : 8), 0, 15); };
    for (uint32_t i = 0; i < 16; i++) out[2 + i] = (uint8_t)(code(x[b + i]) | code(x[b + i + 16]) << 4);
  }
}

// The file, its two tables of tensors, and the predictors that belong to it.
class Synthetic {
 public:
  Synthetic(const Shape& s, double kept, const std::string& path) : s_(s) {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    a_.resize((size_t)kRank * s.width), b_.resize((size_t)s.ffn * kRank);
    for (float& v : a_) v = normal(random) / std::sqrt((float)s.width);
    for (float& v : b_) v = normal(random) / std::sqrt((float)kRank);
    // Which neuron has which rank in the order of activity: shuffled.
    std::vector<uint32_t> rank(s.ffn);
    for (uint32_t i = 0; i < s.ffn; i++) rank[i] = i;
    std::shuffle(rank.begin(), rank.end(), random);
    double sum = 0;
    for (uint32_t i = 0; i < s.ffn; i++) sum += std::pow((i + 0.5) / s.ffn, -0.834);
    for (uint32_t n = 0; n < s.ffn; n++) {
      const double f = std::min(0.45, kept * s.ffn / sum * std::pow((rank[n] + 0.5) / s.ffn, -0.834));
      for (uint32_t r = 0; r < kRank; r++) b_[(size_t)n * kRank + r] *= (float)(1 / exceeded_with(f));
    }
    const size_t row = row_bytes(TensorType::Q4_0, s.width);
    std::vector<uint8_t> gates((size_t)s.ffn * row);
    in_parallel(s.ffn, [&](uint32_t n) {
      std::vector<float> x(s.width, 0.0f);
      for (uint32_t r = 0; r < kRank; r++) {
        const float b = b_[(size_t)n * kRank + r];
        const float* a = a_.data() + (size_t)r * s.width;
        for (uint32_t c = 0; c < s.width; c++) x[c] += b * a[c];
      }
      quantise_q4_0(x.data(), s.width, gates.data() + n * row);
    });
    std::vector<uint8_t> pool((64u << 20) / 18 * 18);
    for (size_t at = 0; at + 8 <= pool.size(); at += 8) {
      const uint64_t r = random();
      std::memcpy(pool.data() + at, &r, 8);
    }
    std::ofstream file(path, std::ios::binary);
    uint64_t at = 0;
    const auto add = [&](const std::string& name, TensorType type, uint32_t cols, uint32_t rows, auto&& write) {
      TensorInfo t{name, type, rows ? std::vector<uint64_t>{cols, rows} : std::vector<uint64_t>{cols}, at};
      tensors_.push_back(t);
      write(row_bytes(type, cols) * std::max(1u, rows));
      const std::vector<char> zeros((64 - (size_t)file.tellp() % 64) % 64);
      file.write(zeros.data(), (std::streamsize)zeros.size());
      at = (uint64_t)file.tellp();
    };
    const auto ones = [&](uint64_t bytes) {
      const std::vector<float> v(bytes / 4, 1.0f);
      file.write(reinterpret_cast<const char*>(v.data()), (std::streamsize)bytes);
    };
    const auto noise = [&](float scale) {
      return [&, scale](uint64_t bytes) {
        const uint16_t d = f32_to_f16(scale / 4.6f / std::sqrt((float)s.width));
        std::vector<uint8_t> block = pool;
        for (size_t i = 0; i < block.size(); i += 18) std::memcpy(block.data() + i, &d, 2);
        for (uint64_t done = 0; done < bytes;) {
          const uint64_t from = random() % (block.size() / 18) * 18, n = std::min<uint64_t>(bytes - done, block.size() - from);
          file.write(reinterpret_cast<const char*>(block.data() + from), (std::streamsize)n);
          done += n;
        }
      };
    };
    const uint32_t w = s.width;
    add("token_embd.weight", TensorType::Q4_0, w, s.vocabulary, noise(1));
    add("output.weight", TensorType::Q4_0, w, s.vocabulary, noise(1));
    add("output_norm.weight", TensorType::F32, w, 0, ones);
    for (uint32_t i = 0; i < s.layers; i++) {
      const std::string b = "blk." + std::to_string(i) + ".";
      add(b + "attn_norm.weight", TensorType::F32, w, 0, ones), add(b + "ffn_norm.weight", TensorType::F32, w, 0, ones);
      for (const char* name : {"attn_q", "attn_k", "attn_v"}) add(b + name + ".weight", TensorType::Q4_0, w, w, noise(1));
      add(b + "attn_output.weight", TensorType::Q4_0, w, w, noise(0.01f));
      add(b + "ffn_gate.weight", TensorType::Q4_0, w, s.ffn, [&](uint64_t) {
        for (uint32_t n = 0; n < s.ffn; n++) file.write(reinterpret_cast<const char*>(gates.data() + ordered(i, n) * row), (std::streamsize)row);
      });
      add(b + "ffn_up.weight", TensorType::Q4_0, w, s.ffn, noise(1));
      add(b + "ffn_down_t.weight", TensorType::Q4_0, w, s.ffn, noise(0.1f));
    }
    bytes_ = at;
    if (!file.good()) check(Status::error("bad-request", "The file " + path + " could not be written."));
    path_ = path;
  }
  // relu: by neuron; else the same bytes as an ordinary SiLU model's.
  ModelSpec spec(bool relu) const {
    ModelSpec m;
    m.path = path_, m.architecture = "llama";
    m.layers = s_.layers, m.width = s_.width, m.ffn_width = s_.ffn, m.head_width = s_.head_width, m.heads = m.kv_heads = s_.width / s_.head_width;
    m.vocabulary = s_.vocabulary, m.trained_context = 2048, m.norm_epsilon = 1e-5f, m.rope_width = s_.head_width;
    m.activation = relu ? Activation::relu : Activation::silu;
    m.tensors = tensors_;
    for (TensorInfo& t : m.tensors)
      if (!relu && t.name.ends_with("ffn_down_t.weight")) t.name.replace(t.name.find("_t.weight"), std::string::npos, ".weight"), t.shape = {s_.ffn, s_.width};
    return m;
  }
  Predictors predictors() const {
    Predictors p;
    for (uint32_t i = 0; i < s_.layers; i++) {
      LowRankPredictor low{PredictorSource::attention, kRank, false, a_, {}, {}};
      low.b.resize(b_.size());
      for (uint32_t n = 0; n < s_.ffn; n++) std::copy_n(b_.data() + (size_t)ordered(i, n) * kRank, kRank, low.b.data() + (size_t)n * kRank);
      p.mlp.push_back(std::move(low));
    }
    return p;
  }
  uint64_t bytes() const { return bytes_; }
  uint64_t predictor_bytes(double hot) const {
    return s_.layers * ((uint64_t)kRank * cuda::row_stride(cuda::Format::f16, s_.width) + (uint64_t)(hot * s_.ffn) * (cuda::row_stride(cuda::Format::bytes, kRank) + 4));
  }

 private:
  uint32_t ordered(uint32_t layer, uint32_t n) const { return (n + layer * 977) % s_.ffn; }
  const Shape s_;
  std::string path_;
  std::vector<float> a_, b_;
  std::vector<TensorInfo> tensors_;
  uint64_t bytes_ = 0;
};

struct Measured {
  std::vector<float> thresholds;                // [layers]
  std::vector<std::vector<float>> frequencies;  // [layers][neurons]
};

// Gates of random tokens on the CPU: the thresholds that keep the wanted share, and how often each neuron then is active.
Measured measure(const ModelSpec& spec, unsigned threads, double kept) {
  Pool pool(threads);
  Model model;
  check(load_model(spec, kernels_for(supported_isas().front()), pool, LoadOptions{}, model));
  constexpr uint32_t kTokens = 192;
  KvCache kv;
  if (!kv.allocate(spec.layers, spec.kv_heads, spec.head_width, kTokens)) std::exit(1);
  Scratch scratch;
  scratch.allocate(model, kTokens, pool.size());
  const Screens none;
  scratch.screens = &none;
  Tap tap;
  tap.resize(spec, kTokens);
  scratch.tap = &tap;
  std::mt19937 random(3);
  std::vector<int32_t> ids(kTokens);
  for (int32_t& id : ids) id = (int32_t)(random() % spec.vocabulary);
  Plan plan;
  plan.layers.resize(spec.layers);
  for (LayerPlan& l : plan.layers) l.mlp = MlpRoute::exact;
  Measured m;
  const std::atomic<bool> never{false};
  m.thresholds.resize(spec.layers);
  // A layer's threshold changes what the layers behind it see: twice is near enough.
  for (int pass = 0; pass < 2; pass++) {
    forward(model, pool, kv, scratch, ids, 0, &plan, Logits::none, never);
    m.frequencies.assign(spec.layers, std::vector<float>(spec.ffn_width, 0.0f));
    in_parallel(spec.layers, [&](uint32_t l) {
      const size_t n = (size_t)kTokens * spec.ffn_width;
      const float* gates = tap.first.data() + (size_t)l * n;
      std::vector<float> sorted(gates, gates + n);
      std::nth_element(sorted.begin(), sorted.begin() + (ptrdiff_t)((double)n * (1 - kept)), sorted.end());
      plan.layers[l].gate_threshold = m.thresholds[l] = std::max(0.0f, sorted[(size_t)((double)n * (1 - kept))]);
      for (uint32_t t = 0; t < kTokens; t++)
        for (uint32_t i = 0; i < spec.ffn_width; i++) m.frequencies[l][i] += gates[(size_t)t * spec.ffn_width + i] > m.thresholds[l] ? 1.0f / kTokens : 0;
    });
  }
  return m;
}

}  // namespace

int main(int argc, char** argv) {
  Shape shape;
  std::string path = (std::filesystem::temp_directory_path() / "hunch-hybrid.bin").string(), json, commit = "unknown";
  double share = 0.4, kept = 0.12;
  int rounds = 7, tokens = 48;
  unsigned threads = physical_cores();
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string a = argv[i], v = argv[i + 1];
    if (a == "--share") share = std::stod(v);
    else if (a == "--kept") kept = std::stod(v);
    else if (a == "--layers") shape.layers = (uint32_t)std::stoul(v);
    else if (a == "--width") shape.width = (uint32_t)std::stoul(v);
    else if (a == "--ffn") shape.ffn = (uint32_t)std::stoul(v);
    else if (a == "--rounds") rounds = std::stoi(v);
    else if (a == "--tokens") tokens = std::stoi(v);
    else if (a == "--threads") threads = (unsigned)std::stoul(v);
    else if (a == "--file") path = v;
    else if (a == "--json") json = v;
    else if (a == "--commit") commit = v;
  }
  const auto began = std::chrono::steady_clock::now();
  const auto since = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(); };
  const Synthetic weights(shape, kept, path);
  std::printf("%.2f GB written, %.0f s\n", (double)weights.bytes() * 1e-9, since());
  const Measured measured = measure(weights.spec(true), threads, kept);
  std::vector<float> all;
  double sum = 0;
  for (const auto& l : measured.frequencies) all.insert(all.end(), l.begin(), l.end());
  std::sort(all.begin(), all.end(), std::greater<>());
  for (float f : all) sum += f;
  const auto taken = [&](double part) {
    double top = 0;
    for (size_t i = 0; i < (size_t)(part * (double)all.size()); i++) top += all[i];
    return top / sum;
  };
  const double bandwidth = read_bandwidth(threads, 1ull << 30);
  std::printf("density %.4f; the most active 5, 10, 26 %% have %.3f, %.3f, %.3f of the activations; CPU reads %.1f GB/s with %u threads; %.0f s\n", sum / (double)all.size(), taken(0.05), taken(0.10),
              taken(0.26), bandwidth, threads, since());

  struct Mode {
    const char* name;
    std::shared_ptr<Engine> engine;
    std::unique_ptr<Session> session;
    std::vector<double> ms;
    double computed = 0, named = 0, hot = 0, active_on_gpu = 0, read_gb = 0;
  };
  Mode modes[3] = {{"dense, by layers", {}, {}, {}}, {"exact, by neuron", {}, {}, {}}, {"predicted, by neuron", {}, {}, {}}};
  const uint64_t budget = (uint64_t)(share * (double)weights.bytes());
  std::mt19937 random(9);
  std::vector<int32_t> text(512);
  for (int32_t& id : text) id = (int32_t)(random() % shape.vocabulary);
  constexpr uint32_t kDepth = 128;
  const auto time = [&](Mode& m) {
    double prefill = 0, decode = 0;
    check(m.session->bench(0, (uint32_t)tokens, prefill, decode, kDepth, text));
    return decode / tokens;
  };
  for (Mode& m : modes) {
    const bool dense = &m == modes, predicted = &m == modes + 2;
    LoadOptions o;
    o.threads = threads, o.device = "cuda";
    o.gpu_budget = budget - (predicted ? weights.predictor_bytes(0.1) : 0);
    if (!dense) o.frequencies = measured.frequencies;
    check(Engine::load(weights.spec(!dense), o, m.engine));
    check(m.engine->new_session(1024, m.session));
    Plan plan;
    for (uint32_t i = 0; i < shape.layers; i++)
      plan.layers.push_back({dense ? MlpRoute::dense : predicted ? MlpRoute::predicted : MlpRoute::exact, measured.thresholds[i], 0.8f * measured.thresholds[i], {}});
    if (predicted) check(m.engine->set_predictors(weights.predictors()));
    if (!dense) check(m.session->set_plan(&plan));
    const Residency r = m.engine->residency();
    double active = 0;
    std::vector<std::vector<float>> sorted = measured.frequencies;
    for (uint32_t i = 0; i < shape.layers; i++) {
      m.hot += (double)r.gpu[i] / shape.ffn / shape.layers;
      std::sort(sorted[i].begin(), sorted[i].end(), std::greater<>());
      for (uint32_t n = 0; n < r.gpu[i]; n++) active += sorted[i][n];
    }
    m.active_on_gpu = active / sum;
    std::printf("%s: %.2f GB on the GPU (budget %.2f), %.3f of the neurons there; %s %.0f s\n", m.name, (double)m.engine->info().gpu_bytes * 1e-9, (double)budget * 1e-9, m.hot,
                m.engine->info().device_note.c_str(), since());
    time(m);
    m.session->activity();
    time(m);
    const Activity a = m.session->activity();
    for (uint32_t i = 0; i < shape.layers; i++) m.computed += (double)a.computed[i], m.named += (double)a.named[i];
    const double of = (double)a.tokens * shape.layers * shape.ffn;
    m.computed /= of, m.named /= of, m.read_gb = (double)a.bytes / (double)a.tokens * 1e-9;
  }
  for (int round = 0; round < rounds; round++)
    for (Mode& m : modes) m.ms.push_back(time(m));
  std::string out = "{\n  \"card\": \"" + modes[0].engine->info().device + "\",\n  \"commit\": \"" + commit + "\",\n  \"command\": \"";
  for (int i = 0; i < argc; i++) out += std::string(i ? " " : "") + (i ? argv[i] : "lab_hybrid_bench");
  char line[1024];
  std::snprintf(line, sizeof line,
                "\",\n  \"threads\": %u,\n  \"cpuReadGBps\": %.2f,\n  \"modelBytes\": %llu,\n  \"gpuBudget\": %llu,\n  \"density\": %.4f,\n  \"shareOfActivations\": {\"5%%\": %.4f, \"10%%\": %.4f, \"26%%\": %.4f},\n  \"modes\": [",
                threads, bandwidth, (unsigned long long)weights.bytes(), (unsigned long long)budget, sum / (double)all.size(), taken(0.05), taken(0.10), taken(0.26));
  out += line;
  const double dense = median(modes[0].ms);
  for (Mode& m : modes) {
    const double ms = median(m.ms), low = *std::min_element(m.ms.begin(), m.ms.end()), high = *std::max_element(m.ms.begin(), m.ms.end());
    std::printf("%-22s %8.3f ms (%.3f to %.3f) = %.2fx; hot %.3f with %.3f of the activations; computed %.4f, named %.4f; %.2f GB a token\n", m.name, ms, low, high, dense / ms, m.hot, m.active_on_gpu,
                m.computed, m.named, m.read_gb);
    std::snprintf(line, sizeof line,
                  "%s\n    { \"name\": \"%s\", \"ms\": %.4f, \"spread\": [%.4f, %.4f], \"speedup\": %.4f, \"gpuBytes\": %llu, \"hotNeurons\": %.4f, \"activationsOnGpu\": %.4f, \"computed\": %.4f, \"named\": %.4f, \"gigabytesPerToken\": %.4f, \"note\": \"%s\" }",
                  &m == modes ? "" : ",", m.name, ms, low, high, dense / ms, (unsigned long long)m.engine->info().gpu_bytes, m.hot, m.active_on_gpu, m.computed, m.named, m.read_gb,
                  m.engine->info().device_note.c_str());
    out += line;
  }
  if (!json.empty()) std::ofstream(json) << out << "\n  ]\n}\n";
  std::filesystem::remove(path);
  return 0;
}
