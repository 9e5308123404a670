#include "blas/symmetric.h"

#include <cstddef>

#include "core/simd.h"

namespace lowrank {
namespace {

#define PATH_FILE "blas/symmetric_path.h"
#include "core/each_path.h"

template <class T> using Range = void (*)(int64_t, int64_t, int64_t, const T*, int64_t, const T*, T*);

#if defined(__x86_64__)
#define CHOOSE(kernel) (simd() == Simd::avx512 ? avx512::kernel : simd() == Simd::avx2 ? avx2::kernel : narrow::kernel)
#else
#define CHOOSE(kernel) narrow::kernel
#endif

} // namespace

void symmetricRows(int64_t first, int64_t last, int64_t width, const float* a, int64_t stride, const float* x,
                   float* y) {
  static const Range<float> best = CHOOSE(symmetricFloat);
  best(first, last, width, a, stride, x, y);
}
void symmetricRows(int64_t first, int64_t last, int64_t width, const double* a, int64_t stride, const double* x,
                   double* y) {
  static const Range<double> best = CHOOSE(symmetricDouble);
  best(first, last, width, a, stride, x, y);
}

} // namespace lowrank
