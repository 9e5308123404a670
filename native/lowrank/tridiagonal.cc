#include "lowrank/tridiagonal.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

#include "blas/lapack.h"
#include "core/failure.h"
#include "core/norms.h"
#include "core/random.h"
#include "lowrank/twisted.h"

namespace lowrank {
namespace {

// An off-diagonal element up to this share of the largest row counts as 0: a hundredth of what
// rounding to float32 changes; in float64, less than an eighth.
constexpr double kSplit = 0x1p-30;
constexpr double kSplit64 = 0x1p-56;

// |Z Z'w - w| / |w| for a random w up to which vectors count as orthogonal: their rounding to
// float32 gives an eighth.
constexpr double kOrthogonal = 32 * kEpsilon;

} // namespace

Tridiagonal::Tridiagonal(const Context& context, int64_t n, const float* d, const float* e)
    : context_(context), n_(n), d_(context.memory, n), e_(context.memory, n), values_(context.memory, n),
      begin_(context.memory, n), end_(context.memory, n), sorted_(context.memory, n) {
  solve(d, e, kSplit, Precision::float32);
}

Tridiagonal::Tridiagonal(const Context& context, int64_t n, const double* d, const double* e)
    : context_(context), n_(n), d_(context.memory, n), e_(context.memory, n), values_(context.memory, n),
      begin_(context.memory, n), end_(context.memory, n), sorted_(context.memory, n) {
  solve(d, e, kSplit64, Precision::float64);
}

template <class T> void Tridiagonal::solve(const T* d, const T* e, double split, Precision precision) {
  const int64_t n = n_;
  double largest = 0;
  for (int64_t i = 0; i < n; i++) {
    d_[i] = d[i];
    e_[i] = i + 1 < n ? e[i] : 0;
    largest = std::max(largest, std::abs(d_[i]) + std::abs(e_[i]) + (i > 0 ? std::abs(e_[i - 1]) : 0));
  }
  // A power of two rounds nothing.
  int exponent = 0;
  std::frexp(largest, &exponent);
  scale_ = std::ldexp(1.0, exponent);
  for (int64_t i = 0; i < n; i++) {
    d_[i] /= scale_;
    e_[i] = std::abs(e_[i]) <= split * scale_ ? 0 : e_[i] / scale_;
  }
  for (int64_t begin = 0, end; begin < n; begin = end) {
    for (end = begin + 1; end < n && e_[end - 1] != 0;) end++;
    std::fill(begin_.data() + begin, begin_.data() + end, begin);
    std::fill(end_.data() + begin, end_.data() + end, end);
    if (end - begin == 1) {
      values_[begin] = d_[begin];
    } else {
      eigenvalues(context_, end - begin, d_.data() + begin, e_.data() + begin, precision, values_.data() + begin);
    }
  }
  std::iota(sorted_.data(), sorted_.data() + n, 0);
  std::sort(sorted_.data(), sorted_.data() + n,
            [&](int64_t i, int64_t j) { return values_[i] > values_[j] || (values_[i] == values_[j] && i < j); });
}

// From an eigenvalue to the nearest other one of its part.
double Tridiagonal::gap(int64_t position) const {
  double gap = 2;
  if (position > begin_[position]) gap = std::min(gap, values_[position] - values_[position - 1]);
  if (position + 1 < end_[position]) gap = std::min(gap, values_[position + 1] - values_[position]);
  return gap;
}

bool Tridiagonal::vectors(int64_t begin, int64_t end, float* rows) const {
  const int64_t count = end - begin;
  if (count == 0) return true;
  // Neighbours of one part share a group.
  const Buffer<int64_t> order(context_.memory, count);
  std::iota(order.data(), order.data() + count, begin);
  std::sort(order.data(), order.data() + count, [&](int64_t i, int64_t j) { return sorted_[i] < sorted_[j]; });
  const Buffer<int64_t> groups(context_.memory, count + 1);
  int64_t grouped = 0;
  for (int64_t i = 0; i < count; i++) {
    const bool fits = grouped > 0 && i - groups[grouped - 1] < kShifts &&
                      begin_[sorted_[order[i]]] == begin_[sorted_[order[groups[grouped - 1]]]];
    if (!fits) groups[grouped++] = i;
  }
  groups[grouped] = count;
  const Buffer<double> work(context_.memory, twistedWork(n_) * context_.team.size());
  std::atomic<int64_t> next{0};
  context_.team.run([&](int part) {
    for (int64_t g; (g = next.fetch_add(1)) < grouped;) {
      if (context_.control.cancelled()) return;
      const int64_t first = begin_[sorted_[order[groups[g]]]], last = end_[sorted_[order[groups[g]]]];
      Shift shifts[kShifts];
      for (int64_t i = groups[g]; i < groups[g + 1]; i++) {
        const int64_t position = sorted_[order[i]];
        float* row = rows + (order[i] - begin) * n_;
        std::fill(row, row + first, 0.0f);
        std::fill(row + last, row + n_, 0.0f);
        shifts[i - groups[g]] = {values_[position], gap(position), row + first};
      }
      twisted(last - first, d_.data() + first, e_.data() + first, shifts, groups[g + 1] - groups[g],
              work.data() + part * twistedWork(n_));
    }
  });
  context_.control.check();
  return orthogonal(count, rows);
}

// A random w tells |Z Z' - 1|_F: w is turned by about that over the root of the number of vectors.
bool Tridiagonal::orthogonal(int64_t count, const float* rows) const {
  const Buffer<float> w(context_.memory, count), combined(context_.memory, n_), turned(context_.memory, count);
  for (int64_t i = 0; i < count; i++) w[i] = turned[i] = randomNormal(0, static_cast<uint64_t>(i));
  blas::gemv(true, count, n_, 1, rows, n_, w.data(), 0, combined.data());
  blas::gemv(false, count, n_, 1, rows, n_, combined.data(), -1, turned.data());
  // Not a number, where T was one that could not be eliminated, is not orthogonal either.
  return squares(turned.data(), count) <= kOrthogonal * kOrthogonal * squares(w.data(), count);
}

int64_t Tridiagonal::heldBytes(int64_t n) { return 48 * n; }

int64_t Tridiagonal::bytes(int64_t n) { return heldBytes(n) + eigenvaluesBytes(n); }

int64_t Tridiagonal::vectorsBytes(int64_t n, int64_t count, int threads) {
  return 8 * (2 * count + 1) + 8 * twistedWork(n) * threads + 8 * count + 4 * n;
}

} // namespace lowrank
