// The list of exports, nothing else.
#include <napi.h>

#include "node/bindings.h"
#include "node/task.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  using namespace lowrank;
  // One per environment; Node deletes it when the environment ends.
  env.SetInstanceData(new Tasks(env));
  const auto add = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("info", bindings::info);
  add("memory", bindings::memory);
  add("resetPeak", bindings::resetPeak);
  add("estimateSvd", bindings::estimateSvd);
  add("estimateApproximate", bindings::estimateApproximate);
  add("toFloat32", bindings::toFloat32);
  add("fromFloat32", bindings::fromFloat32);
  add("gemm", bindings::gemm);
  add("gemmAsync", bindings::gemmAsync);
  add("svd", bindings::svd);
  add("svdAsync", bindings::svdAsync);
  add("approximate", bindings::approximate);
  add("approximateAsync", bindings::approximateAsync);
  add("orthonormaliseRows", bindings::orthonormaliseRows);
  add("loraForward", bindings::loraForward);
  add("loraBackward", bindings::loraBackward);
  add("addLowRank", bindings::addLowRank);
  add("affine", bindings::affine);
  add("dropout", bindings::dropout);
  add("sgdStep", bindings::sgdStep);
  add("adamWStep", bindings::adamWStep);
  add("sumOfSquares", bindings::sumOfSquares);
  add("scale", bindings::scale);
  return exports;
}

} // namespace

NODE_API_MODULE(lowrank, initialise)
