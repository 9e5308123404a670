#include "band.h"

#include <algorithm>
#include <cmath>

namespace lowrank {

BandMatrix::BandMatrix(const float* t, int64_t n, int64_t stride, int64_t width)
    : n_(n), width_(width), band_(static_cast<size_t>(n * (width + 1))), factors_(band_.size()) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = i; j <= std::min(i + width, n - 1); j++) at(band_, i, j) = t[i * stride + j];
  }
}

// Without pivoting: a vanishing pivot is moved aside, which moves an eigenvalue by no more than rounding does.
void BandMatrix::factorise(double sigma) {
  constexpr double kTiny = 1e-290;
  factors_ = band_;
  for (int64_t i = 0; i < n_; i++) at(factors_, i, i) -= sigma;
  for (int64_t i = 0; i < n_; i++) {
    double* row = &at(factors_, i, i);
    if (std::fabs(row[0]) < kTiny) row[0] = -kTiny;
    const int64_t reach = std::min(width_, n_ - 1 - i);
    for (int64_t p = 1; p <= reach; p++) {
      const double factor = row[p] / row[0];
      double* target = &at(factors_, i + p, i + p);
      for (int64_t q = p; q <= reach; q++) target[q - p] -= factor * row[q];
    }
  }
}

int64_t BandMatrix::countAbove(double sigma) {
  factorise(sigma);
  int64_t count = 0;
  for (int64_t i = 0; i < n_; i++) count += at(factors_, i, i) > 0;
  return count;
}

double BandMatrix::kthLargest(int64_t k, double low, double high) {
  while (high - low > std::ldexp(std::fabs(high), -10)) {
    const double middle = (low + high) / 2;
    (countAbove(middle) >= k ? low : high) = middle;
  }
  return (low + high) / 2;
}

std::vector<double> BandMatrix::eigenvectorNear(double sigma) {
  factorise(sigma);
  std::vector<double> x(static_cast<size_t>(n_));
  for (int64_t i = 0; i < n_; i++) x[i] = 1 + 0.5 * std::cos(static_cast<double>(i)); // nothing special
  for (int round = 0; round < 3; round++) {
    double norm = 0;
    for (const double value : x) norm += value * value;
    for (double& value : x) value /= std::sqrt(norm);
    if (round == 2) break;
    for (int64_t i = 0; i < n_; i++) {
      const double* row = &at(factors_, i, i);
      const double z = x[i] / row[0];
      for (int64_t p = 1; p <= std::min(width_, n_ - 1 - i); p++) x[i + p] -= row[p] * z;
    }
    for (int64_t i = n_ - 1; i >= 0; i--) {
      const double* row = &at(factors_, i, i);
      double sum = x[i];
      for (int64_t p = 1; p <= std::min(width_, n_ - 1 - i); p++) sum -= row[p] * x[i + p];
      x[i] = sum / row[0];
    }
  }
  return x;
}

} // namespace lowrank
