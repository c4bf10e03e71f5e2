#include "convert.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace hunch {

namespace {

Status wrong(const std::string& name, const char* expected) { return Status::error("bad-request", "Native engine: " + name + " must be " + expected + "."); }

// Reads fields one after the other and keeps the first error.
struct Reader {
  Napi::Object object;
  std::string what;
  Status status;

  Napi::Value field(const char* name) { return object.Get(name); }
  std::string path(const char* name) const { return what + "." + name; }
  void text(const char* name, std::string& out) {
    if (!status.ok()) return;
    const Napi::Value v = field(name);
    if (!v.IsString()) status = wrong(path(name), "a string");
    else out = v.As<Napi::String>().Utf8Value();
  }
  void uint(const char* name, uint32_t& out, uint64_t limit = 0xFFFFFFFF) {
    uint64_t n = 0;
    if (status.ok()) status = to_uint(field(name), path(name).c_str(), limit, n);
    if (status.ok()) out = (uint32_t)n;
  }
  void real(const char* name, float& out) {
    if (!status.ok()) return;
    const Napi::Value v = field(name);
    if (!v.IsNumber() || !std::isfinite(v.As<Napi::Number>().DoubleValue())) status = wrong(path(name), "a finite number");
    else out = v.As<Napi::Number>().FloatValue();
  }
};

Status as_object(const Napi::Value& value, const char* what, Reader& out) {
  if (!value.IsObject()) return wrong(what, "an object");
  out = {value.As<Napi::Object>(), what, {}};
  return Status::fine();
}

// {base, scaling?: 'none' | 'linear' | 'yarn', factor?, originalContext?}
Status to_rope(const Napi::Value& value, const char* what, RopeSpec& out) {
  Reader r;
  if (Status s = as_object(value, what, r); !s.ok()) return s;
  r.real("base", out.base);
  const Napi::Value scaling = r.field("scaling");
  if (!r.status.ok() || scaling.IsUndefined()) return r.status;
  const std::string name = scaling.IsString() ? scaling.As<Napi::String>().Utf8Value() : "";
  if (name == "none") return r.status;
  if (name == "linear") out.scaling = RopeScaling::linear;
  else if (name == "yarn") out.scaling = RopeScaling::yarn;
  else return wrong(r.path("scaling"), "none, linear or yarn");
  r.real("factor", out.factor);
  if (out.scaling == RopeScaling::yarn) r.uint("originalContext", out.original_context);
  return r.status;
}

Status to_tensor(const Napi::Value& value, TensorInfo& out) {
  Reader r;
  if (Status s = as_object(value, "tensor", r); !s.ok()) return s;
  std::string type;
  r.text("name", out.name);
  r.text("type", type);
  if (!r.status.ok()) return r.status;
  const auto known = tensor_type_from_name(type);
  if (!known) return Status::error("model-unsupported", "Tensor " + out.name + " has the type " + type + ", which this version cannot run.");
  out.type = *known;
  if (Status s = to_uint(r.field("offset"), "tensor.offset", 1ull << 53, out.offset); !s.ok()) return s;
  const Napi::Value shape = r.field("shape");
  if (!shape.IsArray()) return wrong("tensor.shape", "an array");
  const Napi::Array dims = shape.As<Napi::Array>();
  if (dims.Length() < 1 || dims.Length() > 4) return wrong("tensor.shape", "an array of 1 to 4 sizes");
  for (uint32_t i = 0; i < dims.Length(); i++) {
    uint64_t n;
    if (Status s = to_uint(dims.Get(i), "tensor.shape", 1ull << 40, n); !s.ok()) return s;
    out.shape.push_back(n);
  }
  return Status::fine();
}

}  // namespace

Status to_uint(const Napi::Value& value, const char* name, uint64_t limit, uint64_t& out) {
  const double d = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(d >= 0 && d <= (double)limit) || d != std::floor(d)) return wrong(name, ("a whole number from 0 to " + std::to_string(limit)).c_str());
  out = (uint64_t)d;
  return Status::fine();
}

