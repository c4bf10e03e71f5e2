#pragma once

#include "convert.h"
#include "task.h"

namespace hunch {

// NativeSession of electron/engine/addon.ts. Its own thread runs its calls in order.
class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SessionWrap(const Napi::CallbackInfo& info);
  ~SessionWrap() override;
  void own(std::unique_ptr<Session> session, std::shared_ptr<Engine> engine, uint32_t context);

 private:
  Napi::Value generate(const Napi::CallbackInfo& info);
  void stop(const Napi::CallbackInfo& info);
  Napi::Value score(const Napi::CallbackInfo& info);
  Napi::Value score_greedy(const Napi::CallbackInfo& info);
  Napi::Value logits(const Napi::CallbackInfo& info);
  Napi::Value bench(const Napi::CallbackInfo& info);
  Napi::Value compare(const Napi::CallbackInfo& info);
  Napi::Value activity(const Napi::CallbackInfo& info);
  void set_capture(const Napi::CallbackInfo& info);
  void set_edits(const Napi::CallbackInfo& info);
  Napi::Value trace(const Napi::CallbackInfo& info);
  Napi::Value lens(const Napi::CallbackInfo& info);
  void set_plan(const Napi::CallbackInfo& info);
  void close(const Napi::CallbackInfo& info);
  bool closed(Napi::Env env) const;

  std::shared_ptr<Session> session_;  // shared with jobs under way
  std::shared_ptr<Session> other_;    // what compare() runs the reference in
  std::shared_ptr<Engine> engine_;
  uint32_t context_ = 0;
  std::unique_ptr<JobQueue> queue_;
  std::shared_ptr<std::atomic<bool>> cancel_;  // of the newest generate
};

}  // namespace hunch
