// Exports the functions of the bindings to an environment.
#include <napi.h>

#include "node/bindings.h"
#include "node/task.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace lowrank;
  // One per environment; Node deletes it when the environment ends.
  env.SetInstanceData(new Tasks(env));
  for (const auto list : {processExports(), linalgExports(), lowRankExports(), quantizeExports(), trainExports()}) {
    for (const auto& [name, function] : list) exports.Set(name, Napi::Function::New(env, function, name));
  }
  return exports;
}

} // namespace

NODE_API_MODULE(lowrank, initialise)