Status to_model_spec(const Napi::Value& value, ModelSpec& out) {
  Reader r;
  if (Status s = as_object(value, "spec", r); !s.ok()) return s;
  std::string activation;
  r.text("path", out.path);
  r.text("architecture", out.architecture);
  r.uint("layers", out.layers);
  r.uint("width", out.width);
  r.uint("ffnWidth", out.ffn_width);
  r.uint("heads", out.heads);
  r.uint("kvHeads", out.kv_heads);
  r.uint("headWidth", out.head_width);
  r.uint("vocabulary", out.vocabulary);
  r.uint("trainedContext", out.trained_context);
  r.real("normEpsilon", out.norm_epsilon);
  r.uint("ropeWidth", out.rope_width);
  r.text("activation", activation);
  if (!r.status.ok()) return r.status;
  if (activation == "silu") out.activation = Activation::silu;
  else if (activation == "gelu") out.activation = Activation::gelu;
  else if (activation == "relu") out.activation = Activation::relu;
  else if (activation == "drelu") out.activation = Activation::drelu;
  else return wrong("spec.activation", "silu, gelu, relu or drelu");
  if (Status s = to_rope(r.field("rope"), "spec.rope", out.rope); !s.ok()) return s;
  if (!r.field("window").IsUndefined()) {
    Reader w;
    if (Status s = as_object(r.field("window"), "spec.window", w); !s.ok()) return s;
    w.uint("positions", out.window);
    w.uint("pattern", out.window_pattern);
    if (!w.status.ok()) return w.status;
    if (Status s = to_rope(w.field("rope"), "spec.window.rope", out.window_rope); !s.ok()) return s;
  }
  if (!r.field("attentionScale").IsUndefined()) r.real("attentionScale", out.attention_scale);
  if (!r.status.ok()) return r.status;
  const Napi::Value tensors = r.field("tensors");
  if (!tensors.IsArray()) return wrong("spec.tensors", "an array");
  const Napi::Array list = tensors.As<Napi::Array>();
  if (list.Length() > 100000) return wrong("spec.tensors", "an array of at most 100000");
  out.tensors.resize(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++)
    if (Status s = to_tensor(list.Get(i), out.tensors[i]); !s.ok()) return s;
  return Status::fine();
}

Status to_load_options(const Napi::Value& value, LoadOptions& out) {
  Reader r;
  if (Status s = as_object(value, "options", r); !s.ok()) return s;
  r.uint("threads", out.threads, 256);
  const Napi::Value isa = r.field("isa");
  if (r.status.ok() && !isa.IsUndefined()) {
    const std::string name = isa.IsString() ? isa.As<Napi::String>().Utf8Value() : "";
    for (Isa i : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::neon})
      if (name == isa_name(i)) out.isa = i;
    if (!out.isa) return wrong("options.isa", "scalar, avx2, avx512 or neon");
  }
  const Napi::Value by_neuron = r.field("byNeuron");
  if (by_neuron.IsBoolean()) out.by_neuron = by_neuron.As<Napi::Boolean>().Value();
  else if (!by_neuron.IsUndefined()) return wrong("options.byNeuron", "true or false");
  const Napi::Value device = r.field("device");
  if (device.IsString()) out.device = device.As<Napi::String>().Utf8Value();
  else if (!device.IsUndefined()) return wrong("options.device", "cpu, cuda or auto");
  const Napi::Value budget = r.field("gpuBudget");
  if (!budget.IsUndefined())
    if (Status s = to_uint(budget, "options.gpuBudget", 1ull << 50, out.gpu_budget); !s.ok()) return s;
  const Napi::Value frequencies = r.field("frequencies");
  if (!frequencies.IsUndefined()) {
    if (!frequencies.IsArray()) return wrong("options.frequencies", "an array");
    const Napi::Array layers = frequencies.As<Napi::Array>();
    for (uint32_t i = 0; i < layers.Length() && i < 1024; i++)
      if (Status s = to_floats(layers.Get(i), "options.frequencies", out.frequencies.emplace_back()); !s.ok()) return s;
  }
  const Napi::Value memory = r.field("memoryBudget");
  if (!memory.IsUndefined())
    if (Status s = to_uint(memory, "options.memoryBudget", 1ull << 50, out.memory_budget); !s.ok()) return s;
  const Napi::Value neurons = r.field("neuronFile");
  if (neurons.IsString()) out.neuron_file = neurons.As<Napi::String>().Utf8Value();
  else if (!neurons.IsUndefined()) return wrong("options.neuronFile", "a path");
  return r.status;
}

