#pragma once

#include "convert.h"
#include "task.h"

namespace hunch {

// NativeCalibration of electron/engine/addon.ts. Its own thread runs its calls in order.
class CalibrationWrap : public Napi::ObjectWrap<CalibrationWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value open(const Napi::CallbackInfo& info, const std::shared_ptr<Engine>& engine);  // NativeModel.calibration
  explicit CalibrationWrap(const Napi::CallbackInfo& info);
  ~CalibrationWrap() override;

 private:
  Napi::Value capture(const Napi::CallbackInfo& info);
  Napi::Value statistics(const Napi::CallbackInfo& info);
  Napi::Value fit(const Napi::CallbackInfo& info);
  Napi::Value fitted(const Napi::CallbackInfo& info);
  Napi::Value factor_gates(const Napi::CallbackInfo& info);
  Napi::Value thresholds(const Napi::CallbackInfo& info);
  Napi::Value head_thresholds(const Napi::CallbackInfo& info);
  Napi::Value judge(const Napi::CallbackInfo& info);
  Napi::Value gate_thresholds(const Napi::CallbackInfo& info);
  Napi::Value save(const Napi::CallbackInfo& info);
  Napi::Value restore(const Napi::CallbackInfo& info);
  void cancel(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  bool refused(Napi::Env env, const Status& status) const;  // throws when closed, or the status

  std::shared_ptr<Calibration> calibration_;  // shared with jobs under way
  std::unique_ptr<JobQueue> queue_;
  std::shared_ptr<std::atomic<bool>> cancel_;  // of all calls since the last cancel()
};

}  // namespace hunch
