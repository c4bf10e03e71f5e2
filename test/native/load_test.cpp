// Every way in which a model file can be wrong: a code, a sentence that names the culprit, and no crash.
#include <fstream>

#include "rope.h"
#include "tiny_model.h"

using namespace hunch;

namespace {

Status load(const ModelSpec& spec, std::shared_ptr<Engine>* out = nullptr) {
  LoadOptions options;
  options.threads = 2;
  std::shared_ptr<Engine> engine;
  Status status = Engine::load(spec, options, engine);
  CHECK((engine != nullptr) == status.ok());
  if (out) *out = engine;
  return status;
}

bool mentions(const Status& status, const std::string& text) { return status.message.find(text) != std::string::npos; }

// `culprit` must stand in the message.
void check_refused(const ModelSpec& spec, const char* code, const std::string& culprit) {
  const Status status = load(spec);
  CAPTURE(status.message);
  CAPTURE(culprit);
  CHECK(status.code == code);
  CHECK(mentions(status, culprit));
}

TensorInfo& tensor(ModelSpec& spec, const std::string& name) {
  for (TensorInfo& t : spec.tensors)
    if (t.name == name) return t;
  FAIL("no tensor " << name);
  return spec.tensors[0];
}

}  // namespace

TEST_CASE("load: a sound model says what it is, with progress that only rises") {
  const TinyModel model({.matrices = TensorType::Q4_0, .tied = false});
  float last = 0;
  bool rising = true;
  LoadOptions options;
  options.threads = 2;
  options.progress = [&](float p) { rising = rising && p >= last && p <= 1, last = p; };
  std::shared_ptr<Engine> engine;
  REQUIRE(Engine::load(model.spec, options, engine).ok());
  CHECK(rising);
  CHECK(last > 0);
  CHECK(engine->info().threads == 2);
  CHECK(engine->info().isa == supported_isas().front());
  CHECK(engine->info().parameter_count == model.parameters);
  CHECK(engine->info().weight_bytes_per_token >= model.bytes_per_token);
  CHECK(engine->info().weight_bytes_per_token < model.bytes_per_token * 5 / 4);  // padding to 16 rows and 64 bytes
  CHECK(engine->info().load_ms >= 0);
  for (Isa isa : supported_isas()) {
    options.isa = isa;
    REQUIRE(Engine::load(model.spec, options, engine).ok());
    CHECK(engine->info().isa == isa);
  }
}

TEST_CASE("load: options that cannot be met are refused") {
  const TinyModel model({});
  std::shared_ptr<Engine> engine;
  LoadOptions options;
  options.threads = 257;
  CHECK(Engine::load(model.spec, options, engine).code == "bad-request");
  options.threads = 1;
  for (Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon}) {
    options.isa = isa;
    const Status status = Engine::load(model.spec, options, engine);
    CHECK(status.code == (kernels_for(isa) ? "" : "bad-request"));
    if (!status.ok()) CHECK(mentions(status, isa_name(isa)));
  }
}

TEST_CASE("load: a file that is not there, is a folder, is empty or ends early") {
  const TinyModel model({});
  ModelSpec spec = model.spec;
  spec.path = model.path.string() + ".gone";
  check_refused(spec, "model-missing", spec.path);
  spec.path = "";
  CHECK_FALSE(load(spec).ok());
  spec.path = std::filesystem::temp_directory_path().string();
  CHECK_FALSE(load(spec).ok());

  const uintmax_t size = std::filesystem::file_size(model.path);
  std::filesystem::resize_file(model.path, size - 1);
  check_refused(model.spec, "model-truncated", model.spec.tensors.back().name);
  CHECK(mentions(load(model.spec), model.spec.path));
  std::filesystem::resize_file(model.path, 110);
  check_refused(model.spec, "model-truncated", model.spec.tensors.front().name);
  std::filesystem::resize_file(model.path, 0);
  check_refused(model.spec, "model-truncated", model.spec.tensors.front().name);
}

TEST_CASE("load: offsets past the end, up to where they overflow") {
  const TinyModel model({});
  const uint64_t size = std::filesystem::file_size(model.path);
  for (uint64_t offset : {size, size - 4, size + 1, uint64_t(1) << 32, (uint64_t(1) << 53) + 1, uint64_t(1) << 63, ~uint64_t(0), ~uint64_t(0) - 31})
    for (const char* name : {"token_embd.weight", "blk.1.ffn_down.weight", "output_norm.weight"}) {
      ModelSpec spec = model.spec;
      tensor(spec, name).offset = offset;
      check_refused(spec, "model-truncated", name);
    }
}

