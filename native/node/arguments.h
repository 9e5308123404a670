// Reads the fields of a job object. lib/ has validated their meaning. This checks only what could
// corrupt memory: element type and length of every array, integral sizes, products that overflow.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/failure.h"

namespace lowrank {

inline int64_t product(int64_t a, int64_t b) {
  int64_t result;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result)) throw Failure("ERR_SHAPE", "a size overflows");
  return result;
}

class Arguments {
public:
  explicit Arguments(const Napi::CallbackInfo& info) : env_(info.Env()) {
    if (info.Length() < 1 || !info[0].IsObject()) throw Failure("ERR_ARGUMENT", "expected a job object");
    job_ = info[0].As<Napi::Object>();
  }

  Napi::Env env() const { return env_; }
  // The arrays read so far. An asynchronous computation must keep them alive.
  std::vector<napi_value> arrays() const {
    std::vector<napi_value> values;
    for (const Read& read : read_) values.push_back(read.array);
    return values;
  }

  // Call after all fields have been read: a getter among them may have detached the buffer of an
  // array read before.
  void confirm() const {
    for (const auto& [array, data, length] : read_) {
      size_t now = 0;
      void* there = nullptr;
      if (napi_get_typedarray_info(env_, array, nullptr, &now, &there, nullptr, nullptr) != napi_ok || now != length ||
          there != data) {
        throw Failure("ERR_ARGUMENT", "an array changed while the job was read");
      }
    }
  }

  bool has(const char* name) const {
    const Napi::Value value = job_.Get(name);
    return !value.IsUndefined() && !value.IsNull();
  }

  double number(const char* name) const {
    const Napi::Value value = job_.Get(name);
    if (!value.IsNumber()) throw Failure("ERR_ARGUMENT", std::string(name) + " is not a number");
    return value.As<Napi::Number>().DoubleValue();
  }

  int64_t size(const char* name) const {
    const double value = number(name);
    if (!(value >= 0 && value <= 9007199254740991.0) || value != std::floor(value)) {
      throw Failure("ERR_ARGUMENT", std::string(name) + " is not a whole number of at least 0");
    }
    return static_cast<int64_t>(value);
  }

  bool flag(const char* name) const { return job_.Get(name).ToBoolean().Value(); }

  // Reads a nested object without arrays; returns nothing if it is absent.
  std::optional<Arguments> object(const char* name) const {
    if (!has(name)) return std::nullopt;
    const Napi::Value value = job_.Get(name);
    if (!value.IsObject()) throw Failure("ERR_ARGUMENT", std::string(name) + " is not an object");
    return Arguments(env_, value.As<Napi::Object>());
  }

  float* floats(const char* name, int64_t count) { return static_cast<float*>(array(name, napi_float32_array, count)); }
  double* doubles(const char* name, int64_t count) {
    return static_cast<double*>(array(name, napi_float64_array, count));
  }
  int32_t* integers(const char* name, int64_t count) {
    return static_cast<int32_t*>(array(name, napi_int32_array, count));
  }
  uint8_t* bytes(const char* name, int64_t count) {
    return static_cast<uint8_t*>(array(name, napi_uint8_array, count));
  }

private:
  Arguments(Napi::Env env, Napi::Object fields) : env_(env), job_(fields) {}

  // napi_get_typedarray_info also works on SharedArrayBuffers, in every version of Node; asking for
  // the buffer's data does not.
  void* array(const char* name, napi_typedarray_type wanted, int64_t count) {
    const Napi::Value value = job_.Get(name);
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    napi_value buffer;
    if (!value.IsTypedArray() ||
        napi_get_typedarray_info(env_, value, &type, &length, &data, &buffer, nullptr) != napi_ok || type != wanted) {
      throw Failure("ERR_ARGUMENT", std::string(name) + " is an array of the wrong type");
    }
    const Napi::Object owner(env_, buffer);
    // A resizable buffer can lose its pages while it is read.
    if (owner.Get("resizable").ToBoolean() || owner.Get("growable").ToBoolean()) {
      throw Failure("ERR_ARGUMENT", std::string(name) + " lies on a resizable buffer");
    }
    // A detached array has length 0.
    if (static_cast<int64_t>(length) != count) {
      throw Failure("ERR_SHAPE", std::string(name) + " has " + std::to_string(length) + " elements, " +
                                     std::to_string(count) + " are needed");
    }
    read_.push_back({value, data, length});
    return data;
  }

  struct Read {
    napi_value array;
    void* data;
    size_t length;
  };

  Napi::Env env_;
  Napi::Object job_;
  std::vector<Read> read_;
};

} // namespace lowrank
