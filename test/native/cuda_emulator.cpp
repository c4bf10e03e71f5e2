#include "cuda_emulator.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>
#include <set>
#include <thread>

#include "cuda_emulator_math.h"
#include "half.h"

namespace hunch::cuda {

namespace {

FakeGpu fake;
std::map<DevicePointer, size_t> pieces_of_memory;

class Emulator {
 public:
  explicit Emulator(const Token& token) : t(token) {}
  void run() {
    State& state = *t.state;
    if (state.stopped) return;
    position = state.position;
    with_logits = state.score || position + 1 > state.known || (position + 1 == state.known && state.want_last);
    for (int i = 0; i < state.stage_count; i++)
      if ((!t.stages[i].logits || with_logits) && !stage(t.stages[i])) {
        state.stopped = 4;
        tell(1, 4);
        return;
      }
    finish(state);
  }

 private:
  const Token& t;
  int position = 0;
  bool with_logits = false;
  std::vector<float> x, rounded;  // the vector, and as quantised rows see it
  std::vector<uint32_t> kept;                      // heads of the layer
  std::vector<std::pair<uint32_t, float>> list;    // neurons that were chosen, and their gates
  float best = 0;
  int best_id = -1;

  float dot(const Matrix& m, uint32_t r) const {
    const std::vector<float> w = row_values(m, r);
    const std::vector<float>& v = is_float(m.format) ? x : rounded;
    double sum = 0;
    for (size_t c = 0; c < v.size(); c++) sum += (double)w[c] * v[c];
    return (float)sum;
  }
  uint32_t splits(const Stage& s) const {
    const uint32_t seen = s.window && position + 1 > (int)s.window ? s.window : (uint32_t)position + 1;
    return std::max(1u, std::min(s.most_splits, (seen + 63) / 64));
  }

  void gather(const Stage& s) {
    if (s.choose_heads) {
      kept.clear();
      for (uint32_t h = 0; h < t.heads; h++) {
        double sum = s.heads.bias[h];
        for (uint32_t r = 0; r < s.heads.rank; r++) sum += s.heads.b[h * s.heads.rank + r] * (s.heads.relu ? std::max(s.heads.hidden[r], 0.0f) : s.heads.hidden[r]);
        if (sum > *s.heads.threshold) kept.push_back(h);
      }
      *s.heads_counted += kept.size();
    }
    x.assign(s.n, 0);
    if (s.source == Source::embedding) {
      x = row_values(s.embedding, (uint32_t)t.tokens[position]);
      for (float& v : x) v *= s.scale;
      if (s.positions.data) {
        const std::vector<float> p = row_values(s.positions, (uint32_t)position + s.position_offset);
        for (uint32_t i = 0; i < s.n; i++) x[i] += p[i];
      }
    } else if (s.source == Source::residual || s.source == Source::vector) {
      std::copy_n(s.x, s.n, x.begin());
      if (s.branch) {
        std::vector<float> b(s.branch, s.branch + s.n);
        normalise(s.branch_norm, t.epsilon, b);
        for (uint32_t i = 0; i < s.n; i++) x[i] += b[i];
      }
      if (s.relu)
        for (float& v : x) v = std::max(v, 0.0f);
    } else if (s.source == Source::attention) {
      for (uint32_t h = 0; h < t.heads; h++) {
        if (s.kept_heads && std::find(kept.begin(), kept.end(), h) == kept.end()) continue;
        double top = -1e30, sum = 0;
        std::vector<double> v(t.head_width, 0.0);
        for (uint32_t i = 0; i < splits(s); i++) top = std::max(top, (double)t.part_max[h * t.max_splits + i]);
        for (uint32_t i = 0; i < splits(s); i++) {
          const size_t at = h * t.max_splits + i;
          const double w = std::exp2(t.part_max[at] - top);
          sum += w * t.part_sum[at];
          for (uint32_t d = 0; d < t.head_width; d++) v[d] += w * t.part_acc[at * t.head_width + d];
        }
        for (uint32_t d = 0; d < t.head_width; d++) x[h * t.head_width + d] = (float)(v[d] / sum);
      }
    }
    if (s.x_out) std::copy(x.begin(), x.end(), s.x_out);
    normalise(s.norm, t.epsilon, x);
    if (s.want_quantised) round();
  }
  void round() {
    rounded = x;
    for (size_t b = 0; b < rounded.size(); b += 32) {
      float peak = 0;
      for (size_t i = b; i < b + 32; i++) peak = std::max(peak, std::fabs(x[i]));
      for (size_t i = b; i < b + 32; i++) rounded[i] = peak > 0 ? (float)std::lrintf(x[i] * (127 / peak)) * (peak / 127) : 0;
    }
  }

