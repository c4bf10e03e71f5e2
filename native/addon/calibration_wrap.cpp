#include "calibration_wrap.h"

#include <cmath>

#include "model_wrap.h"

namespace hunch {

namespace {

Status wrong(const std::string& name, const std::string& expected) { return Status::error("bad-request", "Native engine: " + name + " must be " + expected + "."); }

Status to_real(const Napi::Value& value, const char* name, double most, double& out) {
  const double d = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(d >= 0 && d <= most)) return wrong(name, "a number from 0 to " + std::to_string((uint64_t)most));
  out = d;
  return Status::fine();
}
Status to_share(const Napi::Value& value, const char* name, float& out) {
  double d = 0;
  Status status = to_real(value, name, 1, d);
  out = (float)d;
  return status;
}
Status to_flag(const Napi::Value& value, const char* name, bool& out) {  // undefined: as it was
  if (value.IsUndefined()) return Status::fine();
  if (!value.IsBoolean()) return wrong(name, "true or false");
  out = value.As<Napi::Boolean>().Value();
  return Status::fine();
}
Status to_text(const Napi::Value& value, const char* name, std::string& out) {
  if (!value.IsString()) return wrong(name, "a string");
  out = value.As<Napi::String>().Utf8Value();
  return Status::fine();
}

constexpr const char* kSources[] = {"previous", "attention", "same"};

Status to_source(const Napi::Value& value, const char* name, PredictorSource& out) {
  const std::string text = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (size_t i = 0; i < std::size(kSources); i++)
    if (text == kSources[i]) {
      out = (PredictorSource)i;
      return Status::fine();
    }
  return wrong(name, "previous, attention or same");
}

Status to_options(const Napi::Value& value, CalibrationOptions& out) {
  if (!value.IsObject()) return wrong("options", "an object");
  const Napi::Object o = value.As<Napi::Object>();
  const Napi::Value sources = o.Get("sources");
  if (!sources.IsArray() || sources.As<Napi::Array>().Length() < 1 || sources.As<Napi::Array>().Length() > 3) return wrong("options.sources", "an array of 1 to 3 sources");
  out.sources.resize(sources.As<Napi::Array>().Length());
  Status status;
  for (uint32_t i = 0; i < out.sources.size() && status.ok(); i++) status = to_source(sources.As<Napi::Array>().Get(i), "options.sources", out.sources[i]);
  if (status.ok()) status = to_flag(o.Get("heads"), "options.heads", out.heads);
  const auto number = [&](const char* name, const char* path, uint64_t most, auto& to) {
    uint64_t n = 0;
    if (!status.ok() || o.Get(name).IsUndefined()) return;
    if (status = to_uint(o.Get(name), path, most, n); status.ok()) to = (std::remove_reference_t<decltype(to)>)n;
  };
  number("contextLength", "options.contextLength", 1u << 20, out.context_length);
  number("sampleBytes", "options.sampleBytes", 1ull << 40, out.sample_bytes);
  number("heldOutTokens", "options.heldOutTokens", 1u << 24, out.held_out_tokens);
  number("momentBytes", "options.momentBytes", 1ull << 40, out.moment_bytes);
  number("threads", "options.threads", 256, out.threads);
  return status;
}

Status to_fit(const Napi::Value& value, FitOptions& out) {
  if (!value.IsObject()) return wrong("options", "an object");
  const Napi::Object o = value.As<Napi::Object>();
  uint64_t rank = 0, head_rank = 0;
  double mass = 0;
  Status status = to_source(o.Get("source"), "options.source", out.source);
  if (status.ok()) status = to_uint(o.Get("rank"), "options.rank", 4096, rank);
  if (status.ok() && !o.Get("headRank").IsUndefined()) status = to_uint(o.Get("headRank"), "options.headRank", 4096, head_rank);
  if (status.ok()) status = to_flag(o.Get("relu"), "options.relu", out.relu);
  if (status.ok() && !o.Get("droppedMass").IsUndefined()) status = to_real(o.Get("droppedMass"), "options.droppedMass", 1, mass);
  if (status.ok() && !o.Get("fineTuneSeconds").IsUndefined()) status = to_real(o.Get("fineTuneSeconds"), "options.fineTuneSeconds", 1e6, out.fine_tune_seconds);
  if (status.ok() && !o.Get("fineTuneSteps").IsUndefined()) status = to_uint(o.Get("fineTuneSteps"), "options.fineTuneSteps", 1ull << 40, out.fine_tune_steps);
  out.rank = (uint32_t)rank, out.head_rank = (uint32_t)head_rank, out.dropped_mass = (float)mass;
  return status;
}

Napi::Value from_predictors(Napi::Env env, const Predictors& p) {
  Napi::Object all = Napi::Object::New(env);
  for (const auto& [name, list] : {std::pair{"mlp", &p.mlp}, std::pair{"heads", &p.heads}}) {
    Napi::Array out = Napi::Array::New(env, list->size());
    for (uint32_t i = 0; i < list->size(); i++) {
      if (!(*list)[i]) {
        out.Set(i, env.Null());
        continue;
      }
      const LowRankPredictor& from = *(*list)[i];
      Napi::Object o = Napi::Object::New(env);
      o.Set("source", kSources[(size_t)from.source]);
      o.Set("rank", from.rank);
      o.Set("relu", from.relu);
      o.Set("a", from_floats(env, from.a));
      o.Set("b", from_floats(env, from.b));
      o.Set("bias", from.bias.empty() ? env.Null() : Napi::Value(from_floats(env, from.bias)));
      out.Set(i, o);
    }
    all.Set(name, out);
  }
  return all;
}

Napi::Value from_statistics(Napi::Env env, const CalibrationStatistics& s) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("tokens", (double)s.tokens);
  o.Set("sampleTokens", s.sample_tokens);
  o.Set("heldOutTokens", s.held_out_tokens);
  Napi::Array layers = Napi::Array::New(env, s.layers.size());
  for (uint32_t i = 0; i < s.layers.size(); i++) {
    const LayerStatistics& l = s.layers[i];
    Napi::Object layer = Napi::Object::New(env);
    layer.Set("density", l.density);
    layer.Set("frequency", from_floats(env, l.frequency));
    layer.Set("gateQuantiles", from_floats(env, l.gate_quantiles));
    layer.Set("headQuantiles", l.head_quantiles.empty() ? env.Null() : Napi::Value(from_floats(env, l.head_quantiles)));
    layers.Set(i, layer);
  }
  o.Set("layers", layers);
  return o;
}

