#include "skinny.h"

namespace lowrank {
namespace {

// Sixteen floats, whatever the processor makes of them: one register with AVX-512, two with AVX2, four with SSE or
// NEON.
typedef float Lane __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int kLanes = 2;

// `Rows` rows of c stay in registers while k runs; a's elements are broadcast from where they lie.
template <int Rows>
inline __attribute__((always_inline)) void tile(int64_t k, Strided a, const float* b, float* c, Update update) {
  Lane sum[Rows][kLanes] = {};
  for (int64_t l = 0; l < k; l++) {
    const Lane b0 = *reinterpret_cast<const Lane*>(b + l * kSkinny);
    const Lane b1 = *reinterpret_cast<const Lane*>(b + l * kSkinny + 16);
    const float* column = a.data + l * a.colStride;
    for (int i = 0; i < Rows; i++) {
      const float x = column[i * a.rowStride];
      sum[i][0] += x * b0;
      sum[i][1] += x * b1;
    }
  }
  for (int i = 0; i < Rows; i++) {
    for (int lane = 0; lane < kLanes; lane++) {
      Lane* target = reinterpret_cast<Lane*>(c + i * kSkinny + 16 * lane);
      switch (update) {
      case Update::assign:
        *target = sum[i][lane];
        break;
      case Update::add:
        *target += sum[i][lane];
        break;
      case Update::subtract:
        *target -= sum[i][lane];
        break;
      }
    }
  }
}

template <int Rows>
inline __attribute__((always_inline)) void product(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                   Update update) {
  int64_t i = 0;
  for (; i + Rows <= m; i += Rows) tile<Rows>(k, a.from(i, 0), b, c + i * kSkinny, update);
  for (; i < m; i++) tile<1>(k, a.from(i, 0), b, c + i * kSkinny, update);
}

// As many rows as the registers hold: 32 of 16 floats, 16 of 8, 16 of 4.
#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void productAvx512(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                          Update update) {
  product<12>(m, k, a, b, c, update);
}
__attribute__((target("avx2,fma"))) void productAvx2(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                     Update update) {
  product<3>(m, k, a, b, c, update);
}
#endif
void productPlain(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  product<1>(m, k, a, b, c, update);
}

using Product = void (*)(int64_t, int64_t, Strided, const float*, float*, Update);

Product choose() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return productAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return productAvx2;
#endif
  return productPlain;
}

} // namespace

void skinnyProduct(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  static const Product best = choose();
  best(m, k, a, b, c, update);
}

} // namespace lowrank