  void segment(const Stage& s, const Segment& g) {
    if (g.epilogue == Epilogue::select) list.clear();
    if (g.epilogue == Epilogue::logits) best = -INFINITY, best_id = -1;
    for (uint32_t r = 0; r < g.matrix.rows; r++) {
      if (g.by_heads && std::find(kept.begin(), kept.end(), r / t.head_width) == kept.end()) continue;
      float v = dot(g.matrix, r);
      switch (g.epilogue) {
        case Epilogue::gate: {
          const float up = dot(g.matrix, r + 1) + (g.bias ? g.bias[r / 2] : 0);
          g.out[r / 2] = through(s.act, v, up);
          r++;
          break;
        }
        case Epilogue::logits:
          g.out[r] = v;
          if (v > best) best = v, best_id = (int)r;
          break;
        case Epilogue::select:
          v += !s.gated && s.up_bias ? s.up_bias[r] : 0;
          if ((s.act == Act::relu || s.act == Act::drelu ? v : std::fabs(activated(s.act, v))) > s.thresholds[0]) list.push_back({r, v});
          break;
        default:
          v += g.bias ? g.bias[r] : 0;
          if (g.epilogue == Epilogue::add) g.out[r] += v;
          else g.out[r] = g.epilogue == Epilogue::activate ? activated(s.act, v) : v;
      }
    }
  }

  void turn(const Stage& s, const Norm& norm, const float* from, std::vector<float>& to) {
    to.assign(from, from + t.head_width);
    normalise(norm, t.epsilon, to);
    if (!s.cosine) return;
    const uint32_t half = s.rope_width / 2;
    for (uint32_t i = 0; i < half; i++) {
      const float c = s.cosine[(size_t)position * half + i], w = s.sine[(size_t)position * half + i];
      float &a = to[s.neox ? i : 2 * i], &b = to[s.neox ? i + half : 2 * i + 1];
      const float p = a, q = b;
      a = p * c - q * w, b = p * w + q * c;
    }
  }
  void attention(const Stage& s) {
    const uint32_t hw = t.head_width, group = t.heads / t.kv_heads, n = splits(s);
    const uint32_t from = s.window && position + 1 > (int)s.window ? (uint32_t)position + 1 - s.window : 0, seen = (uint32_t)position + 1 - from;
    std::vector<float> q, k;
    for (uint32_t kv = 0; kv < t.kv_heads; kv++) {
      uint16_t *keys = s.keys + (size_t)kv * t.context * hw, *values = s.values + (size_t)kv * t.context * hw;
      turn(s, s.k_norm, s.qkv + (size_t)(t.heads + kv) * hw, k);
      for (uint32_t i = 0; i < hw; i++) {
        keys[(size_t)position * hw + i] = f32_to_f16(k[i]);
        values[(size_t)position * hw + i] = f32_to_f16(s.qkv[(size_t)(t.heads + t.kv_heads + kv) * hw + i]);
      }
      for (uint32_t h = kv * group; h < (kv + 1) * group; h++) {
        turn(s, s.q_norm, s.qkv + (size_t)h * hw, q);
        for (uint32_t part = 0; part < n; part++) {
          const uint32_t begin = from + seen * part / n, end = from + seen * (part + 1) / n;
          double top = -INFINITY, sum = 0;
          std::vector<double> scores, acc(hw, 0.0);
          for (uint32_t p = begin; p < end; p++) {
            double score = 0;
            for (uint32_t i = 0; i < hw; i++) score += (double)q[i] * s.query_scale * f16_to_f32(keys[(size_t)p * hw + i]);
            scores.push_back(score);
            top = std::max(top, score);
          }
          for (uint32_t p = begin; p < end; p++) {
            const double w = std::exp2(scores[p - begin] - top);
            sum += w;
            for (uint32_t i = 0; i < hw; i++) acc[i] += w * f16_to_f32(values[(size_t)p * hw + i]);
          }
          const size_t at = (size_t)h * t.max_splits + part;
          t.part_max[at] = (float)top, t.part_sum[at] = (float)sum;
          for (uint32_t i = 0; i < hw; i++) t.part_acc[at * hw + i] = (float)acc[i];
        }
      }
    }
  }