// Objects with these fields, which are floats.
template <class T>
Napi::Value from_list(Napi::Env env, const std::vector<T>& list, std::initializer_list<std::pair<const char*, float T::*>> fields) {
  Napi::Array out = Napi::Array::New(env, list.size());
  for (uint32_t i = 0; i < list.size(); i++) {
    Napi::Object o = Napi::Object::New(env);
    for (const auto& [name, field] : fields) o.Set(name, list[i].*field);
    out.Set(i, o);
  }
  return out;
}

Napi::Value from_scores(Napi::Env env, const std::vector<ScoreThreshold>& list) {
  using T = ScoreThreshold;
  return from_list<T>(env, list, {{"threshold", &T::threshold}, {"density", &T::density}, {"recall", &T::recall}, {"massRecall", &T::mass_recall}});
}

Napi::Value from_gates(Napi::Env env, const std::vector<GateThreshold>& list) {
  using T = GateThreshold;
  return from_list<T>(env, list,
                      {{"threshold", &T::threshold}, {"density", &T::density}, {"droppedNeurons", &T::dropped_neurons}, {"droppedMass", &T::dropped_mass}});
}

struct Nothing {};
Napi::Value from_nothing(Napi::Env env, Nothing&) { return env.Undefined(); }

}  // namespace

Napi::Function CalibrationWrap::define(Napi::Env env) {
  using W = CalibrationWrap;
  return DefineClass(env, "NativeCalibration",
                     {InstanceMethod<&W::capture>("capture"), InstanceMethod<&W::statistics>("statistics"), InstanceMethod<&W::fit>("fit"),
                      InstanceMethod<&W::fitted>("fitted"), InstanceMethod<&W::factor_gates>("factorGates"), InstanceMethod<&W::thresholds>("thresholds"),
                      InstanceMethod<&W::head_thresholds>("headThresholds"), InstanceMethod<&W::judge>("judge"),
                      InstanceMethod<&W::gate_thresholds>("gateThresholds"), InstanceMethod<&W::save>("save"), InstanceMethod<&W::restore>("restore"),
                      InstanceMethod<&W::cancel>("cancel"), InstanceMethod<&W::close>("close")});
}

