// Prompts many tokens at once (native/kernels/cuda/prefill.cu): products of every format, then whole models against naive double arithmetic, on the fake driver
// (host logic), on the kernels' own source run by the CPU (cuda_on_host.cpp), and on a real GPU where there is one.
#include <numeric>

#include "cuda_emulator.h"
#include "cuda_models.h"
#include "half.h"
#include "weights.h"

using namespace hunch;

namespace {

double act(Activation a, double x) {
  if (a == Activation::relu || a == Activation::drelu) return std::max(x, 0.0);
  if (a == Activation::silu) return x / (1 + std::exp(-x));
  return 0.5 * x * (1 + std::tanh(0.7978845608 * (x + 0.044715 * x * x * x)));
}

struct Shape {
  TensorType type;
  uint32_t rows, cols, tokens;
  bool turned;
  cuda::Epilogue epilogue;
  Activation activation;
  uint32_t parts = 1;
};

// One launch against doubles.
double product(const Shape& s) {
  std::shared_ptr<cuda::Device> device;
  REQUIRE(cuda::Device::open(-1, device).ok());
  cuda::Memory memory(device);
  Random random(s.rows * 31 + s.cols * 7 + s.tokens);
  const cuda::Format format = cuda::format_of(s.type);
  const std::vector<uint8_t> raw = random_weights(s.type, s.rows, s.cols, 1.0 / std::sqrt((double)s.cols), random);
  const bool pairs = s.epilogue == cuda::Epilogue::gate;
  const uint32_t stride = cuda::row_stride(format, s.cols), bytes = (uint32_t)(raw.size() / s.rows);
  // Pairs of rows lie in bundles with room behind them, as the engine's do; stray numbers there must not count.
  const uint32_t bundle = pairs ? 2 * stride + 48 : stride;
  std::vector<uint8_t> packed((size_t)(pairs ? s.rows / 2 : s.rows) * bundle, 0xFF);
  std::vector<std::vector<float>> w(s.rows, std::vector<float>(s.cols));
  for (uint32_t r = 0; r < s.rows; r++) {
    uint8_t* to = packed.data() + (pairs ? (size_t)(r / 2) * bundle + r % 2 * stride : (size_t)r * bundle);
    cuda::repack_row(s.type, raw.data() + (size_t)r * bytes, s.cols, to);
    cuda::unpack_row(format, to, s.cols, w[r].data());
  }
  const uint32_t columns = s.turned ? s.rows : s.cols, rows = s.turned ? s.cols : s.rows, outs = pairs ? rows / 2 : rows, out_stride = outs + 12;
  std::vector<uint16_t> x((size_t)s.tokens * columns);
  for (uint16_t& v : x) v = f32_to_f16((float)random.normal() * 100);
  std::vector<float> scale(s.tokens), bias(outs), out((size_t)s.parts * s.tokens * out_stride);
  for (float& v : scale) v = std::ldexp(1.0f, -(int)random.below(3) - 6);
  for (float& v : bias) v = (float)random.normal();
  for (float& v : out) v = (float)random.normal();

  cuda::MultiplyLaunch g{};
  g.w = {memory.upload(packed, "a test"), s.rows, s.cols, bundle, pairs ? stride : 0, format, cuda::pieces(format, s.cols)};
  g.x = memory.upload(x, "a test"), g.scale = memory.upload(scale, "a test"), g.bias = memory.upload(bias, "a test"), g.out = memory.upload(out, "a test");
  g.tokens = s.tokens, g.out_stride = out_stride, g.epilogue = s.epilogue, g.act = (cuda::Act)s.activation;
  REQUIRE(memory.status().ok());
  void* arguments[] = {&g};
  device->enter();
  const cuda::Driver& d = device->d;
  REQUIRE(d.LaunchKernel(device->prefill.multiply[s.turned][(uint32_t)format], (s.tokens + cuda::kTileTokens - 1) / cuda::kTileTokens, (rows + cuda::kTileRows - 1) / cuda::kTileRows, s.parts,
                         cuda::kPrefillThreads, 1, 1, cuda::multiply_shared(format), nullptr, arguments, nullptr) == cuda::kSuccess);
  std::vector<float> got(out.size());
  REQUIRE(d.MemcpyDtoHAsync(got.data(), reinterpret_cast<cuda::DevicePointer>(g.out), got.size() * 4, nullptr) == cuda::kSuccess);
  REQUIRE(d.StreamSynchronize(nullptr) == cuda::kSuccess);

  double off = 0, all = 0;
  for (uint32_t i = 0; i < s.tokens; i++) {
    std::vector<double> sums(rows, 0.0);
    for (uint32_t r = 0; r < rows; r++) {
      for (uint32_t c = 0; c < columns; c++) sums[r] += (double)(s.turned ? w[c][r] : w[r][c]) * f16_to_f32(x[(size_t)i * columns + c]);
      sums[r] *= scale[i];
    }
    for (uint32_t r = 0; r < out_stride; r++) {
      const size_t at = (size_t)i * out_stride + r;
      double want = out[at], have = got[at];
      for (uint32_t part = 1; part < s.parts && r < outs; part++) have += got[(size_t)part * s.tokens * out_stride + at];
      if (r < outs && pairs) want = act(s.activation, sums[2 * r]) * (s.activation == Activation::drelu ? std::max(sums[2 * r + 1] + bias[r], 0.0) : sums[2 * r + 1] + bias[r]);
      else if (r < outs) want = s.epilogue == cuda::Epilogue::activate ? act(s.activation, sums[r] + bias[r]) : sums[r] + bias[r];
      if (r >= outs) CHECK(got[at] == out[at]);  // nothing beside what it was asked for
      off += (have - want) * (have - want), all += want * want;
    }
  }
  return std::isfinite(off) ? std::sqrt(off / all) : INFINITY;
}

void products(const std::vector<uint32_t>& tokens) {
  for (TensorType type : kAllTypes) {
    const cuda::Format f = cuda::format_of(type);
    const bool k = type == TensorType::Q4_K || type == TensorType::Q5_K || type == TensorType::Q6_K;
    const uint32_t cols = k ? 256 : cuda::is_float(f) ? 72 : 96, more = k ? 512 : cuda::is_float(f) ? 200 : 160;
    uint32_t turn = 0;
    for (uint32_t n : tokens) {
      INFO(std::string(tensor_type_name(type)));
      CAPTURE(n);
      const Activation activation = (Activation)(turn++ % kActivations);
      // Weights go through f16 on their way: 2^-11 of each at most.
      CHECK(product({type, 130, cols, n, false, cuda::Epilogue::store, activation}) < 6e-4);
      CHECK(product({type, 262, cols, n, false, cuda::Epilogue::gate, activation}) < 1.2e-3);
      CHECK(product({type, 47, more, n, false, cuda::Epilogue::activate, activation}) < 6e-4);
      CHECK(product({type, 47, more, n, false, cuda::Epilogue::store, activation, 3}) < 6e-4);
      CHECK(product({type, 104, cols, n, true, cuda::Epilogue::store, activation, 2}) < 6e-4);
      CHECK(product({type, 40, more, n, true, cuda::Epilogue::store, activation}) < 6e-4);
    }
  }
}

// Logits behind a batch, and behind tokens that go on from it one by one.
void model_case(const Case& c, uint32_t tokens, uint32_t context, uint32_t more = 2) {
  INFO(std::string(c.name));
  CAPTURE(tokens);
  TinyModel tiny(c.o);
  Loaded l = load(tiny, c.o, context);
  REQUIRE(l.session->prefill());
  const std::vector<int32_t> ids = random_tokens(tokens + more, c.o.vocabulary, 5);
  const auto want = tiny.forward(ids);
  std::vector<float> logits(c.o.vocabulary, kNan);
  // A batch's activations have f16's 11 bits. The naive model rounds them to 8 bits where weights are quantised, as single tokens do, and otherwise not at all.
  const double limit = cuda::is_float(cuda::format_of(c.o.matrices)) ? 4e-3 : 6e-2;
  Status s = l.session->extend(std::span(ids).first(tokens), 0, logits.data(), never);
  REQUIRE_MESSAGE(s.ok(), s.message);
  CHECK(error(logits, want[tokens - 1]) < limit);
  for (uint32_t i = tokens; i < tokens + more; i++) {
    s = l.session->extend(std::span(ids).subspan(i, 1), i, logits.data(), never);
    REQUIRE_MESSAGE(s.ok(), s.message);
    CHECK(error(logits, want[i]) < limit);
  }
}

void every_model(uint32_t tokens) {
  for (const Case& c : cases()) model_case(c, tokens, 512);
  Case c{"llama by neuron", {}};
  c.o.activation = Activation::relu, c.o.matrices = TensorType::Q4_0, c.o.down_by_neuron = true, c.o.ffn_width = 160, c.o.width = 96, c.o.head_width = 32;
  for (TensorType type : {TensorType::Q4_0, TensorType::F16, TensorType::BF16, TensorType::F32, TensorType::Q8_0}) {
    c.o.matrices = type;
    model_case(c, tokens, 512);
  }
}

Case windowed(uint32_t window) {
  Case c{"gemma3 with a window", {}};
  c.o.architecture = "gemma3", c.o.activation = Activation::gelu, c.o.matrices = TensorType::F16, c.o.window = window, c.o.window_pattern = 2;
  return c;
}

void long_prompts() {
  Case c{"llama", {}};
  c.o.matrices = TensorType::F16;
  model_case(c, 700, 1024);
  model_case(windowed(150), 600, 1024);
  model_case(windowed(5), 333, 512);
}

// A batch's result depends neither on how the prompt is cut nor on when it runs.
void same_bits_however_cut(uint32_t tokens, const std::vector<uint32_t>& cuts) {
  const Case c = windowed(70);
  TinyModel tiny(c.o);
  Loaded l = load(tiny, c.o, 1024);
  const std::vector<int32_t> ids = random_tokens(tokens, c.o.vocabulary, 5);
  std::vector<float> whole(c.o.vocabulary, kNan), again(c.o.vocabulary, kNan), cut(c.o.vocabulary, kNan);
  REQUIRE(l.session->extend(ids, 0, whole.data(), never).ok());
  REQUIRE(l.session->extend(ids, 0, again.data(), never).ok());
  CHECK(same_bits(whole, again));
  for (uint32_t at : cuts) {
    REQUIRE(l.session->extend(std::span(ids).first(at), 0, nullptr, never).ok());
    REQUIRE(l.session->extend(std::span(ids).subspan(at), at, cut.data(), never).ok());
    CHECK(same_bits(whole, cut));
  }
}

void scores(uint32_t tokens) {
  for (TensorType output : {TensorType::F16, TensorType::Q8_0}) {
    TinyOptions o;
    o.matrices = TensorType::F16, o.embedding = output, o.tied = false, o.vocabulary = 203;
    TinyModel tiny(o);
    Loaded l = load(tiny, o, 1024);
    const std::vector<int32_t> ids = random_tokens(tokens, o.vocabulary, 7);
    const auto want = tiny.forward(ids);
    std::vector<float> nll(ids.size() - 1, kNan), alone(ids.size() - 1, kNan);
    std::vector<uint8_t> likeliest(ids.size() - 1, 9), likeliest_alone(ids.size() - 1, 9);
    REQUIRE(l.session->score(ids, 0, nll.data(), likeliest.data()).ok());
    for (size_t i = 0; i + 1 < ids.size(); i++) {
      double sum = 0;
      for (double v : want[i]) sum += std::exp(v);
      CHECK(nll[i] == doctest::Approx(std::log(sum) - want[i][(size_t)ids[i + 1]]).epsilon(output == TensorType::F16 ? 3e-3 : 1.5e-2));
      CHECK(likeliest[i] == (std::max_element(want[i].begin(), want[i].end()) - want[i].begin() == ids[i + 1]));
    }
    // Tokens that run one by one say the same.
    l.session->use_batches(false);
    REQUIRE(l.session->score(ids, 0, alone.data(), likeliest_alone.data()).ok());
    const double mean = std::accumulate(nll.begin(), nll.end(), 0.0) / (double)nll.size(), mean_alone = std::accumulate(alone.begin(), alone.end(), 0.0) / (double)nll.size();
    CHECK(mean == doctest::Approx(mean_alone).epsilon(1e-3));
  }
}

}  // namespace