  void neurons(const Stage& s) {
    std::vector<double> sums(t.width, 0.0);
    const auto one = [&](uint32_t n, float gate) {
      const float bias = s.up_bias ? s.up_bias[n] : 0;
      float h;
      if (s.gated) {
        if (s.neurons != 1) gate = dot(s.first, 2 * n);
        const float up = s.neurons == 1 ? dot(s.up, n) : dot(s.first, 2 * n + 1);
        const float measure = s.act == Act::relu || s.act == Act::drelu ? gate : std::fabs(activated(s.act, gate));
        h = s.neurons == 2 || measure > s.thresholds[0] ? through(s.act, gate, up + bias) : 0;
      } else {
        const float up = s.neurons == 1 ? gate : dot(s.first, n) + bias;
        h = activated(s.act, up);
        if (s.neurons == 3 && !((s.act == Act::relu ? up : std::fabs(h)) > s.thresholds[0])) h = 0;
      }
      const std::vector<float> down = row_values(s.down, n);
      for (uint32_t i = 0; i < t.width; i++) sums[i] += (double)h * down[i];
      ++*s.neurons_counted;
    };
    if (s.neurons == 2)
      for (uint32_t n = 0; n < s.down.rows; n++) one(n, 0);
    else
      for (const auto& [neuron, gate] : list) one(neuron, gate);
    for (uint32_t i = 0; i < t.width; i++) s.partials[i] = (float)sums[i];  // as if the first block owned all neurons
    std::fill_n(s.partials + t.width, (size_t)(fake.multiprocessors - 1) * t.width, 0.0f);
  }

  // What a predictor names, from its first factor's result.
  void scores(const Stage& s) {
    const Scores& c = s.scores;
    list.clear();
    x.assign(c.hidden, c.hidden + c.rank);
    if (c.relu)
      for (float& v : x) v = std::max(v, 0.0f);
    round();
    for (uint32_t r = 0; r < c.matrix.rows; r++)
      if (dot(c.matrix, r) + c.bias[r] > s.thresholds[1]) list.push_back({r, 0.0f});
  }

  // The CPU's turn (kernels/cuda/host_turn.cuh): its lanes are threads of their own here too.
  uint32_t turn_of(const Stage& s) const { return (uint32_t)position * t.host.turns + s.host.turn; }
  static std::atomic_ref<uint32_t> flag(const uint32_t* p) { return std::atomic_ref<uint32_t>(*const_cast<uint32_t*>(p)); }
  void post(const Stage& s) const {
    std::copy_n(s.host.post, s.host.post_n, t.host.posted[s.host.post_as]);
    flag(t.host.asked[s.host.post_as]).store(turn_of(s), std::memory_order_release);
  }
  bool join(const Stage& s) const {
    const auto began = std::chrono::steady_clock::now();
    while (fake.impatient || flag(t.host.answered).load(std::memory_order_acquire) != turn_of(s)) {
      std::this_thread::yield();
      const auto waited = std::chrono::steady_clock::now() - began;
      if (!fake.impatient && (uint64_t)std::chrono::nanoseconds(waited).count() <= t.host.limit_ns) continue;
      flag(t.host.late).store(1, std::memory_order_release);
      return false;
    }
    for (uint32_t i = 0; i < t.width; i++)
      s.host.answer[i] = t.host.answer[i];
    fake.joins++;
    return true;
  }
  void tell(int what, int32_t value) const { std::atomic_ref<int32_t>(const_cast<int32_t&>(t.host_progress[what])).store(value, std::memory_order_release); }

