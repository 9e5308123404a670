#include "lowrank/singular_values.h"

#include <algorithm>
#include <cmath>

#include "blas/skinny.h"
#include "blas/symmetric.h"
#include "core/failure.h"
#include "core/norms.h"
#include "lowrank/gram_matrix.h"
#include "lowrank/tridiagonal.h"
#include "lowrank/tridiagonal_form.h"

namespace lowrank {
namespace {

int64_t strideOf(int64_t order) { return spreadStride(Householder<double>::width(order)); }

} // namespace

Buffer<double> squaredSingularValues(const Context& context, ConstMatrix w) {
  requireFinite(w, context.team);
  const int64_t n = std::min(w.rows, w.cols), stride = strideOf(n);
  Buffer<double> gram = gramMatrix(context, w, stride);
  context.progress(0.3);
  context.control.check();
  const Buffer<double> d(context.memory, n), e(context.memory, n);
  tridiagonalise(context, n, gram.data(), stride, d.data(), e.data());
  gram.reset();
  context.progress(0.9);
  const Tridiagonal form(context, n, d.data(), e.data());
  Buffer<double> values(context.memory, n);
  for (int64_t i = 0; i < n; i++) values[i] = std::max(form.value(i), 0.0);
  return values;
}

int64_t squaredSingularValuesBytes(int64_t m, int64_t n, int threads) {
  const int64_t order = std::min(m, n), stride = strideOf(order), size = sizeof(double);
  const int64_t reducing = size * order * (stride + 2) + tridiagonaliseBytes(order, threads);
  return std::max({gramMatrixBytes(m, n, stride), reducing, 3 * size * order + Tridiagonal::bytes(order)});
}

void singularValues(const Context& context, ConstMatrix w, float* s) {
  const Buffer<double> squares = squaredSingularValues(context, w);
  for (int64_t i = 0; i < squares.size(); i++) s[i] = static_cast<float>(std::sqrt(squares[i]));
}

} // namespace lowrank