TEST_CASE("cuda host: prompts in batches on the fake driver") {
  if (cuda::no_gpu()) MESSAGE("no GPU: 6 cases of the prompt's kernels not run on one");
  cuda::FakeDriver fake;
  products({1, 17, 131});
  every_model(41);
  long_prompts();
  same_bits_however_cut(400, {137, 16, 383});
  scores(60);
  CHECK(fake.gpu().allocated == 0);
}

TEST_CASE("cuda host: products of every format by the kernels' source" * doctest::skip(!cuda::can_run_kernel_source())) {
  cuda::FakeDriver fake;
  fake.gpu().kernel_source = true;
  products({1, 131});
}
TEST_CASE("cuda host: prompts in batches by the kernels' source" * doctest::skip(!cuda::can_run_kernel_source())) {
  cuda::FakeDriver fake;
  fake.gpu().kernel_source = true;
  fake.gpu().multiprocessors = 64;  // so many that products are cut into parts
  every_model(19);
  model_case(windowed(50), 150, 256, 0);
  same_bits_however_cut(90, {37, 64});
  scores(40);
}

TEST_CASE("cuda host: without memory for batches, tokens run one by one") {
  cuda::FakeDriver fake;
  TinyOptions o;
  o.matrices = TensorType::F16;
  TinyModel tiny(o);
  const std::vector<int32_t> ids = random_tokens(40, o.vocabulary, 5);
  size_t all = 0;
  {
    Loaded l = load(tiny, o);
    REQUIRE(l.session->prefill());
    all = fake.gpu().allocated;
    CHECK(l.session->prefill()->bytes() < all);
    // Nor do plans that leave neurons out.
    Plan exact;
    for (uint32_t i = 0; i < o.layers; i++) exact.layers.push_back({.mlp = MlpRoute::exact, .head_threshold = {}});
    REQUIRE(l.session->set_plan(&exact).ok());
    const uint64_t before = fake.gpu().launches;
    REQUIRE(l.session->extend(ids, 0, nullptr, never).ok());
    CHECK(fake.gpu().launches - before == ids.size());
  }
  fake.gpu().memory = all - 1;
  Loaded l = load(tiny, o);
  CHECK(!l.session->prefill());
  std::vector<float> logits(o.vocabulary, kNan);
  REQUIRE(l.session->extend(ids, 0, logits.data(), never).ok());
  CHECK(error(logits, tiny.forward(ids).back()) < 2e-3);
}

