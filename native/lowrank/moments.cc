#include "lowrank/moments.h"

#include <algorithm>

#include "blas/lapack.h"
#include "core/norms.h"

namespace lowrank {
namespace {

// Rows whose products are summed in float32: enough for the full rate of gemm, few enough for its
// rounding.
constexpr int64_t kBlock = 256;
// Columns of the sums that a thread takes at a time.
constexpr int64_t kColumns = 128;

} // namespace

void accumulateMoments(const Context& context, ConstMatrix rows, bool diagonal, double* sum, double* second) {
  requireFinite(rows, context.team);
  const int64_t n = rows.cols;
  context.team.ranges(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < rows.rows; i++) {
      const float* x = rows.row(i);
      for (int64_t j = begin; j < end; j++) sum[j] += x[j];
      if (!diagonal) continue;
      for (int64_t j = begin; j < end; j++) second[j] += static_cast<double>(x[j]) * x[j];
    }
  });
  if (diagonal) return;
  const int64_t blocks = (n + kColumns - 1) / kColumns, members = context.team.size();
  const Buffer<float> products(context.memory, members * n * kColumns);
  for (int64_t begin = 0; begin < rows.rows; begin += kBlock) {
    context.control.check();
    const ConstMatrix x = rows.rowRange(begin, std::min(begin + kBlock, rows.rows));
    context.team.run([&](int part) {
      float* product = products.data() + part * n * kColumns;
      for (int64_t block = part; block < blocks; block += members) {
        // Rows from the diagonal on.
        const int64_t first = block * kColumns, width = std::min(kColumns, n - first), height = n - first;
        blas::gemm(true, false, height, width, x.rows, 1, x.data + first, x.stride, x.data + first, x.stride, 0,
                   product, width);
        for (int64_t i = 0; i < height; i++) {
          double* target = second + (first + i) * n + first;
          for (int64_t j = 0; j < std::min(width, i + 1); j++) target[j] += product[i * width + j];
        }
      }
    });
  }
}

} // namespace lowrank
