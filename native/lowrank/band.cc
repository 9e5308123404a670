#include "lowrank/band.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"

namespace lowrank {

BandMatrix::BandMatrix(MemoryLedger& memory, const float* t, int64_t n, int64_t stride, int64_t width)
    : n_(n), width_(width), band_(memory, n * (width + 1)), pivots_(memory, n * (width + 1)),
      lu_(memory, n * (3 * width + 1)), vector_(memory, n), rows_(memory, n) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t p = 0; p <= width; p++) band_[i * (width + 1) + p] = i + p < n ? t[i * stride + i + p] : 0;
  }
}

int64_t BandMatrix::bytes(int64_t n, int64_t width) { return n * (8 * (2 * (width + 1) + 3 * width + 1 + 1) + 4); }

// Elimination without pivoting: a vanishing pivot is moved aside, which moves an eigenvalue by no
// more than rounding does.
int64_t BandMatrix::countAbove(double sigma) {
  constexpr double kTiny = 1e-290;
  const int64_t stride = width_ + 1;
  std::copy(band_.data(), band_.data() + band_.size(), pivots_.data());
  int64_t count = 0;
  for (int64_t i = 0; i < n_; i++) pivots_[i * stride] -= sigma;
  for (int64_t i = 0; i < n_; i++) {
    double* row = pivots_.data() + i * stride;
    if (std::fabs(row[0]) < kTiny) row[0] = -kTiny;
    count += row[0] > 0;
    const int64_t reach = std::min(width_, n_ - 1 - i);
    for (int64_t p = 1; p <= reach; p++) {
      const double factor = row[p] / row[0];
      double* target = row + p * stride;
      for (int64_t q = p; q <= reach; q++) target[q - p] -= factor * row[q];
    }
  }
  return count;
}

double BandMatrix::kthLargest(int64_t k, double low) {
  double high = 2 * low;
  while (countAbove(high) >= k) {
    low = high;
    high *= 2;
  }
  while (high - low > std::ldexp(high, -12)) {
    const double middle = (low + high) / 2;
    (countAbove(middle) >= k ? low : high) = middle;
  }
  return (low + high) / 2;
}

const double* BandMatrix::eigenvectorNear(double sigma) {
  // LAPACK: column j of the band in column j, the diagonal in row 2 * width of 3 * width + 1.
  const int64_t stride = 3 * width_ + 1;
  std::fill(lu_.data(), lu_.data() + lu_.size(), 0.0);
  for (int64_t i = 0; i < n_; i++) {
    lu_[i * stride + 2 * width_] = element(i, i) - sigma;
    for (int64_t j = i + 1; j <= std::min(i + width_, n_ - 1); j++) {
      lu_[j * stride + 2 * width_ + i - j] = element(i, j);
      lu_[i * stride + 2 * width_ + j - i] = element(i, j);
    }
  }
  lapack::factoriseBand(n_, width_, lu_.data(), rows_.data());
  for (int64_t i = 0; i < n_; i++) vector_[i] = 1 + 0.5 * std::cos(static_cast<double>(i)); // nothing special
  constexpr int kIterations = 2;
  for (int i = 0; i < kIterations; i++) {
    lapack::solveBand(n_, width_, lu_.data(), rows_.data(), vector_.data());
    double norm = 0;
    for (int64_t j = 0; j < n_; j++) norm += vector_[j] * vector_[j];
    for (int64_t j = 0; j < n_; j++) vector_[j] /= std::sqrt(norm);
  }
  return vector_.data();
}

} // namespace lowrank
