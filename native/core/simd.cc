#include "core/simd.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "core/failure.h"
#include "core/processor.h"

namespace lowrank {
namespace {

Simd choose() {
  const char* named = std::getenv("LOWRANK_SIMD");
  const bool any = named == nullptr || *named == '\0';
  Simd widest = Simd::generic;
  std::string known;
  for (const Simd simd : kSimdPaths) {
    if (!supported(simd)) continue;
    if (!any && std::strcmp(named, nameOf(simd)) == 0) return simd;
    widest = simd;
    known += (known.empty() ? "" : ", ") + std::string(nameOf(simd));
  }
  if (any) return widest;
  throw Failure("ERR_ARGUMENT", "LOWRANK_SIMD: expected one of " + known + " on this processor, got " + named);
}

} // namespace

Simd simd() {
  static const Simd chosen = choose();
  return chosen;
}

bool supported(Simd simd) {
  switch (simd) {
#if defined(__x86_64__)
  case Simd::avx512:
    return processor().avx512f;
  case Simd::avx2:
    return processor().avx2;
  case Simd::sse2:
    return true;
#elif defined(__aarch64__)
  case Simd::neon:
    return true;
#else
  case Simd::generic:
    return true;
#endif
  default:
    return false;
  }
}

const char* nameOf(Simd simd) {
  constexpr const char* kNames[] = {"generic", "sse2", "neon", "avx2", "avx512"};
  return kNames[static_cast<int>(simd)];
}

} // namespace lowrank
