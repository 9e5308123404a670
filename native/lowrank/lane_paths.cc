#include "lowrank/lane_paths.h"

#include <span>

#include "core/simd.h"
#include "lowrank/lane_solver.h"

namespace lowrank::lanes {
namespace {

// A function of its own for each stage: one that is only inlined has no target.
#define LOWRANK_PATH(name, bytes, target)                                                                              \
  struct name {                                                                                                        \
    target static void reduceAll(const Sizes& s, const float* const* w, float* memory, Figures& figures) {             \
      reduce<bytes>(s, w, memory, figures);                                                                            \
    }                                                                                                                  \
    target static void findAll(const Search& search) { findVectors<bytes>(search); }                                   \
    target static void formAll(const Sizes& s, float* memory, Figures& figures) { form<bytes>(s, memory, figures); }   \
    static constexpr Path path = {bytes / sizeof(float), reduceAll, findAll, formAll};                                 \
  };

LOWRANK_PATH(Narrow, 16, )
#if defined(__x86_64__)
LOWRANK_PATH(Few, 16, __attribute__((target("avx2,fma"))))
LOWRANK_PATH(Avx2, 32, __attribute__((target("avx2,fma"))))
LOWRANK_PATH(Avx512, 64, __attribute__((target("avx512f,fma"))))
#endif

std::span<const Path> paths() {
  static constexpr Path kNarrow[] = {Narrow::path};
#if defined(__x86_64__)
  static constexpr Path kWide[] = {Few::path, Avx2::path, Avx512::path};
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
