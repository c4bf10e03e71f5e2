#pragma once

#include "convert.h"
#include "task.h"

namespace hunch {

// NativeModel of electron/engine/addon.ts.
class ModelWrap : public Napi::ObjectWrap<ModelWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value load(const Napi::CallbackInfo& info);  // addon.load
  explicit ModelWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value create_session(const Napi::CallbackInfo& info);
  Napi::Value set_predictors(const Napi::CallbackInfo& info);
  Napi::Value calibration(const Napi::CallbackInfo& info);
  Napi::Value predict(const Napi::CallbackInfo& info);
  void set_ring(const Napi::CallbackInfo& info);
  Napi::Value record(const Napi::CallbackInfo& info);
  Napi::Value residency(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  std::shared_ptr<Engine> engine_;
};

// Constructors kept for the life of the environment.
struct AddonData {
  Napi::FunctionReference model, session, calibration;
  JobQueue loading;
};

}  // namespace hunch
