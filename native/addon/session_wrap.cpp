#include "session_wrap.h"

#include <algorithm>
#include <chrono>

namespace hunch {

Napi::Function SessionWrap::define(Napi::Env env) {
  return DefineClass(env, "NativeSession",
                     {InstanceMethod<&SessionWrap::generate>("generate"), InstanceMethod<&SessionWrap::stop>("stop"),
                      InstanceMethod<&SessionWrap::score>("score"), InstanceMethod<&SessionWrap::score_greedy>("scoreGreedy"),
                      InstanceMethod<&SessionWrap::logits>("logits"),
                      InstanceMethod<&SessionWrap::set_plan>("setPlan"), InstanceMethod<&SessionWrap::compare>("compare"),
                      InstanceMethod<&SessionWrap::activity>("activity"), InstanceMethod<&SessionWrap::set_capture>("setCapture"),
                      InstanceMethod<&SessionWrap::set_edits>("setEdits"), InstanceMethod<&SessionWrap::trace>("trace"), InstanceMethod<&SessionWrap::lens>("lens"), InstanceMethod<&SessionWrap::bench>("bench"), InstanceMethod<&SessionWrap::close>("close")});
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info) : ObjectWrap(info) {}
SessionWrap::~SessionWrap() {
  if (cancel_) *cancel_ = true;
}

void SessionWrap::own(std::unique_ptr<Session> session, std::shared_ptr<Engine> engine, uint32_t context) {
  session_ = std::move(session);
  engine_ = std::move(engine);
  context_ = context;
  queue_ = std::make_unique<JobQueue>();
}

bool SessionWrap::closed(Napi::Env env) const {
  if (session_) return false;
  throw_status(env, Status::error("bad-request", "The session is closed."));
  return true;
}

namespace {

// Tokens gathered by the decode thread until the JavaScript thread comes to fetch them. It is called often enough for any screen and no oftener:
// each call takes a core away from the lanes for a moment.
struct Outbox {
  static constexpr std::chrono::milliseconds kPause{8};
  struct Token {
    int32_t id;
    std::vector<uint8_t> frame;  // empty = none
  };
  std::mutex mutex;
  std::vector<Token> tokens;
  bool called = false;  // a call is on its way
  std::chrono::steady_clock::time_point last{};
};

// At the end: whatever waits.
void post_tokens(const std::shared_ptr<Reply>& reply, const std::shared_ptr<Outbox>& outbox, bool at_end) {
  {
    std::lock_guard lock(outbox->mutex);
    const auto now = std::chrono::steady_clock::now();
    if (outbox->tokens.empty() || outbox->called || (!at_end && now - outbox->last < Outbox::kPause)) return;
    outbox->called = true;
    outbox->last = now;
  }
  reply->post([outbox](Napi::Env env, Napi::Function on_event) {
    std::vector<Outbox::Token> tokens;
    {
      std::lock_guard lock(outbox->mutex);
      tokens.swap(outbox->tokens);
      outbox->called = false;
    }
    Napi::Array ids = Napi::Array::New(env, tokens.size()), frames = Napi::Array::New(env, tokens.size());
    bool captured = false;
    for (uint32_t i = 0; i < tokens.size(); i++) {
      ids.Set(i, tokens[i].id);
      captured = captured || !tokens[i].frame.empty();
      frames.Set(i, tokens[i].frame.empty() ? env.Null() : from_bytes(env, tokens[i].frame));
    }
    Napi::Object event = Napi::Object::New(env);
    event.Set("type", "tokens");
    event.Set("ids", ids);
    if (captured) event.Set("frames", frames);
    on_event.Call({event});
  });
}

void post_token(const std::shared_ptr<Reply>& reply, const std::shared_ptr<Outbox>& outbox, int32_t id, std::span<const uint8_t> frame) {
  {
    std::lock_guard lock(outbox->mutex);
    outbox->tokens.push_back({id, {frame.begin(), frame.end()}});
  }
  post_tokens(reply, outbox, false);
}

// The arguments that score and scoreGreedy share.
Status to_window(const Napi::CallbackInfo& info, std::vector<int32_t>& tokens, uint64_t& from) {
  Status status = to_tokens(info[0], tokens);
  return status.ok() ? to_uint(info[1], "from", 0xFFFFFFFF, from) : status;
}

}  // namespace

Napi::Value SessionWrap::generate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  auto prompt = std::make_shared<std::vector<int32_t>>();
  auto options = std::make_shared<GenerateOptions>();
  Status status = to_tokens(info[0], *prompt);
  if (status.ok()) status = to_generate_options(info[1], *options);
  if (status.ok() && !info[2].IsFunction()) status = Status::error("bad-request", "generate needs a callback for its events.");
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  auto reply = Reply::make(env, "hunch.generate", info[2].As<Napi::Function>());
  auto cancel = cancel_ = std::make_shared<std::atomic<bool>>(false);
  queue_->push([reply, prompt, options, cancel, session = session_] {
    auto outbox = std::make_shared<Outbox>();
    GenerateEvents events;
    events.token = [&](int32_t id, std::span<const uint8_t> frame) { post_token(reply, outbox, id, frame); };
    events.prefill = [&](uint32_t done, uint32_t total) {
      reply->post([done, total](Napi::Env e, Napi::Function on_event) {
        Napi::Object event = Napi::Object::New(e);
        event.Set("type", "prefill");
        event.Set("done", done);
        event.Set("total", total);
        on_event.Call({event});
      });
    };
    GenerateResult result;
    const Status done = session->generate(*prompt, *options, events, *cancel, result);
    post_tokens(reply, outbox, true);
    reply->settle(done, [result](Napi::Env e) -> Napi::Value { return from_result(e, result); });
  });
  return reply->promise();
}

