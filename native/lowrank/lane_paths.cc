#include "lowrank/lane_paths.h"

#include <span>

#include "core/simd.h"
#include "lowrank/lane_solver.h"

namespace lowrank::lanes {
namespace {

#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void sixteen(const Sizes& s, const float* const* w, float* memory, Figures& f) {
  approximate<64>(s, w, memory, f);
}
__attribute__((target("avx2,fma"))) void eight(const Sizes& s, const float* const* w, float* memory, Figures& f) {
  approximate<32>(s, w, memory, f);
}
// For a few matrices, with the roundings of the wider ones.
__attribute__((target("avx2,fma"))) void four(const Sizes& s, const float* const* w, float* memory, Figures& f) {
  approximate<16>(s, w, memory, f);
}
#endif
void fourNarrow(const Sizes& s, const float* const* w, float* memory, Figures& f) { approximate<16>(s, w, memory, f); }

std::span<const Path> paths() {
  static constexpr Path kNarrow[] = {{4, fourNarrow}};
#if defined(__x86_64__)
  static constexpr Path kWide[] = {{4, four}, {8, eight}, {16, sixteen}};
  if (simd() == Simd::avx512) return kWide;
  if (simd() == Simd::avx2) return std::span(kWide).first(2);
#endif
  return kNarrow;
}

} // namespace

const Path& pathFor(int64_t count) {
  for (const Path& path : paths()) {
    if (path.width >= count) return path;
  }
  return paths().back();
}

} // namespace lowrank::lanes