TEST_CASE("cuda host: a GPU that is lost while it reads a prompt gives a sentence, a cancelled prompt ends") {
  cuda::FakeDriver fake;
  TinyOptions o;
  TinyModel tiny(o);
  Loaded l = load(tiny, o, 2048);
  const std::vector<int32_t> ids = random_tokens(1200, o.vocabulary, 5);
  fake.gpu().fail_launches_after = (int)fake.gpu().launches + 20;
  const Status s = l.session->extend(ids, 0, nullptr, never);
  CHECK(s.code == "gpu-failed");
  CHECK(s.message.find("reading the prompt") != std::string::npos);
  fake.gpu().fail_launches_after = -1;
  const std::atomic<bool> cancelled{true};
  const uint64_t before = fake.gpu().launches;
  CHECK(l.session->extend(ids, 0, nullptr, cancelled).ok());
  CHECK(fake.gpu().launches == before);
}

TEST_CASE("cuda kernels prefill: products of every format" * doctest::skip(cuda::no_gpu())) { products({1, 17, 64, 333}); }
TEST_CASE("cuda kernels prefill: every architecture and type" * doctest::skip(cuda::no_gpu())) {
  for (uint32_t tokens : {17u, 18u, 65u, 333u}) every_model(tokens);
}
TEST_CASE("cuda kernels prefill: prompts of several batches, windows" * doctest::skip(cuda::no_gpu())) { long_prompts(); }
TEST_CASE("cuda kernels prefill: the same bits however a prompt is cut" * doctest::skip(cuda::no_gpu())) { same_bits_however_cut(700, {137, 16, 512, 600}); }
TEST_CASE("cuda kernels prefill: scores" * doctest::skip(cuda::no_gpu())) {
  scores(60);
  scores(600);
}