void SessionWrap::stop(const Napi::CallbackInfo&) {
  if (cancel_) *cancel_ = true;
}

Napi::Value SessionWrap::score(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  std::vector<int32_t> tokens;
  uint64_t from = 0;
  if (Status status = to_window(info, tokens, from); !status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<std::vector<float>>(
      env, *queue_, "hunch.score",
      [session = session_, tokens = std::move(tokens), from](std::vector<float>& out) { return session->score(tokens, (uint32_t)from, out); },
      [](Napi::Env e, std::vector<float>& v) -> Napi::Value { return from_floats(e, v); });
}

Napi::Value SessionWrap::score_greedy(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  std::vector<int32_t> tokens;
  uint64_t from = 0;
  if (Status status = to_window(info, tokens, from); !status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  struct Scores {
    std::vector<float> nll;
    std::vector<uint8_t> greedy;
  };
  return answer<Scores>(
      env, *queue_, "hunch.scoreGreedy",
      [session = session_, tokens = std::move(tokens), from](Scores& out) { return session->score(tokens, (uint32_t)from, out.nll, &out.greedy); },
      [](Napi::Env e, Scores& scores) -> Napi::Value {
        Napi::Uint8Array greedy = Napi::Uint8Array::New(e, scores.greedy.size());
        std::copy(scores.greedy.begin(), scores.greedy.end(), greedy.Data());
        Napi::Object o = Napi::Object::New(e);
        o.Set("nll", from_floats(e, scores.nll));
        o.Set("greedy", greedy);
        return o;
      });
}

Napi::Value SessionWrap::logits(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  std::vector<int32_t> tokens;
  if (Status status = to_tokens(info[0], tokens); !status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<std::vector<float>>(
      env, *queue_, "hunch.logits", [session = session_, tokens = std::move(tokens)](std::vector<float>& out) { return session->logits(tokens, out); },
      [](Napi::Env e, std::vector<float>& v) -> Napi::Value { return from_floats(e, v); });
}

Napi::Value SessionWrap::bench(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  uint64_t prompt = 0, decode = 0, depth = 0;
  Status status = to_uint(info[0], "promptTokens", 1u << 20, prompt);
  if (status.ok()) status = to_uint(info[1], "decodeTokens", 1u << 20, decode);
  if (status.ok() && !info[2].IsUndefined()) status = to_uint(info[2], "depth", 1u << 20, depth);
  std::vector<int32_t> text;
  if (status.ok() && !info[3].IsUndefined()) status = to_tokens(info[3], text);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  struct Times {
    double prefill = 0, decode = 0;
  };
  return answer<Times>(
      env, *queue_, "hunch.bench",
      [session = session_, prompt, decode, depth, text = std::move(text)](Times& t) {
        return session->bench((uint32_t)prompt, (uint32_t)decode, t.prefill, t.decode, (uint32_t)depth, text);
      },
      [](Napi::Env e, Times& t) -> Napi::Value {
        Napi::Object o = Napi::Object::New(e);
        o.Set("prefillMs", t.prefill);
        o.Set("decodeMs", t.decode);
        return o;
      });
}

Napi::Value SessionWrap::compare(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  auto plan = std::make_shared<std::optional<Plan>>();
  std::vector<int32_t> tokens;
  uint64_t from = 0;
  Status status;
  if (!info[0].IsNull() && !info[0].IsUndefined()) status = to_plan(info[0], plan->emplace());
  if (status.ok()) status = to_tokens(info[1], tokens);
  if (status.ok()) status = to_uint(info[2], "from", 0xFFFFFFFF, from);
  if (status.ok() && !other_) {
    std::unique_ptr<Session> other;
    status = engine_->new_session(context_, other);
    other_ = std::move(other);
  }
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<Comparison>(
      env, *queue_, "hunch.compare",
      [session = session_, other = other_, plan, tokens = std::move(tokens), from](Comparison& out) {
        return session->compare(*other, *plan ? &**plan : nullptr, tokens, (uint32_t)from, out);
      },
      [](Napi::Env e, Comparison& c) -> Napi::Value { return from_comparison(e, c); });
}

Napi::Value SessionWrap::activity(const Napi::CallbackInfo& info) {
  if (closed(info.Env())) return info.Env().Undefined();
  return from_activity(info.Env(), session_->activity());
}

void SessionWrap::set_capture(const Napi::CallbackInfo& info) {
  if (closed(info.Env())) return;
  CaptureOptions options;
  if (Status status = to_capture(info[0], options); !status.ok()) return throw_status(info.Env(), status);
  session_->set_capture(options);
}

void SessionWrap::set_edits(const Napi::CallbackInfo& info) {
  if (closed(info.Env())) return;
  std::vector<Edit> edits;
  Status status = to_edits(info[0], edits);
  if (status.ok()) status = session_->set_edits(edits);
  if (!status.ok()) throw_status(info.Env(), status);
}

Napi::Value SessionWrap::trace(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  auto tokens = std::make_shared<std::vector<int32_t>>();
  uint64_t from = 0;
  Status status = to_tokens(info[0], *tokens);
  if (status.ok()) status = to_uint(info[1], "from", 0xFFFFFFFF, from);
  if (status.ok() && !info[2].IsFunction()) status = Status::error("bad-request", "trace needs a callback for its events.");
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  auto reply = Reply::make(env, "hunch.trace", info[2].As<Napi::Function>());
  auto cancel = cancel_ = std::make_shared<std::atomic<bool>>(false);
  queue_->push([reply, tokens, from, cancel, session = session_] {
    auto outbox = std::make_shared<Outbox>();
    auto nll = std::make_shared<std::vector<float>>();
    const auto token = [&](int32_t id, std::span<const uint8_t> frame) { post_token(reply, outbox, id, frame); };
    const Status done = session->trace(*tokens, (uint32_t)from, token, *cancel, *nll);
    post_tokens(reply, outbox, true);
    reply->settle(done, [nll](Napi::Env e) -> Napi::Value { return from_floats(e, *nll); });
  });
  return reply->promise();
}

Napi::Value SessionWrap::lens(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (closed(env)) return env.Undefined();
  std::vector<int32_t> tokens;
  uint64_t top = 0;
  Status status = to_tokens(info[0], tokens);
  if (status.ok()) status = to_uint(info[1], "top", 1000, top);
  if (!status.ok()) {
    throw_status(env, status);
    return env.Undefined();
  }
  return answer<Lens>(
      env, *queue_, "hunch.lens", [session = session_, tokens = std::move(tokens), top](Lens& out) { return session->lens(tokens, (uint32_t)top, out); },
      [](Napi::Env e, Lens& lens) -> Napi::Value {
        Napi::Object o = Napi::Object::New(e);
        o.Set("ids", from_ids(e, lens.ids));
        o.Set("probabilities", from_floats(e, lens.probabilities));
        return o;
      });
}

void SessionWrap::set_plan(const Napi::CallbackInfo& info) {
  if (closed(info.Env())) return;
  Plan plan;
  const bool dense = info[0].IsNull() || info[0].IsUndefined();
  Status status = dense ? Status::fine() : to_plan(info[0], plan);
  if (status.ok()) status = session_->set_plan(dense ? nullptr : &plan);
  if (!status.ok()) throw_status(info.Env(), status);
}

void SessionWrap::close(const Napi::CallbackInfo&) {
  if (cancel_) *cancel_ = true;
  queue_.reset();
  session_.reset();
  other_.reset();
  engine_.reset();
}

}  // namespace hunch
