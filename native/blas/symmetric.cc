#include "blas/symmetric.h"

#include <cstddef>

#include "core/simd.h"

namespace lowrank {
namespace {

#if defined(__x86_64__)
namespace avx512 {
#define PATH_TARGET __attribute__((target("avx512f,fma")))
#define PATH_BYTES 64
#include "blas/symmetric_path.h"
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace avx512
namespace avx2 {
#define PATH_TARGET __attribute__((target("avx2,fma")))
#define PATH_BYTES 32
#include "blas/symmetric_path.h"
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace avx2
#endif
namespace narrow {
#define PATH_TARGET
#define PATH_BYTES 16
#include "blas/symmetric_path.h"
#undef PATH_TARGET
#undef PATH_BYTES
} // namespace narrow

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