TEST_CASE("load: shapes that cannot be") {
  const TinyModel model({.matrices = TensorType::Q4_0});
  const char* name = "blk.0.ffn_up.weight";
  using Shape = std::vector<uint64_t>;
  const uint64_t big = uint64_t(1) << 30;
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{0, 96}, Shape{64, 0}, Shape{64, 96, 1, 1, 1}, Shape{big * 2, 96}, Shape{64, big * 2}, Shape{~uint64_t(0), 2},
                             Shape{uint64_t(1) << 63, 2}, Shape{big, big, big, big}, Shape{64, big, big, big}, Shape{33, 96}, Shape{1, 96}, Shape{48, 128}, Shape{96, 64}, Shape{64, 95}, Shape{64, 97},
                             Shape{64}, Shape{32, 96}, Shape{64, 48, 1}}) {
    ModelSpec spec = model.spec;
    tensor(spec, name).shape = shape;
    const Status status = load(spec);
    CAPTURE(status.message);
    CHECK((status.code == "model-invalid" || status.code == "model-truncated"));
    CHECK(mentions(status, name));
  }
  ModelSpec spec = model.spec;  // more dimensions of the same size are the same matrix
  tensor(spec, name).shape = {64, 48, 2};
  CHECK(load(spec).ok());
}

TEST_CASE("load: each tensor missing, given twice or of another shape") {
  for (const char* architecture : {"llama", "opt"}) {
    const TinyModel model({.architecture = architecture, .trained_context = 32});
    for (const TensorInfo& t : model.spec.tensors) {
      ModelSpec spec = model.spec;
      spec.tensors.push_back(t);
      check_refused(spec, "model-invalid", t.name);

      spec = model.spec;
      tensor(spec, t.name).shape[0] -= 1;
      check_refused(spec, "model-invalid", t.name);

      spec = model.spec;
      std::erase_if(spec.tensors, [&](const TensorInfo& other) { return other.name == t.name; });
      if (t.name.ends_with(".bias")) CHECK(load(spec).ok());  // biases are what a file has
      else check_refused(spec, "model-invalid", t.name);
    }
  }
  ModelSpec spec = TinyModel({}).spec;  // its file is gone
  spec.tensors.clear();
  CHECK(load(spec).code == "model-missing");
}

TEST_CASE("load: norms in a block format, and blocks that do not fill a row") {
  const TinyModel model({});
  ModelSpec spec = model.spec;
  tensor(spec, "blk.1.ffn_norm.weight").type = TensorType::Q8_0;
  check_refused(spec, "model-unsupported", "blk.1.ffn_norm.weight");
  spec = model.spec;
  tensor(spec, "blk.1.ffn_up.weight").type = TensorType::Q4_K;  // 64 columns, blocks of 256
  check_refused(spec, "model-invalid", "blk.1.ffn_up.weight");
}

TEST_CASE("load: an architecture that this version does not run") {
  const TinyModel model({});
  for (const char* name : {"mamba", "", "LLAMA", "llama4"}) {
    ModelSpec spec = model.spec;
    spec.architecture = name;
    check_refused(spec, "model-unsupported", std::string("'") + name + "'");
  }
}

TEST_CASE("load: counts that cannot be") {
  const TinyModel model({});
  const uint32_t huge = 0xFFFFFFFF;
  struct Case {
    const char* key;
    uint32_t ModelSpec::* field;
    std::vector<uint32_t> values;
  };
  const Case cases[] = {
      {"block_count", &ModelSpec::layers, {0, 1025, huge}},
      {"embedding_length", &ModelSpec::width, {0, 65537, huge}},
      {"feed_forward_length", &ModelSpec::ffn_width, {0, huge}},
      {"head_count", &ModelSpec::heads, {0, 1025, huge}},
      {"head_count_kv", &ModelSpec::kv_heads, {0, 3, 5, huge}},
      {"key_length", &ModelSpec::head_width, {0, 1, 15, 1026, huge}},
      {"rope.dimension_count", &ModelSpec::rope_width, {0, 1, 15, 18, huge}},
      {"vocabulary", &ModelSpec::vocabulary, {0, huge}},
  };
  for (const Case& c : cases)
    for (uint32_t value : c.values) {
      ModelSpec spec = model.spec;
      spec.*c.field = value;
      check_refused(spec, "model-invalid", c.key);
    }
  for (float bad : {0.0f, -1.0f, kNan}) {
    ModelSpec spec = model.spec;
    spec.rope.base = bad;
    check_refused(spec, "model-invalid", "rope");
    spec = model.spec;
    spec.rope.factor = bad;
    check_refused(spec, "model-invalid", "rope");
  }
  for (float bad : {-1.0f, kNan}) {
    ModelSpec spec = model.spec;
    spec.norm_epsilon = bad;
    check_refused(spec, "model-invalid", "epsilon");
  }
  ModelSpec spec = model.spec;  // within the limits, but not what the tensors are
  spec.vocabulary = 96;
  check_refused(spec, "model-invalid", "token_embd.weight");
  spec = model.spec;
  spec.layers = 3;
  check_refused(spec, "model-invalid", "blk.2.");
}

