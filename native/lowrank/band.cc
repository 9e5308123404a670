#include "lowrank/band.h"

#include <algorithm>
#include <cmath>

#include "core/simd.h"

namespace lowrank {
namespace {

// Rows end with zeros for the widest vectors of float64.
constexpr int64_t kVector = 8;

int64_t rowLength(int64_t width) { return (width + kVector) / kVector * kVector; }

// The closest to 0 that a pivot comes, as a share of sigma: what moves it aside moves an eigenvalue
// by no more than rounding does.
constexpr double kLeast = 0x1p-60;

#define PATH_FILE "lowrank/band_path.h"
#include "core/each_path.h"

using Eliminate = int64_t (*)(int64_t, int64_t, int64_t, double, double*, double*);

Eliminate choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::eliminate;
  if (simd() == Simd::avx2) return avx2::eliminate;
#endif
  return narrow::eliminate;
}

} // namespace

// Below the last row there is room for what an elimination touches, zeros.
BandMatrix::BandMatrix(MemoryLedger& memory, const float* t, int64_t n, int64_t stride, int64_t width)
    : n_(n), width_(width), band_(memory, (n + width) * rowLength(width)), pivots_(memory, band_.size()),
      row_(memory, rowLength(width) + kVector), vector_(memory, n + width) {
  std::fill_n(row_.data(), row_.size(), 0.0);
  std::fill_n(band_.data(), band_.size(), 0.0);
  for (int64_t i = 0; i < n; i++) {
    std::copy_n(t + i * stride + i, std::min(width + 1, n - i), band_.data() + i * rowLength(width));
  }
}

int64_t BandMatrix::bytes(int64_t n, int64_t width) {
  return 8 * ((n + width) * (2 * rowLength(width) + 1) + rowLength(width) + kVector);
}

int64_t BandMatrix::countAbove(double sigma) {
  static const Eliminate best = choose();
  const int64_t stride = rowLength(width_);
  std::copy_n(band_.data(), band_.size(), pivots_.data());
  for (int64_t i = 0; i < n_; i++) pivots_[i * stride] -= sigma;
  return best(n_, width_, stride, kLeast * sigma, pivots_.data(), row_.data());
}

double BandMatrix::kthLargest(int64_t k, double low) {
  constexpr double kAccuracy = 0x1p-12;
  double step = 4 * kAccuracy * low;
  while (countAbove(low + step) >= k) {
    low += step;
    step *= 4;
  }
  for (double high = low + step; high - low > kAccuracy * high;) {
    const double middle = (low + high) / 2;
    (countAbove(middle) >= k ? low : high) = middle;
    step = high - low;
  }
  return low + step / 2;
}

const double* BandMatrix::eigenvectorNear(double sigma) {
  countAbove(sigma);
  const int64_t stride = rowLength(width_);
  double* const x = vector_.data();
  for (int64_t i = 0; i < n_; i++) x[i] = 1 + 0.5 * std::cos(static_cast<double>(i)); // nothing special
  std::fill_n(x + n_, width_, 0.0);
  constexpr int kIterations = 2;
  for (int iteration = 0; iteration < kIterations; iteration++) {
    // L D L' x = the vector before.
    for (int64_t i = 0; i < n_; i++) {
      const double* row = pivots_.data() + i * stride;
      for (int64_t p = 1; p <= width_; p++) x[i + p] -= row[p] * x[i];
    }
    std::fill_n(x + n_, width_, 0.0);
    for (int64_t i = n_; i-- > 0;) {
      const double* row = pivots_.data() + i * stride;
      double sum = x[i] / row[0];
      for (int64_t p = 1; p <= width_; p++) sum -= row[p] * x[i + p];
      x[i] = sum;
    }
    double norm = 0;
    for (int64_t j = 0; j < n_; j++) norm += x[j] * x[j];
    for (int64_t j = 0; j < n_; j++) x[j] /= std::sqrt(norm);
  }
  return x;
}

} // namespace lowrank
