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

// From this order on, the reduction over a band is faster, because it stays in the cache.
constexpr int64_t kTwoStages = 1024;

} // namespace

std::optional<Buffer<double>> squaredSingularValues(const Context& context, ConstMatrix w) {
  requireFinite(w, context.team);
  const int64_t n = std::min(w.rows, w.cols), stride = n < kTwoStages ? n : spreadStride(n);
  const Buffer<double> gram = gramMatrix(context, w, stride);
  context.progress(0.3);
  context.control.check();
  Buffer<double> d(context.memory, n);
  const Buffer<double> e(context.memory, n);
  if (n >= kTwoStages) {
    tridiagonalise(context, n, gram.data(), stride, d.data(), e.data());
  } else {
    const Buffer<double> work(context.memory, lapack::tridiagonaliseWork(n));
    const WideBlas wide(context.team.size());
    lapack::tridiagonalise(n, gram.data(), d.data(), e.data(), work.data());
  }
  context.progress(0.9);
  if (!lapack::sterf(n, d.data(), e.data())) return std::nullopt;
  return d;
}

int64_t squaredSingularValuesBytes(int64_t m, int64_t n) {
  const int64_t order = std::min(m, n), size = sizeof(double);
  const int64_t stride = order < kTwoStages ? order : spreadStride(order), spread = size * order * (stride - order);
  const int64_t reduction = order < kTwoStages ? size * lapack::tridiagonaliseWork(order) : tridiagonaliseBytes(order);
  return spread + std::max(gramMatrixBytes(m, n), size * order * (order + 2) + reduction);
}

bool singularValues(const Context& context, ConstMatrix w, float* s) {
  const auto squares = squaredSingularValues(context, w);
  if (!squares) return false;
  const int64_t n = squares->size();
  for (int64_t i = 0; i < n; i++) s[i] = static_cast<float>(std::sqrt(std::max((*squares)[n - 1 - i], 0.0)));
  return true;
}

} // namespace lowrank
