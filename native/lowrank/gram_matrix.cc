#include "lowrank/gram_matrix.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "blas/symmetric.h"
#include "core/failure.h"

namespace lowrank {
namespace {

// Rows (or columns) of w that are widened to float64 at a time.
constexpr int64_t kPanel = 256;

// Rows of the Gram matrix that are formed together: gemm packs all columns for them.
int64_t rowsTogether(int64_t order) { return order < 2048 ? 128 : 256; }
static_assert(128 % kSymmetricBlock == 0);

} // namespace

template <class T>
void addGram(const Context& context, bool tall, int64_t order, int64_t inner, const T* panel, int64_t stride, T beta,
             T* gram, int64_t gramStride) {
  const int64_t together = rowsTogether(order);
  context.team.tasks((order + together - 1) / together, [&](int64_t block) {
    if (context.control.cancelled()) return;
    const int64_t begin = block * together, rows = std::min(together, order - begin);
    const T* from = panel + begin * (tall ? 1 : stride);
    blas::gemm(tall, !tall, rows, order - begin, inner, T{1}, from, stride, from, stride, beta,
               gram + begin * gramStride + begin, gramStride);
  });
}

template void addGram(const Context&, bool, int64_t, int64_t, const float*, int64_t, float, float*, int64_t);
template void addGram(const Context&, bool, int64_t, int64_t, const double*, int64_t, double, double*, int64_t);

Buffer<double> gramMatrix(const Context& context, ConstMatrix w, int64_t stride) {
  const bool tall = w.rows >= w.cols;
  const int64_t order = std::min(w.rows, w.cols), longer = std::max(w.rows, w.cols);
  Buffer<double> gram(context.memory, order * stride);
  const Buffer<double> wide(context.memory, order * std::min(kPanel, longer));
  for (int64_t begin = 0; begin < longer; begin += kPanel) {
    context.control.check();
    const int64_t end = std::min(begin + kPanel, longer);
    const ConstMatrix panel = tall ? w.rowRange(begin, end) : w.colRange(begin, end);
    context.team.ranges(panel.rows, 1, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; i++) std::copy_n(panel.row(i), panel.cols, wide.data() + i * panel.cols);
    });
    addGram(context, tall, order, end - begin, wide.data(), panel.cols, begin == 0 ? 0.0 : 1.0, gram.data(), stride);
  }
  context.control.check();
  for (int64_t i = 0; i < order; i++) {
    // Every number of w was read once, and its square is in one of these.
    if (!std::isfinite(gram[i * stride + i])) throw Failure("ERR_NOT_FINITE", "the Gram matrix is not finite");
    std::fill(gram.data() + i * stride + order, gram.data() + (i + 1) * stride, 0.0);
  }
  return gram;
}

int64_t gramMatrixBytes(int64_t m, int64_t n, int64_t stride) {
  const int64_t order = std::min(m, n), size = sizeof(double);
  return size * order * (stride + std::min(kPanel, std::max(m, n)));
}

} // namespace lowrank
