// The kernels that work on one vector: quantisation, norm, rope, gates, and the reductions over logits.
#include <algorithm>

#include "oracle.h"
#include "support.h"

using namespace hunch;

static std::vector<double> doubles(const std::vector<float>& x) { return {x.begin(), x.end()}; }

template <class F>
static void on_every_isa(F&& f) {
  for (Isa isa : supported_isas()) {
    CAPTURE(std::string(isa_name(isa)));
    REQUIRE(kernels_for(isa) != nullptr);
    REQUIRE(kernels_for(isa)->isa == isa);
    f(*kernels_for(isa));
  }
}

TEST_CASE("quantize: blocks are round(x / d) with d = max|x| / 127, with the sums of their halves") {
  Random random(10);
  std::vector<float> x = random.normals(32 * 40, 3);
  std::fill_n(x.begin() + 64, 32, 0.0f);                      // all zero
  x[96] = -1000;                                              // one large negative value
  for (int i = 0; i < 32; i++) x[128 + i] = i % 2 ? 63.5f : 127.0f;  // halves: ties go to even
  for (int i = 0; i < 32; i++) x[160 + i] *= 1e-30f, x[192 + i] *= 1e30f;
  on_every_isa([&](const Kernels& k) {
    std::vector<int8_t> q(x.size(), 99);
    Guarded d(x.size() / 32);
    std::vector<int32_t> sum(x.size() / 16, 12345);
    k.quantize(x.data(), (uint32_t)x.size(), q.data(), d.data(), sum.data());
    uint32_t wrong = 0;
    for (size_t b = 0; b < x.size() / 32; b++) {
      float peak = 0;
      for (int i = 0; i < 32; i++) peak = std::max(peak, std::fabs(x[32 * b + i]));
      wrong += d[b] != peak / 127.0f;
      int sums[2] = {0, 0};
      for (int i = 0; i < 32; i++) {
        const int v = q[32 * b + i];
        sums[i / 16] += v;
        wrong += v < -127 || v > 127;
        // Half a step, and a little where the float quotient falls on the other side of a tie.
        wrong += peak > 0 ? std::fabs((double)x[32 * b + i] / peak * 127 - v) > 0.50002 : v != 0;
      }
      wrong += sum[2 * b] != sums[0] || sum[2 * b + 1] != sums[1];
    }
    CHECK(wrong == 0);
    CHECK(q[128 + 1] == 64);  // 63.5
    CHECK(d.guards_hold());
  });
}

TEST_CASE("quantize: NaN, infinity and subnormals in one block leave its neighbours alone") {
  Random random(11);
  for (float poison : {kNan, kInfinity, -kInfinity, 1e-42f}) {
    std::vector<float> x = random.normals(96);
    if (poison == 1e-42f) std::fill_n(x.begin() + 32, 32, poison);
    else x[40] = poison;
    on_every_isa([&](const Kernels& k) {
      std::vector<int8_t> q(96), alone(32);
      std::vector<float> d(3), one(1);
      std::vector<int32_t> sum(6), two(2);
      k.quantize(x.data(), 96, q.data(), d.data(), sum.data());
      for (int b : {0, 2}) {
        k.quantize(x.data() + 32 * b, 32, alone.data(), one.data(), two.data());
        CHECK(std::equal(alone.begin(), alone.end(), q.begin() + 32 * b));
        CHECK(d[b] == one[0]);
        CHECK(sum[2 * b] == two[0]);
        CHECK(sum[2 * b + 1] == two[1]);
      }
    });
  }
}

TEST_CASE("rms_norm: agrees with the oracle at every width, and may work in place") {
  Random random(12);
  for (uint32_t n : {1u, 2u, 7u, 15u, 16u, 17u, 33u, 64u, 100u, 576u, 2049u}) {
    const std::vector<float> x = random.normals(n, 4), w = random.normals(n);
    for (float epsilon : {1e-5f, 1e-2f}) {
      const std::vector<double> truth = oracle::rms_norm(doubles(x), doubles(w), epsilon);
      on_every_isa([&](const Kernels& k) {
        Guarded out(n), in_place(x);
        k.rms_norm(x.data(), w.data(), n, epsilon, out.data());
        double worst = 0;
        for (uint32_t i = 0; i < n; i++) worst = std::max(worst, std::isnan(out[i]) ? 1e9 : std::fabs(out[i] - truth[i]) / (std::fabs(truth[i]) + 1e-30));
        CAPTURE(n);
        CHECK(worst < 6e-7);  // sum, mean, root, quotient and two products, each half a unit
        CHECK(out.guards_hold());
        k.rms_norm(in_place.data(), w.data(), n, epsilon, in_place.data());
        CHECK(same_bits(in_place.values(), out.values()));
      });
    }
  }
  on_every_isa([&](const Kernels& k) {  // epsilon is inside the root
    std::vector<float> x(32, 0.0f), w(32, 1.0f), out(32, kNan);
    k.rms_norm(x.data(), w.data(), 32, 1e-5f, out.data());
    for (float v : out) CHECK(v == 0);
  });
}