TEST_CASE("load: learned positions end where the table ends") {
  const TinyModel model({.architecture = "opt", .activation = Activation::relu, .kv_heads = 4, .trained_context = 32});
  std::shared_ptr<Engine> engine;
  REQUIRE(load(model.spec, &engine).ok());
  std::unique_ptr<Session> session;
  const std::vector<int32_t> tokens = random_tokens(33, 97, 1);
  std::vector<float> logits;
  REQUIRE(engine->new_session(32, session).ok());
  CHECK(session->logits(std::span(tokens).first(32), logits).ok());
  const Status status = engine->new_session(64, session);
  CHECK(status.code == "bad-request");
  CHECK(mentions(status, "32"));
  for (uint32_t context : {0xFFFFFFFFu, 0xFFFFFFFEu, 0x7FFFFFFFu}) {  // plus the offset of 2 it would wrap
    ModelSpec spec = model.spec;
    spec.trained_context = context;
    CHECK(load(spec).code == "model-invalid");
  }
}

TEST_CASE("load: context lengths outside the limits are refused") {
  const TinyModel model({});
  std::shared_ptr<Engine> engine;
  REQUIRE(load(model.spec, &engine).ok());
  std::unique_ptr<Session> session;
  for (uint32_t context : {0u, 1u, 15u, (1u << 20) + 1, 0xFFFFFFFFu}) {
    CHECK(engine->new_session(context, session).code == "bad-request");
    CHECK(session == nullptr);
  }
  CHECK(engine->new_session(16, session).ok());
  CHECK(engine->new_session(1000, session).ok());
}

TEST_CASE("rope tables: plain, divided by factors, linear and yarn") {
  const uint32_t width = 64, context = 50;
  const auto angle = [&](const RopeTable& t, uint32_t i) { return std::atan2(t.sine[32 + i], t.cosine[32 + i]); };  // at position 1
  const auto frequency = [&](double base, uint32_t i) { return std::pow(base, -2.0 * i / width); };
  RopeSpec spec;
  spec.base = 10000;
  const RopeTable plain = make_rope_table(spec, width, context, {});
  REQUIRE(plain.cosine.size() == context * width / 2);
  std::vector<float> factors(width / 2);
  for (uint32_t i = 0; i < width / 2; i++) factors[i] = 1 + (float)i;
  const RopeTable divided = make_rope_table(spec, width, context, factors);
  spec.scaling = RopeScaling::linear, spec.factor = 4;
  const RopeTable linear = make_rope_table(spec, width, context, {});
  for (uint32_t i = 0; i < width / 2; i++) {
    CHECK(angle(plain, i) == doctest::Approx(frequency(10000, i)).epsilon(1e-5));
    CHECK(angle(divided, i) == doctest::Approx(frequency(10000, i) / (1 + i)).epsilon(1e-5));
    CHECK(angle(linear, i) == doctest::Approx(frequency(10000, i) / 4).epsilon(1e-5));
    for (uint32_t p : {0u, 7u, 49u}) CHECK(plain.cosine[p * 32 + i] == doctest::Approx(std::cos(p * frequency(10000, i))).epsilon(1e-6));
  }
  spec.scaling = RopeScaling::yarn, spec.original_context = 4096;
  const RopeTable yarn = make_rope_table(spec, width, context, {});
  const double magnitude = 1 + 0.1 * std::log(4.0);
  for (uint32_t i = 0; i < width / 2; i++) {
    CHECK(std::hypot(yarn.cosine[32 + i], yarn.sine[32 + i]) == doctest::Approx(magnitude).epsilon(1e-6));
    const double rotations = 4096 * frequency(10000, i) / 6.283185307179586;
    if (rotations > 64) CHECK(angle(yarn, i) == doctest::Approx(frequency(10000, i)).epsilon(1e-5));
    else if (rotations < 0.5) CHECK(angle(yarn, i) == doctest::Approx(frequency(10000, i) / 4).epsilon(1e-5));
    else {
      CHECK(angle(yarn, i) < frequency(10000, i) * 1.00001);
      CHECK(angle(yarn, i) > frequency(10000, i) / 4 * 0.99999);
    }
  }
}