  bool stage(const Stage& s) {
    if (s.scores.matrix.data) scores(s);
    if (s.host.post) post(s);
    if (s.attention) attention(s);
    if (s.source != Source::none) gather(s);
    for (uint32_t i = 0; i < s.segments; i++) segment(s, s.segment[i]);
    if (s.neurons) neurons(s);
    for (uint32_t i = 0; s.sum_partials && i < t.width; i++) {
      double sum = s.down_bias ? s.down_bias[i] : 0;
      for (uint32_t b = 0; b < s.sum_partials; b++) sum += s.partials[(size_t)b * t.width + i];
      s.x_out[i] = (float)sum + (s.into_residual ? s.x_out[i] : 0);
    }
    return !s.host.answer || join(s);
  }

  void finish(State& state) {
    const int next = position + 1;
    int stopped = 0;
    if (with_logits) {
      if (!std::isfinite(best)) stopped = 3;
      if (next < state.known) {
        double sum = 0;
        for (uint32_t i = 0; i < t.vocabulary; i++) sum += std::exp((double)t.logits[i] - best);
        t.nll[position] = (float)(std::log(sum) + best - t.logits[t.tokens[next]]);
        t.greedy[position] = best_id == t.tokens[next];
      } else {
        t.tokens[next] = t.host_tokens[next] = best_id;
        for (int i = 0; i < state.stop_count; i++)
          if (state.stop[i] == best_id) stopped = 1;
        state.known = next + 1;
      }
    }
    if (!stopped && next >= (int)t.context) stopped = 2;
    state.position = next, state.stopped = stopped;
    tell(1, stopped);
    tell(0, next);
  }
};

struct Graph {
  Token token;
  bool filled = false;
};
Graph* capturing = nullptr;

bool lost() { return fake.fail_launches_after >= 0 && fake.launches >= (uint64_t)fake.fail_launches_after; }

Result launch(const Token& token) {
  if (lost()) return 719;
  fake.launches++;
  Emulator(token).run();
  return kSuccess;
}

const Driver& table() {
  static const Driver d = [] {
    Driver d;
    d.Init = [](unsigned) { return 0; };
    d.DriverGetVersion = [](int* v) { return *v = 13000, 0; };
    d.GetErrorString = [](Result r, const char** s) { return *s = r == 719 ? "unspecified launch failure" : "out of memory", 0; };
    d.DeviceGetCount = [](int* n) { return *n = fake.absent ? 0 : 1, 0; };
    d.DeviceGet = [](int* device, int) { return *device = 0, 0; };
    d.DeviceGetName = [](char* name, int n, int) { return std::strncpy(name, "Fake GPU", (size_t)n), 0; };
    d.DeviceTotalMem = [](size_t* n, int) { return *n = fake.memory, 0; };
    d.DeviceGetAttribute = [](int* v, int attribute, int) {
      *v = attribute == 75 ? fake.major : attribute == 76 ? fake.minor : attribute == 16 ? fake.multiprocessors : attribute == 97 ? 232448 : 1;
      return 0;
    };
    d.DevicePrimaryCtxRetain = [](void** c, int) { return *c = &fake, 0; };
    d.DevicePrimaryCtxRelease = [](int) { return 0; };
    d.CtxSetCurrent = [](void*) { return 0; };
    d.ModuleLoadData = [](void** m, const void*) { return *m = &fake, 0; };
    d.ModuleUnload = [](void*) { return 0; };
    d.ModuleGetFunction = [](void** f, void*, const char* name) {
      static std::set<std::string> names;  // a function is its name
      return *f = const_cast<std::string*>(&*names.insert(name).first), 0;
    };
    d.FuncSetAttribute = [](void*, int, int) { return 0; };
    d.FuncGetAttribute = [](int* v, int, void*) { return *v = 14000, 0; };
    d.MemGetInfo = [](size_t* free, size_t* total) { return *free = fake.memory - fake.allocated, *total = fake.memory, 0; };
    d.MemAlloc = [](DevicePointer* p, size_t n) {
      if (fake.allocated + n > fake.memory) return kOutOfMemory;
      *p = reinterpret_cast<DevicePointer>(::operator new(n, std::align_val_t(256)));
      std::memset(reinterpret_cast<void*>(*p), 0xA5, n);
      pieces_of_memory[*p] = n;
      fake.allocated += n;
      return kSuccess;
    };
    d.MemFree = [](DevicePointer p) {
      fake.allocated -= pieces_of_memory.at(p);
      pieces_of_memory.erase(p);
      ::operator delete(reinterpret_cast<void*>(p), std::align_val_t(256));
      return 0;
    };
    d.MemHostAlloc = [](void** p, size_t n, unsigned) { return *p = std::calloc(1, n), 0; };
    d.MemFreeHost = [](void* p) { return std::free(p), 0; };
    d.MemHostGetDevicePointer = [](DevicePointer* d, void* p, unsigned) { return *d = reinterpret_cast<DevicePointer>(p), 0; };
    d.MemcpyHtoDAsync = [](DevicePointer to, const void* from, size_t n, void*) { return std::memcpy(reinterpret_cast<void*>(to), from, n), fake.copies++, 0; };
    d.MemcpyDtoHAsync = [](void* to, DevicePointer from, size_t n, void*) { return std::memcpy(to, reinterpret_cast<void*>(from), n), 0; };
    d.MemcpyDtoDAsync = [](DevicePointer to, DevicePointer from, size_t n, void*) { return std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), n), 0; };
    d.MemsetD8Async = [](DevicePointer p, unsigned char v, size_t n, void*) { return std::memset(reinterpret_cast<void*>(p), v, n), 0; };
    d.StreamCreate = [](void** s, unsigned) { return *s = &fake, 0; };
    d.StreamDestroy = [](void*) { return 0; };
    d.StreamSynchronize = [](void*) { return lost() ? 719 : 0; };
    d.StreamBeginCapture = [](void*, int) { return capturing = new Graph, 0; };
    d.StreamEndCapture = [](void*, void** g) { return *g = capturing, capturing = nullptr, 0; };
    d.GraphInstantiateWithFlags = [](void** e, void* g, unsigned long long) { return *e = new Graph(*static_cast<Graph*>(g)), fake.graphs++, 0; };
    d.GraphLaunch = [](void* e, void*) { return launch(static_cast<Graph*>(e)->token); };
    d.GraphExecDestroy = [](void* e) { return delete static_cast<Graph*>(e), 0; };
    d.GraphDestroy = [](void* g) { return delete static_cast<Graph*>(g), 0; };
    d.EventCreate = [](void** e, unsigned) { return *e = &fake, 0; };
    d.EventRecord = [](void*, void*) { return 0; };
    d.EventSynchronize = [](void*) { return 0; };
    d.EventElapsedTime = [](float* ms, void*, void*) { return *ms = 1, 0; };
    d.EventDestroy = [](void*) { return 0; };
    d.LaunchKernel = [](void* f, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned, unsigned, unsigned shared, void*, void** arguments, void**) {
      if (lost()) return 719;
      fake.launches++;
      const std::string& name = *static_cast<std::string*>(f);
      return (fake.kernel_source ? run_kernel_source(name, x, y, z, threads, shared, arguments[0]) : run_prefill_kernel(name, x, y, z, arguments[0])) ? kSuccess : 1;
    };
    d.LaunchCooperativeKernel = [](void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void** arguments) {
      if (!capturing) return launch(*static_cast<Token*>(arguments[0]));
      capturing->token = *static_cast<Token*>(arguments[0]);
      return 0;
    };
    return d;
  }();
  return d;
}

}  // namespace

FakeDriver::FakeDriver() {
  fake = {};
  use_driver(&table());
}
FakeDriver::~FakeDriver() { use_driver(nullptr); }
bool no_gpu() {
  std::string why;
  int version = 0;
  for (const Gpu& g : list_gpus(why, version))
    if (g.usable) return false;
  return true;
}
FakeGpu& FakeDriver::gpu() { return fake; }

}  // namespace hunch::cuda