TEST_CASE("layer_norm: agrees with the oracle at every width, also where the mean is far from zero, and may work in place") {
  Random random(18);
  for (uint32_t n : {1u, 2u, 7u, 15u, 16u, 17u, 33u, 64u, 100u, 576u, 2049u})
    for (float offset : {0.0f, 20.0f}) {
      std::vector<float> x = random.normals(n, 4);
      for (float& v : x) v += offset;
      const std::vector<float> w = random.normals(n), bias = random.normals(n);
      const std::vector<double> truth = oracle::layer_norm(doubles(x), doubles(w), doubles(bias), 1e-5);
      on_every_isa([&](const Kernels& k) {
        Guarded out(n), in_place(x);
        k.layer_norm(x.data(), w.data(), bias.data(), n, 1e-5f, out.data());
        double worst = 0;
        // Subtracting the mean cancels: an error of a unit of |x| in a difference of about 4.
        for (uint32_t i = 0; i < n; i++) worst = std::max(worst, std::isnan(out[i]) ? 1e9 : std::fabs(out[i] - truth[i]) / (std::fabs(truth[i]) + std::fabs(bias[i]) + std::fabs(w[i])));
        CAPTURE(n);
        CHECK(worst < (n == 1 ? 1e-3 : 4e-6));  // one element: 0 / sqrt(epsilon) magnifies
        CHECK(out.guards_hold());
        k.layer_norm(in_place.data(), w.data(), bias.data(), n, 1e-5f, in_place.data());
        CHECK(same_bits(in_place.values(), out.values()));
      });
    }
}

TEST_CASE("rope: turns pairs by position / base^(2i/width), in either pairing, and leaves the rest of the head") {
  Random random(13);
  for (RopeStyle style : {RopeStyle::none, RopeStyle::interleaved, RopeStyle::neox})
    for (uint32_t width : {2u, 6u, 16u, 64u, 128u})
      for (uint32_t position : {0u, 1u, 77u, 4095u}) {
        std::vector<float> cosine(width / 2), sine(width / 2);
        for (uint32_t i = 0; i < width / 2; i++) {
          const double angle = position * std::pow(10000.0, -2.0 * i / width);
          cosine[i] = (float)std::cos(angle), sine[i] = (float)std::sin(angle);
        }
        const std::vector<float> x = random.normals(width + 3);
        std::vector<double> truth = doubles(x);
        oracle::rope(style, truth.data(), width, position, 10000);
        on_every_isa([&](const Kernels& k) {
          Guarded out(x);
          k.rope[(int)style](out.data(), width, cosine.data(), sine.data());
          double worst = 0;
          for (uint32_t i = 0; i < width; i++) worst = std::max(worst, std::fabs(out[i] - truth[i]));
          CHECK(worst < 1e-6);  // of values of about 1
          for (uint32_t i = width; i < width + 3; i++) CHECK(out[i] == x[i]);
          CHECK(out.guards_hold());
        });
      }
}

TEST_CASE("gate: activation times up, tails included") {
  Random random(14);
  for (Activation activation : kAllActivations)
    for (uint32_t n : {1u, 3u, 15u, 16u, 17u, 31u, 96u, 1000u}) {
      std::vector<float> g = random.normals(n, 3), up = random.normals(n);
      if (n == 1000)
        for (uint32_t i = 0; i < n; i++) g[i] = (float)i * 0.25f - 125;  // far into both ends
      on_every_isa([&](const Kernels& k) {
        Guarded out(g);
        k.gate[(int)activation](out.data(), up.data(), n);
        double worst = 0;
        for (uint32_t i = 0; i < n; i++) {
          const double truth = oracle::activation(activation, g[i]) * up[i];
          const double error = std::fabs(out[i] - truth) / (std::fabs((double)g[i] * up[i]) + 1e-30);
          worst = std::isnan(error) ? 1e9 : std::max(worst, error);
        }
        CAPTURE((int)activation);
        CAPTURE(n);
        CHECK(worst < 5e-7);
        CHECK(out.guards_hold());
        Guarded plain(g), ones(std::vector<float>(n, 1.0f)), gated(g);
        k.activate[(int)activation](plain.data(), n);
        k.gate[(int)activation](gated.data(), ones.data(), n);
        CHECK(same_bits(plain.values(), gated.values()));
        CHECK(plain.guards_hold());
        if (activation == Activation::relu)  // what is off is exactly off: sparsity counts on it
          for (uint32_t i = 0; i < n; i++)
            if (g[i] <= 0) CHECK(out[i] == 0);
      });
    }
}