Status to_generate_options(const Napi::Value& value, GenerateOptions& out) {
  Reader r;
  if (Status s = as_object(value, "options", r); !s.ok()) return s;
  r.real("temperature", out.temperature);
  r.uint("topK", out.top_k);
  r.real("topP", out.top_p);
  r.real("minP", out.min_p);
  r.real("repeatPenalty", out.repeat_penalty);
  r.uint("repeatLastN", out.repeat_last_n);
  r.uint("seed", out.seed);
  r.uint("maxTokens", out.max_tokens);
  if (r.status.ok() && !(out.repeat_penalty > 0)) r.status = wrong("options.repeatPenalty", "above 0");
  if (!r.status.ok()) return r.status;
  const Napi::Value stops = r.field("stopTokens");
  if (!stops.IsArray()) return wrong("options.stopTokens", "an array");
  const Napi::Array list = stops.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    uint64_t id;
    if (Status s = to_uint(list.Get(i), "options.stopTokens", 0x7FFFFFFF, id); !s.ok()) return s;
    out.stop_tokens.push_back((int32_t)id);
  }
  const Napi::Value speculation = r.field("speculation");
  if (speculation.IsUndefined() || speculation.IsNull()) return Status::fine();
  Reader d;
  if (Status s = as_object(speculation, "options.speculation", d); !s.ok()) return s;
  out.speculate = true;
  const Napi::Value draft = d.field("draft");
  if (draft.IsUndefined() || draft.IsNull()) return Status::fine();
  auto plan = std::make_shared<Plan>();
  if (Status s = to_plan(draft, *plan); !s.ok()) return s;
  out.draft = std::move(plan);
  return Status::fine();
}

static Status to_layer_plan(const Napi::Value& value, LayerPlan& out) {
  Reader r;
  if (Status s = as_object(value, "plan.layers", r); !s.ok()) return s;
  std::string route;
  r.text("mlp", route);
  r.real("gateThreshold", out.gate_threshold);
  r.real("scoreThreshold", out.score_threshold);
  if (const Napi::Value heads = r.field("headThreshold"); r.status.ok() && !heads.IsNull() && !heads.IsUndefined()) {
    out.head_threshold = 0;
    r.real("headThreshold", *out.head_threshold);
  }
  if (!r.status.ok()) return r.status;
  constexpr std::pair<const char*, MlpRoute> routes[] = {
      {"dense", MlpRoute::dense}, {"exact", MlpRoute::exact}, {"screened", MlpRoute::screened}, {"predicted", MlpRoute::predicted}};
  for (const auto& [name, known] : routes)
    if (route == name) {
      out.mlp = known;
      return Status::fine();
    }
  return wrong("plan.layers.mlp", "dense, exact, screened or predicted");
}

Status to_floats(const Napi::Value& value, const std::string& name, std::vector<float>& out) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) return wrong(name, "a Float32Array");
  const Napi::Float32Array a = value.As<Napi::Float32Array>();
  out.assign(a.Data(), a.Data() + a.ElementLength());
  return Status::fine();
}

