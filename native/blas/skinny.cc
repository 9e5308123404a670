#include "blas/skinny.h"

#include <algorithm>

#include "core/lanes.h"
#include "core/simd.h"

namespace lowrank {
namespace {

// How far ahead to fetch the rows of a panel that is read transposed, in floats: their next cache
// line.
constexpr int64_t kAhead = kLineFloats;

// `Rows` x `Lanes` registers hold a tile of c while k runs; a's elements are broadcast from where
// they lie.
template <int Bytes, int Rows, int Lanes>
inline __attribute__((always_inline)) void tile(int64_t k, Strided a, const float* b, float* c, Update update) {
  using Vector = typename Lane<float, Bytes>::type;
  constexpr int64_t kWidth = Lane<float, Bytes>::width;
  Vector sum[Rows][Lanes] = {};
  // The rows of a panel that is read transposed are more streams than processors fetch ahead.
  const bool isTransposed = a.rowStride == 1;
  for (int64_t l = 0; l < k; l++) {
    Vector row[Lanes];
    for (int j = 0; j < Lanes; j++) row[j] = *reinterpret_cast<const Vector*>(b + l * kSkinny + kWidth * j);
    const float* column = a.data + l * a.colStride;
    if (isTransposed) __builtin_prefetch(column + kAhead);
    for (int i = 0; i < Rows; i++) {
      const float x = column[i * a.rowStride];
      for (int j = 0; j < Lanes; j++) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < Rows; i++) {
    for (int j = 0; j < Lanes; j++) {
      Vector* target = reinterpret_cast<Vector*>(c + i * kSkinny + kWidth * j);
      switch (update) {
      case Update::assign:
        *target = sum[i][j];
        break;
      case Update::add:
        *target += sum[i][j];
        break;
      case Update::subtract:
        *target -= sum[i][j];
        break;
      }
    }
  }
}

// A sum of more terms than this is put together from parts: of equal terms all roundings go the
// same way, and the error grows with their number.
constexpr int64_t kTerms = 256;

// The update by later parts of a sum.
constexpr Update onto(Update update) { return update == Update::assign ? Update::add : update; }

// A stretch of b that is used for all rows of a before the next one, so that it stays in the cache:
// 128 KiB.
constexpr int64_t kStretch = 4 * kTerms;

template <int Bytes, int Rows, int Lanes>
inline __attribute__((always_inline)) void rows(int64_t k, Strided a, const float* b, float* c, Update update) {
  constexpr int64_t kColumns = Lanes * Lane<float, Bytes>::width;
  static_assert(kSkinny % kColumns == 0);
  for (int64_t l = 0; l < k || l == 0; l += kTerms) {
    const Update part = l > 0 ? onto(update) : update;
    for (int64_t j = 0; j < kSkinny; j += kColumns) {
      tile<Bytes, Rows, Lanes>(std::min(kTerms, k - l), a.from(0, l), b + l * kSkinny + j, c + j, part);
    }
  }
}

template <int Bytes, int Rows, int Lanes>
inline __attribute__((always_inline)) void product(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                   Update update) {
  for (int64_t l = 0; l < k || l == 0; l += kStretch) {
    const int64_t terms = std::min(kStretch, k - l);
    const Update part = l > 0 ? onto(update) : update;
    const float* stretch = b + l * kSkinny;
    int64_t i = 0;
    for (; i + Rows <= m; i += Rows) rows<Bytes, Rows, Lanes>(terms, a.from(i, l), stretch, c + i * kSkinny, part);
    for (; i < m; i++) rows<Bytes, 1, Lanes>(terms, a.from(i, l), stretch, c + i * kSkinny, part);
  }
}

// Tiles that fill the registers: 32 of 16 floats, 16 of 8, 16 of 4 (SSE), 32 of 4 (NEON).
#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void productAvx512(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                          Update update) {
  product<64, 12, 2>(m, k, a, b, c, update);
}
__attribute__((target("avx2,fma"))) void productAvx2(int64_t m, int64_t k, Strided a, const float* b, float* c,
                                                     Update update) {
  product<32, 6, 2>(m, k, a, b, c, update);
}
void productNarrow(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  product<16, 6, 2>(m, k, a, b, c, update);
}
#else
void productNarrow(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  product<16, 6, 4>(m, k, a, b, c, update);
}
#endif

using Product = void (*)(int64_t, int64_t, Strided, const float*, float*, Update);

Product choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return productAvx512;
  if (simd() == Simd::avx2) return productAvx2;
#endif
  return productNarrow;
}

} // namespace

void skinnyProduct(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update) {
  static const Product best = choose();
  best(m, k, a, b, c, update);
}

} // namespace lowrank
