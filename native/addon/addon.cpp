// The module's surface: electron/engine/addon.ts. No logic here; see include/engine.h.
#include "calibration_wrap.h"
#include "model_wrap.h"
#include "session_wrap.h"

namespace hunch {

static Napi::Value info(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  Napi::Array isas = Napi::Array::New(env);
  for (Isa i : supported_isas()) isas.Set(isas.Length(), isa_name(i));
  Napi::Object o = Napi::Object::New(env);
  o.Set("version", HUNCH_VERSION);
  o.Set("isas", isas);
  o.Set("physicalCores", physical_cores());
  o.Set("compiler", __VERSION__);
  return o;
}

static Napi::Value bandwidth(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  uint64_t threads = 0, bytes = 0;
  Status status = to_uint(call[0], "threads", 256, threads);
  if (status.ok()) status = to_uint(call[1], "bytes", 1ull << 40, bytes);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<double>(
      env, env.GetInstanceData<AddonData>()->loading, "hunch.bandwidth",
      [threads, bytes](double& out) {
        out = read_bandwidth((unsigned)threads, bytes);
        return out > 0 ? Status::fine() : Status::error("out-of-memory", "Not enough memory to measure the read bandwidth.");
      },
      [](Napi::Env e, double& v) -> Napi::Value { return Napi::Number::New(e, v); });
}

static Napi::Value list_gpus(const Napi::CallbackInfo& call) {
  return answer<GpuReport>(
      call.Env(), call.Env().GetInstanceData<AddonData>()->loading, "hunch.gpus",
      [](GpuReport& out) {
        out = gpus();
        return Status::fine();
      },
      [](Napi::Env env, GpuReport& report) -> Napi::Value {
        Napi::Array list = Napi::Array::New(env);
        for (const GpuInfo& g : report.gpus) {
          Napi::Object o = Napi::Object::New(env);
          o.Set("name", g.name);
          o.Set("memory", (double)g.memory);
          o.Set("capability", g.capability / 10.0);
          o.Set("usable", g.usable);
          o.Set("problem", g.problem);
          list.Set(list.Length(), o);
        }
        Napi::Object o = Napi::Object::New(env);
        o.Set("built", report.built);
        o.Set("driver", report.driver);
        o.Set("gpus", list);
        o.Set("problem", report.problem);
        return o;
      });
}

static Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  data->model = Napi::Persistent(ModelWrap::define(env));
  data->session = Napi::Persistent(SessionWrap::define(env));
  data->calibration = Napi::Persistent(CalibrationWrap::define(env));
  env.SetInstanceData(data);
  exports.Set("info", Napi::Function::New(env, info, "info"));
  exports.Set("load", Napi::Function::New(env, ModelWrap::load, "load"));
  exports.Set("readBandwidth", Napi::Function::New(env, bandwidth, "readBandwidth"));
  exports.Set("gpus", Napi::Function::New(env, list_gpus, "gpus"));
  return exports;
}

NODE_API_MODULE(hunch, init)

}  // namespace hunch
