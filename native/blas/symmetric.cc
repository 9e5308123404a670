#include "blas/symmetric.h"

#include <cstddef>

#include "core/simd.h"

namespace lowrank {
namespace {

#define PATH_FILE "blas/symmetric_path.h"
#include "core/each_path.h"

using Range = void (*)(int64_t, int64_t, int64_t, const float*, int64_t, const float*, float*);

Range choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::symmetricRange;
  if (simd() == Simd::avx2) return avx2::symmetricRange;
#endif
  return narrow::symmetricRange;
}

} // namespace

void symmetricRows(int64_t first, int64_t last, int64_t width, const float* a, int64_t stride, const float* x,
                   float* y) {
  static const Range best = choose();
  best(first, last, width, a, stride, x, y);
}

} // namespace lowrank