static Status to_predictor(const Napi::Value& value, std::optional<LowRankPredictor>& out) {
  if (value.IsNull() || value.IsUndefined()) return Status::fine();
  Reader r;
  if (Status s = as_object(value, "predictor", r); !s.ok()) return s;
  LowRankPredictor p;
  std::string source;
  r.text("source", source);
  r.uint("rank", p.rank, 1u << 16);
  if (!r.status.ok()) return r.status;
  if (source == "previous") p.source = PredictorSource::previous;
  else if (source == "attention") p.source = PredictorSource::attention;
  else if (source == "same") p.source = PredictorSource::same;
  else return wrong("predictor.source", "previous, attention or same");
  if (!r.field("relu").IsBoolean()) return wrong("predictor.relu", "true or false");
  p.relu = r.field("relu").As<Napi::Boolean>().Value();
  if (Status s = to_floats(r.field("a"), "predictor.a", p.a); !s.ok()) return s;
  if (Status s = to_floats(r.field("b"), "predictor.b", p.b); !s.ok()) return s;
  if (const Napi::Value bias = r.field("bias"); !bias.IsNull() && !bias.IsUndefined())
    if (Status s = to_floats(bias, "predictor.bias", p.bias); !s.ok()) return s;
  out = std::move(p);
  return Status::fine();
}

Status to_predictors(const Napi::Value& value, Predictors& out) {
  Reader r;
  if (Status s = as_object(value, "predictors", r); !s.ok()) return s;
  for (auto [name, list] : {std::pair{"mlp", &out.mlp}, std::pair{"heads", &out.heads}}) {
    const Napi::Value v = r.field(name);
    if (!v.IsArray()) return wrong(r.path(name), "an array");
    const Napi::Array a = v.As<Napi::Array>();
    if (a.Length() > 1024) return wrong(r.path(name), "an array of at most 1024");
    list->resize(a.Length());
    for (uint32_t i = 0; i < a.Length(); i++)
      if (Status s = to_predictor(a.Get(i), (*list)[i]); !s.ok()) return s;
  }
  return Status::fine();
}

Status to_plan(const Napi::Value& value, Plan& out) {
  Reader r, v;
  if (Status s = as_object(value, "plan", r); !s.ok()) return s;
  const Napi::Value layers = r.field("layers");
  if (!layers.IsArray()) return wrong("plan.layers", "an array");
  const Napi::Array list = layers.As<Napi::Array>();
  if (list.Length() > 1024) return wrong("plan.layers", "an array of at most 1024");
  out.layers.resize(list.Length());
  for (uint32_t i = 0; i < list.Length(); i++)
    if (Status s = to_layer_plan(list.Get(i), out.layers[i]); !s.ok()) return s;
  if (Status s = as_object(r.field("vocabulary"), "plan.vocabulary", v); !s.ok()) return s;
  v.uint("bits", out.vocabulary_bits, 8);
  v.real("margin", out.vocabulary_margin);
  if (v.status.ok() && !r.field("correctEvery").IsUndefined()) r.uint("correctEvery", out.correct_every, 256);
  return v.status.ok() ? r.status : v.status;
}

// The index of a name in a list; -1 = not there.
static int index_of(const std::string& name, std::initializer_list<const char*> names) {
  int i = 0;
  for (const char* known : names) {
    if (name == known) return i;
    i++;
  }
  return -1;
}

Status to_capture(const Napi::Value& value, CaptureOptions& out) {
  Reader r;
  if (Status s = as_object(value, "capture", r); !s.ok()) return s;
  std::string mode;
  r.text("mode", mode);
  r.uint("auditEvery", out.audit_every);
  if (!r.status.ok()) return r.status;
  const int known = index_of(mode, {"off", "summary", "full"});
  if (known < 0) return wrong("capture.mode", "off, summary or full");
  out.mode = (CaptureMode)known;
  return Status::fine();
}

