#include "lowrank/singular_values.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "blas/lease.h"
#include "blas/skinny.h"
#include "core/memory.h"
#include "core/norms.h"
#include "lowrank/gram_matrix.h"
#include "lowrank/two_stage.h"

namespace lowrank {
namespace {

// From this order on the way over a band is faster: it stays in the cache.
constexpr int64_t kTwoStages = 1024;

} // namespace

bool singularValues(const Context& context, ConstMatrix w, float* s) {
  requireFinite(w, context.team);
  const int64_t n = std::min(w.rows, w.cols), stride = n < kTwoStages ? n : spreadStride(n);
  const Buffer<double> gram = gramMatrix(context, w, stride);
  context.progress(0.3);
  context.control.check();
  const Buffer<double> d(context.memory, n), e(context.memory, n);
  if (n >= kTwoStages) {
    tridiagonalise(context, n, gram.data(), stride, d.data(), e.data());
  } else {
    const Buffer<double> work(context.memory, lapack::tridiagonaliseWork(n));
    const WideBlas wide(context.team.size());
    lapack::tridiagonalise(n, gram.data(), d.data(), e.data(), work.data());
  }
  context.progress(0.9);
  if (!lapack::sterf(n, d.data(), e.data())) return false;
  for (int64_t i = 0; i < n; i++) s[i] = static_cast<float>(std::sqrt(std::max(d[n - 1 - i], 0.0)));
  return true;
}

} // namespace lowrank
