#include "lowrank/root.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "blas/lapack.h"
#include "core/failure.h"
#include "core/random.h"
#include "lowrank/cholesky.h"

namespace lowrank {
namespace {

// C is brought to a diagonal of ones, so that a few dimensions of huge variance do not decide what
// counts as rounding in all others. Its entries are then known to the rounding of float64, or to
// that of float32 in which they may have been summed or stored: a pivot below the spectral norm of
// such an error is noise.
constexpr double kEpsilon64 = 0x1p-52;
constexpr double kEpsilon32 = 0x1p-24;
double tolerance64(int64_t n) { return static_cast<double>(n) * kEpsilon64; }
double tolerance32(int64_t n) { return 4 * std::sqrt(static_cast<double>(n)) * kEpsilon32; }

// What |C - F F'| may be, relative to a diagonal of ones: from rounding in float64 alone; of any
// moments.
constexpr double kClean = 0x1p-36;
constexpr double kMost = 0x1p-8;

// Columns of a triangular root that x is multiplied with at a time.
constexpr int64_t kColumns = 256;

constexpr int64_t kProbes = 8;
constexpr double kRaised = 2; // see residual.cc

Failure notFinite() { return {"ERR_NOT_FINITE", "the second moments hold a NaN or an infinity"}; }
Failure notMoments() {
  return {"ERR_ARGUMENT", "the second moments are no matrix of moments: it has to be symmetric and positive "
                          "semidefinite, the mean of x x'"};
}

} // namespace

SquareRoot::SquareRoot(const Context& context, const double* c, int64_t n)
    : n_(n), lengths_(context.memory, n), data_(context.memory, n * n) {
  for (int64_t i = 0; i < n; i++) {
    const double diagonal = c[i * n + i];
    if (!std::isfinite(diagonal)) throw notFinite();
    if (diagonal < 0) throw notMoments();
    lengths_[i] = std::sqrt(diagonal);
  }
  if (!factorisePlainly(context, c)) factorise(context, c, tolerance64(n));
  if (residual(context, c) <= kClean) {
    // The backward error of Cholesky factorisation (Higham 2002, theorem 10.3), of a matrix of
    // trace n.
    const auto size = static_cast<double>(n);
    doubt_ = (size + 1) * size * (kEpsilon64 / 2);
    return;
  }
  factorise(context, c, tolerance32(n));
  const double left = residual(context, c);
  if (!(left <= kMost)) throw notMoments();
  doubt_ = kRaised * left;
}

// D^-1 C D^-1, its lower triangle.
Buffer<double> SquareRoot::scaled(const Context& context, const double* c) const {
  Buffer<double> scaled(context.memory, n_ * n_);
  context.team.ranges(n_, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      for (int64_t j = 0; j <= i; j++) {
        const double value = c[i * n_ + j], scale = lengths_[i] * lengths_[j];
        if (!std::isfinite(value)) throw notFinite();
        if (scale == 0 && value != 0) throw notMoments();
        scaled[i * n_ + j] = scale > 0 ? value / scale : 0;
      }
    }
  });
  return scaled;
}

// Without pivoting it is several times faster. False: C is as good as singular.
bool SquareRoot::factorisePlainly(const Context& context, const double* c) {
  const Buffer<double> factor = scaled(context, c);
  if (!cholesky(context, n_, factor.data())) return false;
  const double least = std::sqrt(tolerance64(n_));
  for (int64_t i = 0; i < n_; i++) {
    if (!(factor[i * n_ + i] > least)) return false;
  }
  context.team.ranges(n_, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      double* target = data_.data() + i * n_;
      for (int64_t j = 0; j <= i; j++) target[j] = factor[i * n_ + j] * lengths_[i];
      std::fill(target + i + 1, target + n_, 0.0);
    }
  });
  rank_ = n_;
  triangular_ = true;
  return true;
}

void SquareRoot::factorise(const Context& context, const double* c, double tolerance) {
  const Buffer<double> factor = scaled(context, c), work(context.memory, n_);
  const Buffer<int64_t> pivots(context.memory, n_);
  rank_ = choleskyPivoted(context, n_, factor.data(), pivots.data(), tolerance, work.data());
  triangular_ = false;
  for (int64_t i = 0; i < n_; i++) {
    const int64_t row = pivots[i], known = std::min(i + 1, rank_);
    double* target = data_.data() + row * rank_;
    for (int64_t j = 0; j < known; j++) target[j] = factor[i * n_ + j] * lengths_[row];
    std::fill(target + known, target + rank_, 0.0);
  }
}

void SquareRoot::multiply(int64_t rows, const double* x, double* values) const {
  const int64_t width = triangular_ ? kColumns : rank_;
  for (int64_t begin = 0; begin < rank_; begin += width) {
    // Above, a lower triangle holds nothing.
    const int64_t cols = std::min(width, rank_ - begin), from = triangular_ ? begin : 0;
    blas::gemm(false, false, rows, cols, n_ - from, 1, x + from, n_, data_.data() + from * rank_ + begin, rank_, 0,
               values + begin, rank_);
  }
}

// |D^-1 (C - F F') D^-1|_F, estimated by a few random vectors.
double SquareRoot::residual(const Context& context, const double* c) const {
  const Buffer<double> z(context.memory, n_ * kProbes), y(context.memory, n_ * kProbes),
      inner(context.memory, std::max<int64_t>(rank_, 1) * kProbes), product(context.memory, n_ * kProbes);
  for (int64_t i = 0; i < n_; i++) {
    const double inverse = lengths_[i] > 0 ? 1 / lengths_[i] : 0;
    for (int64_t j = 0; j < kProbes; j++) {
      z[i * kProbes + j] = inverse * randomNormal(0, static_cast<uint64_t>(i * kProbes + j));
    }
  }
  blas::gemm(n_, kProbes, n_, c, z.data(), y.data());
  std::fill_n(product.data(), product.size(), 0.0);
  if (rank_ > 0) {
    blas::gemm(true, false, rank_, kProbes, n_, 1, data_.data(), rank_, z.data(), kProbes, 0, inner.data(), kProbes);
    blas::gemm(n_, kProbes, rank_, data_.data(), inner.data(), product.data());
  }
  double sum = 0;
  for (int64_t i = 0; i < n_; i++) {
    for (int64_t j = 0; j < kProbes && lengths_[i] > 0; j++) {
      const double difference = (y[i * kProbes + j] - product[i * kProbes + j]) / lengths_[i];
      sum += difference * difference;
    }
  }
  return std::sqrt(sum / kProbes);
}

int64_t SquareRoot::bytes(int64_t n) { return 8 * (n * (2 * n + 3) + std::max(n, 4 * kProbes * n)) + 8 * n; }

} // namespace lowrank
