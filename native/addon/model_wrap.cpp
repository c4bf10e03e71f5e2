#include "model_wrap.h"

#include <algorithm>

#include "calibration_wrap.h"
#include "session_wrap.h"

namespace hunch {

Napi::Function ModelWrap::define(Napi::Env env) {
  return DefineClass(env, "NativeModel", {InstanceAccessor<&ModelWrap::info>("info"), InstanceMethod<&ModelWrap::create_session>("createSession"),
                                          InstanceMethod<&ModelWrap::set_predictors>("setPredictors"), InstanceMethod<&ModelWrap::calibration>("calibration"),
                                          InstanceMethod<&ModelWrap::predict>("predict"), InstanceMethod<&ModelWrap::set_ring>("setRing"), InstanceMethod<&ModelWrap::record>("record"),
                                          InstanceMethod<&ModelWrap::residency>("residency"),
                                          InstanceMethod<&ModelWrap::close>("close")});
}

// The engine comes in as an External, so that script cannot make a model of its own.
ModelWrap::ModelWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    throw_status(info.Env(), Status::error("bad-request", "Use load() to get a model."));
    return;
  }
  engine_ = *info[0].As<Napi::External<std::shared_ptr<Engine>>>().Data();
}

Napi::Value ModelWrap::load(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto spec = std::make_shared<ModelSpec>();
  auto options = std::make_shared<LoadOptions>();
  Status status = to_model_spec(info[0], *spec);
  if (status.ok()) status = to_load_options(info[1], *options);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  auto reply = Reply::make(env, "hunch.load", info[2].IsFunction() ? info[2].As<Napi::Function>() : Napi::Function());
  if (info[2].IsFunction())
    options->progress = [reply](float fraction) {
      reply->post([fraction](Napi::Env e, Napi::Function f) { f.Call({Napi::Number::New(e, fraction)}); });
    };
  env.GetInstanceData<AddonData>()->loading.push([reply, spec, options] {
    auto engine = std::make_shared<std::shared_ptr<Engine>>();
    const Status loaded = Engine::load(*spec, *options, *engine);
    options->progress = nullptr;
    reply->settle(loaded, [engine](Napi::Env e) -> Napi::Value {
      return e.GetInstanceData<AddonData>()->model.New({Napi::External<std::shared_ptr<Engine>>::New(e, engine.get())});
    });
  });
  return reply->promise();
}

Napi::Value ModelWrap::info(const Napi::CallbackInfo& info) {
  if (!engine_) {
    throw_status(info.Env(), Status::error("bad-request", "The model is closed."));
    return info.Env().Undefined();
  }
  const ModelInfo& m = engine_->info();
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("isa", isa_name(m.isa));
  o.Set("threads", m.threads);
  o.Set("weightBytesPerToken", (double)m.weight_bytes_per_token);
  o.Set("parameterCount", (double)m.parameter_count);
  o.Set("loadMs", m.load_ms);
  o.Set("device", m.device);
  o.Set("deviceNote", m.device_note);
  o.Set("gpuBytes", (double)m.gpu_bytes);
  return o;
}

Napi::Value ModelWrap::create_session(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t context = 0;
  Status status = engine_ ? Status::fine() : Status::error("bad-request", "The model is closed.");
  if (status.ok())
    status = info[0].IsObject() ? to_uint(info[0].As<Napi::Object>().Get("contextLength"), "contextLength", 1u << 20, context)
                                : Status::error("bad-request", "createSession needs {contextLength}.");
  std::unique_ptr<Session> session;
  if (status.ok()) status = engine_->new_session((uint32_t)context, session);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  Napi::Object o = env.GetInstanceData<AddonData>()->session.New({});
  SessionWrap::Unwrap(o)->own(std::move(session), engine_, (uint32_t)context);
  return o;
}

Napi::Value ModelWrap::set_predictors(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto predictors = std::make_shared<Predictors>();
  Status status = engine_ ? to_predictors(info[0], *predictors) : Status::error("bad-request", "The model is closed.");
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  auto reply = Reply::make(env, "hunch.setPredictors", Napi::Function());
  env.GetInstanceData<AddonData>()->loading.push([reply, predictors, engine = engine_] {
    reply->settle(engine->set_predictors(*predictors), [](Napi::Env e) -> Napi::Value { return e.Undefined(); });
  });
  return reply->promise();
}

Napi::Value ModelWrap::calibration(const Napi::CallbackInfo& info) { return CalibrationWrap::open(info, engine_); }

Napi::Value ModelWrap::predict(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t layer = 0;
  std::vector<float> inputs, scores;
  Status status = engine_ ? to_uint(info[0], "layer", 1u << 16, layer) : Status::error("bad-request", "The model is closed.");
  const std::string kind = info[1].IsString() ? info[1].As<Napi::String>().Utf8Value() : "";
  if (status.ok() && kind != "mlp" && kind != "heads") status = Status::error("bad-request", "A predictor is of the kind mlp or heads.");
  if (status.ok()) status = to_floats(info[2], "inputs", inputs);
  if (status.ok()) status = engine_->predict((uint32_t)layer, kind == "heads", inputs, scores);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return from_floats(env, scores);
}

void ModelWrap::set_ring(const Napi::CallbackInfo& info) {
  uint64_t bytes = 0;
  Status status = engine_ ? to_uint(info[1], "bytes", 1ull << 40, bytes) : Status::error("bad-request", "The model is closed.");
  if (status.ok() && !info[0].IsString()) status = Status::error("bad-request", "setRing needs the path of a file.");
  if (status.ok()) status = engine_->set_ring(info[0].As<Napi::String>().Utf8Value(), bytes);
  if (!status.ok()) throw_status(info.Env(), status);
}

Napi::Value ModelWrap::record(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  uint64_t sequence = 0;
  Status status = engine_ ? to_uint(info[0], "sequence", 0xFFFFFFFF, sequence) : Status::error("bad-request", "The model is closed.");
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  std::vector<uint8_t> record;
  if (!engine_->record((uint32_t)sequence, record)) return env.Null();
  return from_bytes(env, record);
}

Napi::Value ModelWrap::residency(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!engine_) {
    throw_status(env, Status::error("bad-request", "The model is closed."));
    return env.Undefined();
  }
  const Residency r = engine_->residency();
  Napi::Object o = Napi::Object::New(env);
  for (auto [name, counts] : {std::pair{"gpu", &r.gpu}, std::pair{"memory", &r.memory}, std::pair{"disk", &r.disk}}) {
    Napi::Uint32Array a = Napi::Uint32Array::New(env, counts->size());
    std::copy(counts->begin(), counts->end(), a.Data());
    o.Set(name, a);
  }
  for (auto [name, count] : {std::pair{"gpuBytes", r.gpu_bytes}, std::pair{"memoryBytes", r.memory_bytes}, std::pair{"diskBytes", r.disk_bytes},
                             std::pair{"hits", r.hits}, std::pair{"misses", r.misses}, std::pair{"readBytes", r.read_bytes}})
    o.Set(name, (double)count);
  o.Set("waitedSeconds", r.waited_seconds);
  return o;
}

void ModelWrap::close(const Napi::CallbackInfo&) { engine_.reset(); }

}  // namespace hunch
