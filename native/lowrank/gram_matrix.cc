#include "lowrank/gram_matrix.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "blas/lease.h"
#include "core/failure.h"

namespace lowrank {
namespace {

// Rows (or columns) of w that are widened to float64 at a time.
constexpr int64_t kPanel = 256;

} // namespace

Buffer<double> gramMatrix(const Context& context, ConstMatrix w, int64_t stride) {
  const bool tall = w.rows >= w.cols;
  const int64_t order = std::min(w.rows, w.cols);
  Buffer<double> gram(context.memory, order * stride);
  const int64_t height = tall ? std::min(kPanel, w.rows) : w.rows;
  const int64_t width = tall ? w.cols : std::min(kPanel, w.cols);
  const Buffer<double> panel(context.memory, height * width);
  const WideBlas wide(context.team.size());
  for (int64_t row = 0; row < w.rows; row += height) {
    for (int64_t col = 0; col < w.cols; col += width) {
      context.control.check();
      const int64_t rows = std::min(height, w.rows - row), cols = std::min(width, w.cols - col);
      for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < cols; j++) panel[i * cols + j] = w.row(row + i)[col + j];
      }
      lapack::syrk(!tall, rows, cols, panel.data(), cols, row + col == 0 ? 0.0 : 1.0, gram.data(), stride);
    }
  }
  for (int64_t i = 0; i < order; i++) {
    for (int64_t j = i; j < order; j++) {
      if (!std::isfinite(gram[i * stride + j])) throw Failure("ERR_NOT_FINITE", "the Gram matrix is not finite");
    }
  }
  return gram;
}

int64_t gramMatrixBytes(int64_t m, int64_t n) {
  const int64_t order = std::min(m, n), size = sizeof(double);
  return size * order * (order + std::min(kPanel, std::max(m, n)));
}

} // namespace lowrank
