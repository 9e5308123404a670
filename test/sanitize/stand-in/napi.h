// As much of Node-API as native/node/task.h and pool.h use, over plain C++, so that ThreadSanitizer can watch the pool without an
// uninstrumented Node around it. An environment is a thread that runs its queue; values are nothing but addresses.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <vector>

struct StandIn;
using napi_env = StandIn*;
using napi_value = void*;
using napi_deferred = void*;
enum napi_status { napi_ok, napi_closing, napi_pending_exception };
enum napi_tsfn_mode { napi_tsfn_nonblocking };
enum napi_tsfn_release_mode { napi_tsfn_abort };
enum napi_typedarray_type { napi_uint8_array, napi_int32_array, napi_float32_array, napi_float64_array };
using napi_callback_js = void (*)(napi_env, napi_value, void*, void*);
struct Threadsafe;
using napi_threadsafe_function = Threadsafe*;

struct StandIn {
  std::mutex mutex;
  std::condition_variable wake;
  int pending = 0; // calls of the thread-safe function that were not run yet
  Threadsafe* function = nullptr;
  void* instance = nullptr;
  // What an environment that has been told to end no longer gives.
  bool refusesFunctions = false, refusesHooks = false, refusesPromises = false;
  std::function<void()> cleanup;
  // On the environment's own thread. Promises that are never answered end with the environment.
  int64_t resolved = 0, rejected = 0;
  std::set<napi_deferred> open;
  ~StandIn() {
    for (napi_deferred deferred : open) delete static_cast<char*>(deferred);
  }
};

struct Threadsafe {
  StandIn* env;
  void* context;
  napi_callback_js call;
  bool closed = false;
};

inline napi_status napi_create_threadsafe_function(napi_env env, napi_value, napi_value, napi_value, size_t, size_t,
                                                   void*, void*, void* context, napi_callback_js call,
                                                   napi_threadsafe_function* out) {
  if (env->refusesFunctions) return napi_pending_exception;
  *out = env->function = new Threadsafe{env, context, call};
  return napi_ok;
}
inline napi_status napi_unref_threadsafe_function(napi_env, napi_threadsafe_function) { return napi_ok; }
inline napi_status napi_ref_threadsafe_function(napi_env, napi_threadsafe_function) { return napi_ok; }
inline napi_status napi_call_threadsafe_function(napi_threadsafe_function function, void*, napi_tsfn_mode) {
  const std::lock_guard lock(function->env->mutex);
  if (function->closed) return napi_closing;
  function->env->pending++;
  function->env->wake.notify_one();
  return napi_ok;
}
inline napi_status napi_release_threadsafe_function(napi_threadsafe_function function, napi_tsfn_release_mode) {
  function->env->function = nullptr;
  delete function;
  return napi_ok;
}
inline napi_status napi_add_env_cleanup_hook(napi_env env, void (*hook)(void*), void* data) {
  if (env->refusesHooks) return napi_pending_exception;
  env->cleanup = [hook, data] { hook(data); };
  return napi_ok;
}
inline napi_status napi_create_promise(napi_env env, napi_deferred* deferred, napi_value* promise) {
  if (env->refusesPromises) return napi_pending_exception;
  *deferred = *promise = new char;
  env->open.insert(*deferred);
  return napi_ok;
}
inline napi_status napi_resolve_deferred(napi_env env, napi_deferred deferred, napi_value) {
  env->open.erase(deferred);
  delete static_cast<char*>(deferred);
  env->resolved++;
  return napi_ok;
}
inline napi_status napi_reject_deferred(napi_env env, napi_deferred deferred, napi_value) {
  env->open.erase(deferred);
  delete static_cast<char*>(deferred);
  env->rejected++;
  return napi_ok;
}
inline napi_status napi_get_typedarray_info(napi_env, napi_value, napi_typedarray_type*, size_t*, void**, napi_value*,
                                            size_t*) {
  return napi_closing;
}

namespace Napi {

class Env;
struct Boolean {
  bool Value() const { return false; }
  operator bool() const { return false; }
};
class Value {
public:
  Value() = default;
  Value(napi_env env, napi_value value) : env_(env), value_(value) {}
  operator napi_value() const { return value_; }
  bool IsUndefined() const { return true; }
  bool IsNull() const { return true; }
  bool IsNumber() const { return false; }
  bool IsObject() const { return false; }
  bool IsTypedArray() const { return false; }
  Boolean ToBoolean() const { return {}; }
  template <class T> T As() const { return T(env_, value_); }

protected:
  napi_env env_ = nullptr;
  napi_value value_ = nullptr;
};
class Env {
public:
  Env(napi_env env) : env_(env) {}
  operator napi_env() const { return env_; }
  Value Undefined() const { return {}; }
  template <class T> T* GetInstanceData() const { return static_cast<T*>(env_->instance); }

private:
  napi_env env_;
};
struct Object : Value {
  using Value::Value;
  napi_value handle = nullptr;
  Value Get(const char*) const { return {}; }
};
struct Number : Value {
  using Value::Value;
  double DoubleValue() const { return 0; }
};
struct String : Value {
  static String New(Env, const std::string&) { return {}; }
};
struct Error : std::exception {
  static Error New(Env, const std::string&) { return {}; }
  void Set(const char*, napi_value) {}
  Napi::Value Value() const { return {}; }
};
struct HandleScope {
  explicit HandleScope(Env) {}
};
template <class T> struct Reference {
  static Reference New(T, uint32_t) { return {}; }
};
struct CallbackInfo {
  Napi::Env Env() const { return nullptr; }
  size_t Length() const { return 0; }
  Value operator[](size_t) const { return {}; }
};

} // namespace Napi
