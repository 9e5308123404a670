#include "lowrank/twisted.h"

#include <algorithm>
#include <cmath>

#include "core/simd.h"

namespace lowrank {
namespace {

// Pivots closer to 0 are moved away from it: a change of T far below its rounding.
constexpr double kTiny = 0x1p-100;

// Elements of an eigenvector below this are 0: products of denormal numbers are slow.
constexpr double kVanishing = 0x1p-400;

// The same for float32, of a vector of length 1.
constexpr double kNothing = 0x1p-60;

// A residual up to this share of the gap turns the vector by less than a float32 can tell.
constexpr double kStraight = 0x1p-27;

// Corrections of a shift: each squares its error at least.
constexpr int kCorrections = 5;

using Solve = void (*)(int64_t, const double*, const double*, double*, double*, double*, double*, double*, double*);

#define PATH_FILE "lowrank/twisted_path.h"
#include "core/each_path.h"

Solve choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::solve;
  if (simd() == Simd::avx2) return avx2::solve;
#endif
  return narrow::solve;
}

} // namespace

void twisted(int64_t n, const double* d, const double* e, const Shift* shifts, int64_t count, double* work) {
  static const Solve best = choose();
  double *l = work, *u = l + kShifts * n, *x = u + kShifts * n;
  double lambda[kShifts], gap[kShifts], gamma[kShifts], norm[kShifts];
  for (int64_t lane = 0; lane < kShifts; lane++) {
    const Shift& shift = shifts[std::min(lane, count - 1)];
    lambda[lane] = shift.value;
    gap[lane] = shift.gap;
  }
  for (int correction = 0;; correction++) {
    best(n, d, e, lambda, l, u, x, gamma, norm);
    bool straight = true;
    for (int64_t lane = 0; lane < kShifts; lane++) {
      straight = straight && std::abs(gamma[lane]) <= kStraight * gap[lane] * std::sqrt(norm[lane]);
    }
    if (straight || correction == kCorrections) break;
    for (int64_t lane = 0; lane < kShifts; lane++) {
      // Never as far as the next eigenvalue.
      lambda[lane] += std::clamp(gamma[lane] / norm[lane], -gap[lane] / 4, gap[lane] / 4);
    }
  }
  for (int64_t lane = 0; lane < count; lane++) {
    const double inverse = 1 / std::sqrt(norm[lane]);
    float* z = shifts[lane].z;
    for (int64_t i = 0; i < n; i++) {
      const double element = x[i * kShifts + lane] * inverse;
      z[i] = std::abs(element) < kNothing ? 0 : static_cast<float>(element);
    }
  }
}

} // namespace lowrank
