// Facts about the process: the processor, the codes of the contract, memory.
#include "node/bindings.h"

#include "blas/lapack.h"
#include "core/convert.h"
#include "core/memory.h"
#include "core/simd.h"
#include "lowrank/request.h"
#include "lowrank/routes.h"
#include "lowrank/svd.h"
#include "lowrank/weighted.h"
#include "quantize/quantize_blocks.h"

namespace lowrank {
namespace {

template <class Names> Napi::Array strings(Napi::Env env, const Names& names) {
  const Napi::Array array = Napi::Array::New(env);
  for (const char* name : names) array.Set(array.Length(), name);
  return array;
}

// The names of everything that crosses to JavaScript as a code; each index is a code.
Napi::Object codes(Napi::Env env) {
  std::vector<const char*> routes;
  for (const RouteEntry& entry : routeTable()) routes.push_back(entry.name);
  const Napi::Object object = Napi::Object::New(env);
  object.Set("floatFormats", strings(env, kFloatFormatNames));
  object.Set("svdDrivers", strings(env, kSvdDriverNames));
  object.Set("methods", strings(env, kMethodNames));
  object.Set("routes", strings(env, routes));
  object.Set("momentsKinds", strings(env, kMomentsNames));
  object.Set("roundings", strings(env, kRoundingNames));
  object.Set("certificateFields", strings(env, certificateFields()));
  return object;
}

Napi::Value info(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Object object = Napi::Object::New(env);
  object.Set("openblas", blas::version());
  object.Set("kernel", blas::kernel());
  object.Set("threads", defaultThreads());
  const Outcome outcome = Outcome::of([&] { object.Set("simd", nameOf(simd())); });
  if (!outcome.code.empty()) throw outcome.error(env);
  std::vector<const char*> paths;
  for (const Simd path : kSimdPaths) {
    if (supported(path)) paths.push_back(nameOf(path));
  }
  object.Set("simdPaths", strings(env, paths));
  object.Set("codes", codes(env));
  return object;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("now", static_cast<double>(MemoryLedger::processNow()));
  object.Set("peak", static_cast<double>(MemoryLedger::processPeak()));
  return object;
}

Napi::Value resetPeak(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(MemoryLedger::resetProcessPeak()));
}

constexpr Export kExports[] = {{"info", info}, {"memory", memory}, {"resetPeak", resetPeak}};

} // namespace

std::span<const Export> processExports() { return kExports; }

} // namespace lowrank