Status to_edits(const Napi::Value& value, std::vector<Edit>& out) {
  if (!value.IsArray()) return wrong("edits", "an array");
  const Napi::Array list = value.As<Napi::Array>();
  if (list.Length() > 4096) return wrong("edits", "an array of at most 4096");
  for (uint32_t i = 0; i < list.Length(); i++) {
    Reader r;
    if (Status s = as_object(list.Get(i), "edit", r); !s.ok()) return s;
    Edit e;
    std::string kind, action;
    r.text("kind", kind);
    r.uint("layer", e.layer);
    r.uint("index", e.index);
    r.text("action", action);
    r.real("value", e.value);
    if (!r.status.ok()) return r.status;
    const int known_kind = index_of(kind, {"neuron", "head"}), known_action = index_of(action, {"off", "clamp", "force"});
    if (known_kind < 0) return wrong("edit.kind", "neuron or head");
    if (known_action < 0) return wrong("edit.action", "off, clamp or force");
    e.kind = (Edit::Kind)known_kind;
    e.action = (Edit::Action)known_action;
    out.push_back(e);
  }
  return Status::fine();
}

Status to_tokens(const Napi::Value& value, std::vector<int32_t>& out) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) return wrong("tokens", "an Int32Array");
  const Napi::Int32Array ids = value.As<Napi::Int32Array>();
  out.assign(ids.Data(), ids.Data() + ids.ElementLength());
  return Status::fine();
}

Napi::Int32Array from_ids(Napi::Env env, const std::vector<int32_t>& ids) {
  Napi::Int32Array a = Napi::Int32Array::New(env, ids.size());
  std::copy(ids.begin(), ids.end(), a.Data());
  return a;
}

Napi::Uint8Array from_bytes(Napi::Env env, std::span<const uint8_t> bytes) {
  Napi::Uint8Array a = Napi::Uint8Array::New(env, bytes.size());
  std::copy(bytes.begin(), bytes.end(), a.Data());
  return a;
}

Napi::Object from_result(Napi::Env env, const GenerateResult& r) {
  static const char* const reasons[] = {"stop-token", "max-tokens", "context-full", "cancelled"};
  Napi::Object o = Napi::Object::New(env);
  o.Set("reason", reasons[(size_t)r.reason]);
  o.Set("promptTokens", r.prompt_tokens);
  o.Set("cachedTokens", r.cached_tokens);
  o.Set("generatedTokens", r.generated_tokens);
  o.Set("draftedTokens", r.drafted_tokens);
  o.Set("acceptedTokens", r.accepted_tokens);
  o.Set("prefillMs", r.prefill_ms);
  o.Set("decodeMs", r.decode_ms);
  return o;
}

static Napi::Float64Array from_counts(Napi::Env env, const std::vector<uint64_t>& counts) {
  Napi::Float64Array a = Napi::Float64Array::New(env, counts.size());
  for (size_t i = 0; i < counts.size(); i++) a[i] = (double)counts[i];
  return a;
}

Napi::Object from_activity(Napi::Env env, const Activity& a) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("tokens", (double)a.tokens);
  o.Set("computed", from_counts(env, a.computed));
  o.Set("named", from_counts(env, a.named));
  o.Set("heads", from_counts(env, a.heads));
  o.Set("bytes", (double)a.bytes);
  o.Set("predictorSeconds", a.predictor_seconds);
  o.Set("seconds", a.seconds);
  return o;
}

Napi::Object from_comparison(Napi::Env env, const Comparison& c) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("positions", c.positions);
  o.Set("nll", c.nll);
  o.Set("referenceNll", c.reference_nll);
  o.Set("kl", c.kl);
  o.Set("agree", c.agree);
  return o;
}

Napi::Float32Array from_floats(Napi::Env env, const std::vector<float>& values) {
  Napi::Float32Array a = Napi::Float32Array::New(env, values.size());
  if (!values.empty()) std::memcpy(a.Data(), values.data(), values.size() * sizeof(float));
  return a;
}

Napi::Error to_error(Napi::Env env, const Status& status) {
  Napi::Error e = Napi::Error::New(env, status.message);
  e.Set("code", Napi::String::New(env, status.code));
  e.Set("name", Napi::String::New(env, "NativeError"));
  return e;
}

void throw_status(Napi::Env env, const Status& status) { to_error(env, status).ThrowAsJavaScriptException(); }

}  // namespace hunch
