#include "task.h"

#include <memory>
#include <new>

#include "convert.h"

namespace hunch {

JobQueue::JobQueue() : state_(std::make_shared<State>()) {
  std::thread([state = state_] {
    for (;;) {
      std::function<void()> job;
      {
        std::unique_lock lock(state->mutex);
        state->wake.wait(lock, [&] { return state->closed || !state->jobs.empty(); });
        if (state->jobs.empty()) return;
        job = std::move(state->jobs.front());
        state->jobs.pop_front();
      }
      job();
    }
  }).detach();
}

JobQueue::~JobQueue() {
  std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->wake.notify_one();
}

void JobQueue::push(std::function<void()> job) {
  std::lock_guard lock(state_->mutex);
  state_->jobs.push_back(std::move(job));
  state_->wake.notify_one();
}

std::shared_ptr<Reply> Reply::make(Napi::Env env, const char* name, Napi::Function on_event) {
  std::shared_ptr<Reply> reply(new Reply(env));
  if (on_event.IsEmpty()) on_event = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  reply->function_ = Napi::ThreadSafeFunction::New(env, on_event, name, 0, 1);
  return reply;
}

void Reply::post(std::function<void(Napi::Env, Napi::Function)> call) {
  function_.NonBlockingCall([call = std::move(call)](Napi::Env env, Napi::Function f) {
    if (env == nullptr) return;  // the environment is going away
    Napi::HandleScope scope(env);
    call(env, f);
  });
}

void Reply::settle(const Status& status, std::function<Napi::Value(Napi::Env)> value) {
  function_.NonBlockingCall([deferred = deferred_, status, value = std::move(value)](Napi::Env env, Napi::Function) {
    if (env == nullptr) return;
    Napi::HandleScope scope(env);
    if (!status.ok()) deferred.Reject(to_error(env, status).Value());
    else deferred.Resolve(value(env));
  });
  function_.Release();
}

}  // namespace hunch
