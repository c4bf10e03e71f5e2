// JavaScript values to plain structs and back. Every misuse gives a Status that names the field.
#pragma once

#include <napi.h>

#include "engine.h"

namespace hunch {

Status to_model_spec(const Napi::Value& value, ModelSpec& out);
Status to_load_options(const Napi::Value& value, LoadOptions& out);
Status to_generate_options(const Napi::Value& value, GenerateOptions& out);
Status to_predictors(const Napi::Value& value, Predictors& out);
Status to_plan(const Napi::Value& value, Plan& out);
Status to_capture(const Napi::Value& value, CaptureOptions& out);
Status to_edits(const Napi::Value& value, std::vector<Edit>& out);
Status to_tokens(const Napi::Value& value, std::vector<int32_t>& out);  // Int32Array; copied, so that no thread reads V8's memory
Status to_floats(const Napi::Value& value, const std::string& name, std::vector<float>& out);
Status to_uint(const Napi::Value& value, const char* name, uint64_t limit, uint64_t& out);

Napi::Object from_result(Napi::Env env, const GenerateResult& r);
Napi::Object from_activity(Napi::Env env, const Activity& a);
Napi::Object from_comparison(Napi::Env env, const Comparison& c);
Napi::Float32Array from_floats(Napi::Env env, const std::vector<float>& values);
Napi::Int32Array from_ids(Napi::Env env, const std::vector<int32_t>& ids);
Napi::Uint8Array from_bytes(Napi::Env env, std::span<const uint8_t> bytes);
Napi::Error to_error(Napi::Env env, const Status& status);  // Error with .code
void throw_status(Napi::Env env, const Status& status);

}  // namespace hunch
