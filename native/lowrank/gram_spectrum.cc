#include "lowrank/gram_spectrum.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "blas/skinny.h"
#include "core/failure.h"
#include "core/norms.h"
#include "lowrank/gram_matrix.h"

namespace lowrank {
namespace {

// A vector may have a part of at most this squared length in the leading directions.
constexpr double kLeadingPart = 1e-6;

// Rows or columns of w from which the leading directions are taken out at a time.
constexpr int64_t kPanel = 256;

} // namespace

GramSpectrum::GramSpectrum(const Context& context, ConstMatrix w, Stages stages, Buffer<float> leading,
                           std::vector<double> squares)
    : context_(context), tall_(w.rows >= w.cols), order_(std::min(w.rows, w.cols)), stages_(stages),
      stride_(spreadStride(Householder<float>::width(order_))), leading_(std::move(leading)),
      squares_(std::move(squares)), gram_(context.memory, order_ * stride_) {
  product(w);
  context.control.check();
  form_.emplace(context, order_, gram_.data(), stride_, stages);
  const float *d = form_->diagonal(), *e = form_->offDiagonal();
  // A caller's array that is changed meanwhile could bring in a NaN, which has spread by now.
  for (int64_t i = 0; i < order_; i++) {
    if (!std::isfinite(d[i]) || (i + 1 < order_ && !std::isfinite(e[i]))) {
      throw Failure("ERR_NOT_FINITE", "the Gram matrix is not finite");
    }
  }
  tridiagonal_.emplace(context, order_, d, e);
}

void GramSpectrum::product(ConstMatrix w) {
  const int64_t width = Householder<float>::width(order_);
  for (int64_t i = 0; i < order_; i++)
    std::fill(gram_.data() + i * stride_ + order_, gram_.data() + i * stride_ + width, 0.0f);
  if (taken() == 0) return add(w, 0);
  const int64_t inner = tall_ ? w.rows : w.cols;
  for (int64_t begin = 0; begin < inner; begin += kPanel) {
    context_.control.check();
    const int64_t end = std::min(begin + kPanel, inner);
    const ConstMatrix panel = tall_ ? w.rowRange(begin, end) : w.colRange(begin, end);
    const Buffer<float> rest = deflated(panel);
    add(ConstMatrix(rest.data(), panel.rows, panel.cols), begin == 0 ? 0.0f : 1.0f);
  }
}

// gram_ = beta gram_ + the Gram matrix of a panel.
void GramSpectrum::add(ConstMatrix panel, float beta) {
  const int64_t inner = tall_ ? panel.rows : panel.cols;
  addGram(context_, tall_, order_, inner, panel.data, panel.stride, beta, gram_.data(), stride_);
}

// Returns panel (I - V'V), or (I - V'V) panel if w is wide. Projects twice, because rounding leaves
// a part behind the first time.
Buffer<float> GramSpectrum::deflated(ConstMatrix panel) const {
  const int64_t m = panel.rows, n = panel.cols, p = taken();
  Buffer<float> rest(context_.memory, m * n);
  const Buffer<float> parts(context_.memory, p * std::max(m, n));
  copyRows(panel, rest.data());
  for (int round = 0; round < 2; round++) {
    if (tall_) {
      blas::gemm(false, true, m, p, n, 1, rest.data(), n, leading_.data(), order_, 0, parts.data(), p);
      blas::gemm(false, false, m, n, p, -1, parts.data(), p, leading_.data(), order_, 1, rest.data(), n);
    } else {
      blas::gemm(false, false, p, n, m, 1, leading_.data(), order_, rest.data(), n, 0, parts.data(), n);
      blas::gemm(true, false, m, n, p, -1, leading_.data(), order_, parts.data(), n, 1, rest.data(), n);
    }
  }
  return rest;
}

bool GramSpectrum::vectors(int64_t begin, int64_t end, float* rows) const {
  const int64_t p = taken(), from = std::clamp(p, begin, end), count = end - from;
  if (from > begin) std::copy(leading_.data() + begin * order_, leading_.data() + from * order_, rows);
  float* rest = rows + (from - begin) * order_;
  if (!tridiagonal_->vectors(from - p, end - p, rest)) return false;
  form_->transformBack(count, rest);
  if (p == 0) return true;
  // In exact arithmetic they have no part in the leading directions.
  const Buffer<float> parts(context_.memory, count * p);
  gemm(context_.team, false, true, count, p, order_, 1, rest, order_, leading_.data(), order_, parts.data(), p);
  // If only rounding is left of w they may have one, and without it they would not be orthonormal.
  for (int64_t i = 0; i < count; i++) {
    if (!(squares(parts.data() + i * p, p) <= kLeadingPart)) return false;
  }
  context_.team.ranges(count, 1, [&](int64_t first, int64_t last) {
    blas::gemm(false, false, last - first, order_, p, -1, parts.data() + first * p, p, leading_.data(), order_, 1,
               rest + first * order_, order_);
  });
  return true;
}

int64_t GramSpectrum::heldBytes(int64_t order, Stages stages) {
  return 4 * order * spreadStride(Householder<float>::width(order)) + TridiagonalForm::heldBytes(order, stages) +
         Tridiagonal::heldBytes(order);
}

int64_t GramSpectrum::bytes(int64_t order, Stages stages, int threads) {
  const int64_t gram = 4 * order * spreadStride(Householder<float>::width(order));
  return gram + std::max(TridiagonalForm::bytes(order, stages, threads),
                         TridiagonalForm::heldBytes(order, stages) + Tridiagonal::bytes(order));
}

int64_t GramSpectrum::vectorsBytes(int64_t order, Stages stages, int64_t count, int threads) {
  return std::max(Tridiagonal::vectorsBytes(order, count, threads),
                  TridiagonalForm::transformBytes(order, stages, threads));
}

int64_t GramSpectrum::leadingBytes(int64_t m, int64_t n, int64_t leading, int64_t count) {
  const int64_t order = std::min(m, n), longer = std::max(m, n);
  return 4 * (std::min(kPanel, longer) * order + leading * (2 * order + longer + count + kPanel)) + 8 * leading;
}

} // namespace lowrank
