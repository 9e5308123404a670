// How a computation ended, as a value that may cross threads before it becomes a JavaScript error.
#pragma once

#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "core/failure.h"

namespace lowrank {

struct Outcome {
  std::string code; // empty when all went well
  std::string message;

  template <class Function> static Outcome of(const Function& function) {
    try {
      function();
      return {};
    } catch (const Cancelled& e) {
      return {"ABORTED", e.what()};
    } catch (const Failure& e) {
      return {e.code, e.what()};
    } catch (const std::bad_alloc&) {
      return {"ERR_MEMORY", "out of memory"};
    } catch (const std::exception& e) {
      return {"ERR_NATIVE", e.what()};
    } catch (...) {
      return {"ERR_NATIVE", "unknown native failure"};
    }
  }

  Napi::Error error(Napi::Env env) const {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
  }
};

} // namespace lowrank