TEST_CASE("scale, add and to_f16: every element, tails included, and nothing else") {
  Random random(15);
  for (uint32_t n = 1; n <= 50; n++) {
    std::vector<float> x = random.normals(n, std::pow(10.0, (double)random.below(12) - 7));
    if (n > 4) x[n - 1] = 70000, x[n - 2] = -1e-9f, x[n - 3] = kInfinity, x[n - 4] = 65519;
    on_every_isa([&](const Kernels& k) {
      Guarded scaled(x);
      k.scale(scaled.data(), n, 0.37f);
      uint32_t wrong = 0;
      for (uint32_t i = 0; i < n; i++) wrong += scaled[i] != x[i] * 0.37f;
      Guarded sum(x);
      const std::vector<float> y = random.normals(n);
      k.add(sum.data(), y.data(), n);
      for (uint32_t i = 0; i < n; i++) wrong += sum[i] != x[i] + y[i];
      CHECK(sum.guards_hold());
      std::vector<uint16_t> half(n + 16, 0x5A5A);
      k.to_f16(x.data(), n, half.data());
      for (uint32_t i = 0; i < n; i++) wrong += half[i] != oracle::to_half(x[i]);
      for (uint32_t i = n; i < n + 16; i++) wrong += half[i] != 0x5A5A;
      CAPTURE(n);
      CHECK(wrong == 0);
      CHECK(scaled.guards_hold());
    });
  }
}

TEST_CASE("max_of: the largest of any number of floats, wherever it stands") {
  Random random(16);
  on_every_isa([&](const Kernels& k) {
    uint32_t wrong = 0;
    for (uint32_t n : {1u, 2u, 15u, 16u, 17u, 33u, 257u})
      for (uint32_t at = 0; at < n; at++) {
        std::vector<float> x = random.normals(n);
        for (float& v : x) v -= 100;  // a zero from a padded tail would win
        x[at] = -50;
        wrong += k.max_of(x.data(), n) != -50;
        x[at] = kInfinity;
        wrong += k.max_of(x.data(), n) != kInfinity;
      }
    std::vector<float> nothing(37, -kInfinity);
    wrong += k.max_of(nothing.data(), 37) != -kInfinity;
    CHECK(wrong == 0);
  });
}

TEST_CASE("sum_exp: exp to 3e-7 over its range, and sums over several inner blocks") {
  on_every_isa([&](const Kernels& k) {
    double worst = 0;
    for (float x = 0; x > -60; x -= 0.0137f) worst = std::max(worst, std::fabs(k.sum_exp(&x, 1, 0) / std::exp((double)x) - 1));
    CHECK(worst < 3e-7);
    Random random(17);
    for (uint32_t n : {1u, 15u, 16u, 17u, 1023u, 1024u, 1025u, 5000u}) {
      std::vector<float> x = random.normals(n, 4);
      if (n > 20) x[7] = -kInfinity;
      const float max = k.max_of(x.data(), n);
      double truth = 0;
      for (float v : x) truth += std::exp((double)v - max);
      CAPTURE(n);
      CHECK(std::fabs(k.sum_exp(x.data(), n, max) / truth - 1) < 5e-7);
    }
  });
}

TEST_CASE("read_all: does not read past its bytes and depends on each cache line") {
  on_every_isa([&](const Kernels& k) {
    std::vector<uint8_t> bytes(4096, 1);
    const uint64_t ones = k.read_all(bytes.data(), bytes.size());
    for (size_t i = 0; i < bytes.size(); i += 64) {
      bytes[i] = 3;
      CHECK(k.read_all(bytes.data(), bytes.size()) == ones + 2);
      bytes[i] = 1;
    }
  });
}

TEST_CASE("dispatch: the best set comes first, plain C++ last, and no set is offered that cannot run") {
  const std::vector<Isa> isas = supported_isas();
  REQUIRE_FALSE(isas.empty());
  CHECK(isas.back() == Isa::scalar);
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon})
    CHECK((kernels_for(isa) != nullptr) == (std::find(isas.begin(), isas.end(), isa) != isas.end()));
  CHECK(physical_cores() >= 1);
}

TEST_CASE("read_bandwidth: a number for a real buffer, 0 where there is nothing to measure") {
  CHECK(read_bandwidth(2, 1 << 20) > 0);
  CHECK(read_bandwidth(1, 16) == 0);
}
