#include "lowrank/interpolative.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "blas/lease.h"
#include "core/failure.h"
#include "core/memory.h"
#include "core/norms.h"

namespace lowrank {

void interpolate(const Context& context, ConstMatrix b, int32_t* order, float* c) {
  requireFinite(b, context.team);
  const int64_t m = b.rows, k = b.cols;
  // Row-major b is column-major b', k x m.
  const Buffer<double> a(context.memory, m * k), work(context.memory, lapack::qrPivotedWork(k, m));
  const Buffer<int> pivots(context.memory, m);
  for (int64_t i = 0; i < m; i++) std::copy_n(b.row(i), k, a.data() + i * k);
  const WideBlas wide(context.team);
  lapack::qrPivoted(k, m, a.data(), pivots.data(), work.data());
  const double first = k > 0 ? std::abs(a[0]) : 0, last = k > 0 ? std::abs(a[k * k - 1]) : 0;
  if (k > 0 && !(last > kEpsilon / 2 * first)) throw Failure("ERR_ARGUMENT", "the factor has dependent columns");
  lapack::solveUpper(k, m - k, a.data(), a.data() + k * k);
  std::copy_n(pivots.data(), m, order);
  for (int64_t i = 0; i < (m - k) * k; i++) c[i] = static_cast<float>(a[k * k + i]);
}

} // namespace lowrank
