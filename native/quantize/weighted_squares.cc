#include "quantize/weighted_squares.h"

#include <algorithm>

#include "blas/lapack.h"
#include "core/failure.h"
#include "core/norms.h"

namespace lowrank {
namespace {

// Rows that a thread takes through the product in float64 at a time.
constexpr int64_t kRows = 64;

} // namespace

double weightedSquares(const Context& context, ConstMatrix e, const Moments* moments) {
  requireFinite(e, context.team);
  if (moments && moments->kind == Moments::outputs) {
    throw Failure("ERR_ARGUMENT", "moments of the outputs do not weigh the numbers of a row");
  }
  const int64_t m = e.rows, n = e.cols, panels = (m + kRows - 1) / kRows, parts = context.team.size();
  const bool full = moments && moments->kind == Moments::inputs;
  const int64_t size = full ? 2 * kRows * n : 1;
  const Buffer<double> scratch(context.memory, parts * size), sums(context.memory, panels);
  context.team.run([&](int part) {
    for (int64_t panel = part; panel < panels; panel += parts) {
      if (context.control.cancelled()) return;
      const int64_t first = panel * kRows, rows = std::min(kRows, m - first);
      double sum = 0;
      if (full) {
        double *wide = scratch.data() + part * size, *product = wide + kRows * n;
        for (int64_t i = 0; i < rows; i++) std::copy_n(e.row(first + i), n, wide + i * n);
        blas::gemm(rows, n, n, wide, moments->values, product);
        for (int64_t i = 0; i < rows * n; i++) sum += wide[i] * product[i];
      } else {
        for (int64_t i = 0; i < rows; i++) {
          const float* row = e.row(first + i);
          for (int64_t j = 0; j < n; j++)
            sum += static_cast<double>(row[j]) * row[j] * (moments ? moments->values[j] : 1);
        }
      }
      sums[panel] = sum;
    }
  });
  context.control.check();
  double sum = 0;
  for (int64_t panel = 0; panel < panels; panel++) sum += sums[panel];
  return std::max(sum, 0.0);
}

} // namespace lowrank
