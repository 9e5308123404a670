#include "lowrank/cholesky.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "blas/lapack.h"

namespace lowrank {
namespace {

// Columns that are factorised before the rest is updated by a product.
constexpr int64_t kTile = 128;
// With pivoting, half of the work is done row by row before that product: fewer are faster.
constexpr int64_t kPivoted = 64;
// Rows that a thread takes through a step of pivoting at least.
constexpr int64_t kRows = 64;

// Rows and columns [end, n) -= L L' for columns [begin, end) of L, on and below the diagonal.
void update(const Context& context, int64_t n, double* a, int64_t begin, int64_t end) {
  const int64_t tiles = (n - end + kTile - 1) / kTile;
  // The last rows are the longest, so they go first.
  context.team.tasks(tiles, [&](int64_t i) {
    const int64_t first = end + (tiles - 1 - i) * kTile, last = std::min(n, first + kTile);
    blas::gemm(false, true, last - first, last - end, end - begin, -1, a + first * n + begin, n, a + end * n + begin, n,
               1, a + first * n + end, n);
  });
  context.control.check();
}

double dot(int64_t count, const double* x, const double* y) {
  double sums[4] = {};
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (int l = 0; l < 4; l++) sums[l] += x[i + l] * y[i + l];
  }
  for (; i < count; i++) sums[0] += x[i] * y[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Exchanges rows and columns p < q of a symmetric matrix in its lower triangle.
void exchange(int64_t n, double* a, int64_t p, int64_t q) {
  std::swap_ranges(a + p * n, a + p * n + p, a + q * n);
  std::swap(a[p * n + p], a[q * n + q]);
  for (int64_t i = p + 1; i < q; i++) std::swap(a[i * n + p], a[q * n + i]);
  for (int64_t i = q + 1; i < n; i++) std::swap(a[i * n + p], a[i * n + q]);
}

} // namespace

bool cholesky(const Context& context, int64_t n, double* a) {
  for (int64_t begin = 0; begin < n; begin += kTile) {
    const int64_t end = std::min(n, begin + kTile), tiles = (n - end + kTile - 1) / kTile;
    double* tile = a + begin * n + begin;
    if (!lapack::cholesky(end - begin, tile, n)) return false;
    context.team.tasks(tiles, [&](int64_t i) {
      const int64_t first = end + i * kTile, last = std::min(n, first + kTile);
      lapack::solveLower(last - first, end - begin, tile, a + first * n + begin, n);
    });
    update(context, n, a, begin, end);
  }
  return true;
}

int64_t choleskyPivoted(const Context& context, int64_t n, double* a, int64_t* pivots, double tolerance, double* work) {
  std::iota(pivots, pivots + n, int64_t{0});
  for (int64_t begin = 0; begin < n; begin += kPivoted) {
    const int64_t end = std::min(n, begin + kPivoted);
    // What the columns of this tile leave of the diagonal.
    for (int64_t i = begin; i < n; i++) work[i] = a[i * n + i];
    for (int64_t j = begin; j < end; j++) {
      const int64_t pivot = std::max_element(work + j, work + n) - work;
      if (!(work[pivot] > tolerance)) return j;
      if (pivot != j) {
        exchange(n, a, j, pivot);
        std::swap(pivots[j], pivots[pivot]);
        work[pivot] = work[j];
      }
      const double* row = a + j * n;
      const double length = std::sqrt(row[j] - dot(j - begin, row + begin, row + begin));
      if (!(length > 0)) return j;
      a[j * n + j] = length;
      const auto eliminate = [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; i++) {
          double* other = a + i * n;
          other[j] = (other[j] - dot(j - begin, other + begin, row + begin)) / length;
          work[i] -= other[j] * other[j];
        }
      };
      context.team.tasks((n - j - 1 + kRows - 1) / kRows, [&](int64_t part) {
        const int64_t first = j + 1 + part * kRows;
        eliminate(first, std::min(n, first + kRows));
      });
    }
    update(context, n, a, begin, end);
  }
  return n;
}

} // namespace lowrank