// The calibration comes in as an External, so that script cannot make one of its own.
CalibrationWrap::CalibrationWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw_status(info.Env(), Status::error("bad-request", "Use calibration() of a model to get one."));
    return;
  }
  calibration_ = *info[0].As<Napi::External<std::shared_ptr<Calibration>>>().Data();
  queue_ = std::make_unique<JobQueue>();
  cancel_ = std::make_shared<std::atomic<bool>>(false);
}
CalibrationWrap::~CalibrationWrap() {
  if (cancel_) *cancel_ = true;
}

Napi::Value CalibrationWrap::open(const Napi::CallbackInfo& info, const std::shared_ptr<Engine>& engine) {
  const Napi::Env env = info.Env();
  auto options = std::make_shared<CalibrationOptions>();
  Status status = engine ? to_options(info[0], *options) : Status::error("bad-request", "The model is closed.");
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<std::shared_ptr<Calibration>>(
      env, env.GetInstanceData<AddonData>()->loading, "hunch.calibration",
      [engine, options](std::shared_ptr<Calibration>& out) {
        std::unique_ptr<Calibration> made;
        Status s = engine->new_calibration(*options, made);
        out = std::move(made);
        return s;
      },
      [](Napi::Env e, std::shared_ptr<Calibration>& c) -> Napi::Value {
        return e.GetInstanceData<AddonData>()->calibration.New({Napi::External<std::shared_ptr<Calibration>>::New(e, &c)});
      });
}

bool CalibrationWrap::refused(Napi::Env env, const Status& status) const {
  if (calibration_ && status.ok()) return false;
  throw_status(env, calibration_ ? status : Status::error("bad-request", "The calibration is closed."));
  return true;
}

Napi::Value CalibrationWrap::capture(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::vector<int32_t> tokens;
  if (refused(env, to_tokens(info[0], tokens))) return env.Undefined();
  return answer<CalibrationStatistics>(
      env, *queue_, "hunch.capture",
      [c = calibration_, cancel = cancel_, tokens = std::move(tokens)](CalibrationStatistics& out) {
        Status s = c->capture(tokens, *cancel);
        if (s.ok()) out = c->statistics();
        return s;
      },
      [](Napi::Env e, CalibrationStatistics& s) { return from_statistics(e, s); });
}

Napi::Value CalibrationWrap::statistics(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (refused(env, Status::fine())) return env.Undefined();
  return answer<CalibrationStatistics>(
      env, *queue_, "hunch.statistics",
      [c = calibration_](CalibrationStatistics& out) {
        out = c->statistics();
        return Status::fine();
      },
      [](Napi::Env e, CalibrationStatistics& s) { return from_statistics(e, s); });
}

Napi::Value CalibrationWrap::fit(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  FitOptions options;
  Status status = to_fit(info[0], options);
  if (status.ok() && !info[1].IsUndefined() && !info[1].IsFunction()) status = wrong("onProgress", "a function");
  if (refused(env, status)) return env.Undefined();
  auto reply = Reply::make(env, "hunch.fit", info[1].IsFunction() ? info[1].As<Napi::Function>() : Napi::Function());
  queue_->push([reply, options, cancel = cancel_, c = calibration_] {
    auto out = std::make_shared<Predictors>();
    const auto progress = [&](const FitProgress& p) {
      reply->post([p](Napi::Env e, Napi::Function on_progress) {
        Napi::Object o = Napi::Object::New(e);
        o.Set("fraction", p.fraction);
        o.Set("seconds", p.seconds);
        o.Set("loss", p.loss);
        o.Set("doneLayers", p.done_layers);
        o.Set("steps", (double)p.steps);
        on_progress.Call({o});
      });
    };
    const Status done = c->fit(options, progress, *cancel, *out);
    reply->settle(done, [out](Napi::Env e) { return from_predictors(e, *out); });
  });
  return reply->promise();
}

