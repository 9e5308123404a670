#include "lowrank/back_transformation.h"

#include <algorithm>

#include "core/flush_denormals.h"
#include "core/lanes.h"
#include "core/simd.h"

namespace lowrank {
namespace {

using Quad = Reflectors::Quad;
constexpr int64_t kTogether = Reflectors::kTogether;

// Vectors that are transformed together, as the columns of a strip that stays in the cache of a
// core.
constexpr int64_t kStrip = 64;

// Quads of neighbouring sweeps whose steps are taken together. They change only a few rows more
// than one quad does.
constexpr int64_t kGroup = 16;

// z = (I - V T V') z for the kRows x kStrip elements of z, `Lanes` vectors of `Bytes` at a time.
template <int Bytes, int64_t Lanes> inline __attribute__((always_inline)) void applyQuad(const Quad& quad, float* z) {
  using Vector = typename Lane<float, Bytes>::type;
  constexpr int64_t kWidth = Lane<float, Bytes>::width;
  for (int64_t column = 0; column < kStrip; column += Lanes * kWidth) {
    Vector sums[kTogether][Lanes] = {};
    for (int64_t i = 0; i < Reflectors::kRows; i++) {
      for (int64_t j = 0; j < Lanes; j++) {
        const Vector x = *reinterpret_cast<const Vector*>(z + i * kStrip + column + j * kWidth);
        for (int64_t l = 0; l < kTogether; l++) sums[l][j] += quad.v[i][l] * x;
      }
    }
    for (int64_t l = 0; l < kTogether; l++) {
      for (int64_t j = 0; j < Lanes; j++) {
        Vector sum = quad.t[l][l] * sums[l][j];
        for (int64_t p = l + 1; p < kTogether; p++) sum += quad.t[l][p] * sums[p][j];
        sums[l][j] = sum;
      }
    }
    for (int64_t i = 0; i < Reflectors::kRows; i++) {
      for (int64_t j = 0; j < Lanes; j++) {
        Vector& x = *reinterpret_cast<Vector*>(z + i * kStrip + column + j * kWidth);
        Vector sum = x;
        for (int64_t l = 0; l < kTogether; l++) sum -= quad.v[i][l] * sums[l][j];
        x = sum;
      }
    }
  }
}

// Applies the groups of sweeps from the last to the first. Within a group the steps go down: a step
// of a later sweep shares rows with the next step of earlier sweeps, and must come before it.
template <int Bytes, int64_t Lanes>
inline __attribute__((always_inline)) void applyAll(const Context& context, const Reflectors& reflectors, float* z) {
  const int64_t quads = Reflectors::quads(reflectors.order());
  for (int64_t first = (quads - 1) / kGroup * kGroup; first >= 0; first -= kGroup) {
    context.control.check();
    for (int64_t step = 0; step < reflectors.stepsOf(first); step++) {
      for (int64_t q = std::min(quads, first + kGroup); q-- > first;) {
        if (step >= reflectors.stepsOf(q)) continue;
        applyQuad<Bytes, Lanes>(reflectors.at(q, step), z + (kTogether * q + 1 + step * Reflectors::kLength) * kStrip);
      }
    }
  }
}

using Apply = void (*)(const Context&, const Reflectors&, float*);

#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void applyAvx512(const Context& context, const Reflectors& reflectors,
                                                        float* z) {
  applyAll<64, 4>(context, reflectors, z);
}
__attribute__((target("avx2,fma"))) void applyAvx2(const Context& context, const Reflectors& reflectors, float* z) {
  applyAll<32, 2>(context, reflectors, z);
}
void applyNarrow(const Context& context, const Reflectors& reflectors, float* z) {
  applyAll<16, 2>(context, reflectors, z);
}
#else
void applyNarrow(const Context& context, const Reflectors& reflectors, float* z) {
  applyAll<16, 4>(context, reflectors, z);
}
#endif

Apply choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return applyAvx512;
  if (simd() == Simd::avx2) return applyAvx2;
#endif
  return applyNarrow;
}

// Rows of a strip. A quad reads beyond the last element, where its reflectors are zero.
int64_t stripRows(int64_t n) { return n + Reflectors::kRows; }

// to (count columns) = from' for from: count x n.
void transpose(int64_t count, int64_t n, const float* from, float* to) {
  constexpr int64_t kTile = 16;
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t end = std::min(n, begin + kTile);
    for (int64_t j = 0; j < count; j++) {
      for (int64_t i = begin; i < end; i++) to[i * kStrip + j] = from[j * n + i];
    }
  }
}
void transposeBack(int64_t count, int64_t n, const float* from, float* to) {
  constexpr int64_t kTile = 16;
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t end = std::min(n, begin + kTile);
    for (int64_t j = 0; j < count; j++) {
      for (int64_t i = begin; i < end; i++) to[j * n + i] = from[i * kStrip + j];
    }
  }
}

} // namespace

void transformBack(const Context& context, const Reflectors& reflectors, int64_t k, float* vectors) {
  static const Apply apply = choose();
  const int64_t n = reflectors.order();
  if (Reflectors::sweeps(n) == 0) return;
  context.team.tasks((k + kStrip - 1) / kStrip, [&](int64_t index) {
    const FlushDenormals flush;
    const Buffer<float> strip(context.memory, stripRows(n) * kStrip);
    std::fill_n(strip.data(), strip.size(), 0.0f);
    float* const rows = vectors + index * kStrip * n;
    const int64_t count = std::min(kStrip, k - index * kStrip);
    transpose(count, n, rows, strip.data());
    apply(context, reflectors, strip.data());
    transposeBack(count, n, strip.data(), rows);
  });
}

int64_t transformBackBytes(int64_t n, int threads) {
  return threads * stripRows(n) * kStrip * static_cast<int64_t>(sizeof(float));
}

} // namespace lowrank
