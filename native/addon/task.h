// Work off the JavaScript thread: a queue with a thread of its own, and promises that its results settle.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "engine.h"

namespace hunch {

// Runs jobs in order on one thread, which ends when the queue is dropped and empty.
class JobQueue {
 public:
  JobQueue();
  ~JobQueue();
  void push(std::function<void()> job);

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::function<void()>> jobs;
    bool closed = false;
  };
  std::shared_ptr<State> state_;
};

// A promise settled from another thread, with events before it in order.
class Reply {
 public:
  // onEvent may be an empty function: then post() is not used.
  static std::shared_ptr<Reply> make(Napi::Env env, const char* name, Napi::Function on_event);
  Napi::Promise promise() const { return deferred_.Promise(); }
  // From any thread. `call` runs on the JavaScript thread with the event callback.
  void post(std::function<void(Napi::Env, Napi::Function)> call);
  // Once, from any thread, last.
  void settle(const Status& status, std::function<Napi::Value(Napi::Env)> value);

 private:
  Reply(Napi::Env env) : deferred_(env) {}
  Napi::Promise::Deferred deferred_;
  Napi::ThreadSafeFunction function_;
};

// Runs job on a queue (or, without one, on a thread of its own) and answers a promise.
template <class T>
Napi::Value answer(Napi::Env env, JobQueue& queue, const char* name, std::function<Status(T&)> job, std::function<Napi::Value(Napi::Env, T&)> convert) {
  auto reply = Reply::make(env, name, Napi::Function());
  queue.push([reply, job = std::move(job), convert = std::move(convert)] {
    auto result = std::make_shared<T>();
    const Status status = job(*result);
    reply->settle(status, [result, convert](Napi::Env e) { return convert(e, *result); });
  });
  return reply->promise();
}

}  // namespace hunch