Napi::Value CalibrationWrap::fitted(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (refused(env, Status::fine())) return env.Undefined();
  return answer<Predictors>(
      env, *queue_, "hunch.fitted", [c = calibration_](Predictors& out) { return c->fitted(out); }, [](Napi::Env e, Predictors& p) { return from_predictors(e, p); });
}

Napi::Value CalibrationWrap::factor_gates(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t rank = 0;
  bool weighted = false;
  Status status = to_uint(info[0], "rank", 4096, rank);
  if (status.ok()) status = to_flag(info[1], "weighted", weighted);
  if (refused(env, status)) return env.Undefined();
  return answer<Predictors>(
      env, *queue_, "hunch.factorGates", [c = calibration_, rank, weighted](Predictors& out) { return c->factor_gates((uint32_t)rank, weighted, out); },
      [](Napi::Env e, Predictors& p) { return from_predictors(e, p); });
}

using ScoreList = std::vector<ScoreThreshold>;

Napi::Value CalibrationWrap::thresholds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  float recall = 0;
  bool by_mass = false;
  Status status = to_share(info[0], "recall", recall);
  if (status.ok()) status = to_flag(info[1], "byMass", by_mass);
  if (refused(env, status)) return env.Undefined();
  return answer<ScoreList>(
      env, *queue_, "hunch.thresholds", [c = calibration_, recall, by_mass](ScoreList& out) { return c->thresholds(recall, by_mass, out); },
      [](Napi::Env e, ScoreList& list) { return from_scores(e, list); });
}

Napi::Value CalibrationWrap::head_thresholds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  float share = 0;
  if (refused(env, to_share(info[0], "share", share))) return env.Undefined();
  return answer<ScoreList>(
      env, *queue_, "hunch.headThresholds", [c = calibration_, share](ScoreList& out) { return c->head_thresholds(share, out); },
      [](Napi::Env e, ScoreList& list) { return from_scores(e, list); });
}

Napi::Value CalibrationWrap::judge(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto predictors = std::make_shared<Predictors>();
  float recall = 0;
  bool by_mass = false;
  Status status = to_predictors(info[0], *predictors);
  if (status.ok()) status = to_share(info[1], "recall", recall);
  if (status.ok()) status = to_flag(info[2], "byMass", by_mass);
  if (refused(env, status)) return env.Undefined();
  return answer<ScoreList>(
      env, *queue_, "hunch.judge", [c = calibration_, predictors, recall, by_mass](ScoreList& out) { return c->judge(*predictors, recall, by_mass, out); },
      [](Napi::Env e, ScoreList& list) { return from_scores(e, list); });
}

Napi::Value CalibrationWrap::gate_thresholds(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  float mass = 0;
  if (refused(env, to_share(info[0], "mass", mass))) return env.Undefined();
  using List = std::vector<GateThreshold>;
  return answer<List>(
      env, *queue_, "hunch.gateThresholds", [c = calibration_, mass](List& out) { return c->gate_thresholds(mass, out); },
      [](Napi::Env e, List& list) { return from_gates(e, list); });
}

Napi::Value CalibrationWrap::save(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string path;
  if (refused(env, to_text(info[0], "path", path))) return env.Undefined();
  return answer<Nothing>(env, *queue_, "hunch.save", [c = calibration_, path](Nothing&) { return c->save(path); }, from_nothing);
}

Napi::Value CalibrationWrap::restore(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::string path;
  if (refused(env, to_text(info[0], "path", path))) return env.Undefined();
  return answer<Nothing>(env, *queue_, "hunch.restore", [c = calibration_, path](Nothing&) { return c->restore(path); }, from_nothing);
}

void CalibrationWrap::cancel(const Napi::CallbackInfo&) {
  if (!cancel_) return;
  *cancel_ = true;
  cancel_ = std::make_shared<std::atomic<bool>>(false);
}

void CalibrationWrap::close(const Napi::CallbackInfo&) {
  if (cancel_) *cancel_ = true;
  queue_.reset();
  calibration_.reset();
}

}  // namespace hunch
