#include "lowrank/gram.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "blas/lease.h"
#include "lowrank/factors.h"
#include "lowrank/gram_matrix.h"

namespace lowrank {

Gram::Gram(const Context& context, ConstMatrix w, int64_t k, bool smallest)
    : context_(context), w_(w), k_(k), smallest_(smallest), tall_(w.rows >= w.cols), order_(std::min(w.rows, w.cols)),
      known_(smallest ? k : std::min(k + 1, order_)), values_(context.memory, known_),
      vectors_(context.memory, known_ * order_) {
  const Buffer<double> gram = gramMatrix(context, w, order_);
  context.progress(0.3);
  context.control.check();
  for (int64_t i = 0; i < order_; i++) trace_ += static_cast<double>(gram[i * order_ + i]);
  const auto size = lapack::eigenWork(order_, known_);
  Buffer<double> work(context.memory, size.work);
  Buffer<int> integers(context.memory, size.integers);
  const WideBlas wide(context.team);
  Buffer<double> vectors(context.memory, known_ * order_);
  converged_ = lapack::eigen(order_, known_, smallest, gram.data(), values_.data(), vectors.data(), work.data(), size,
                             integers.data());
  for (int64_t i = 0; i < vectors.size(); i++) vectors_[i] = static_cast<float>(vectors[i]);
  context.progress(0.8);
}

void Gram::factors(float* b, float* a, float* s) const {
  const int64_t m = w_.rows, n = w_.cols;
  Team& team = context_.team;
  for (int64_t i = 0; i < k_; i++) s[i] = static_cast<float>(std::sqrt(std::max(values_[i], 0.0)));
  if (tall_) {
    gemm(team, false, true, m, k_, n, 1, w_.data, w_.stride, vectors_.data(), n, b, k_);
    std::copy(vectors_.data(), vectors_.data() + k_ * n, a);
    return;
  }
  gemm(team, false, false, k_, n, m, 1, vectors_.data(), m, w_.data, w_.stride, a, n);
  for (int64_t i = 0; i < k_; i++) {
    for (int64_t j = 0; j < m; j++) b[j * k_ + i] = vectors_[i * m + j];
  }
  moveSingularValues(context_, w_, Matrix(b, m, k_), Matrix(a, k_, n), s);
}

double Gram::nextSingularValue() const {
  const int64_t index = smallest_ ? k_ - 1 : k_;
  return index >= 0 && index < known_ ? std::sqrt(std::max<double>(values_[index], 0)) : 0;
}

double Gram::sumOfSquares(int64_t count) const {
  double sum = 0;
  for (int64_t i = count; i-- > 0;) sum += std::max<double>(values_[i], 0);
  return sum;
}

double Gram::noise() const {
  // The roundings of equal terms agree, so sums of a constant matrix have the largest error there
  // can be.
  const auto terms = static_cast<double>(std::max(w_.rows, w_.cols));
  return std::numeric_limits<double>::epsilon() * trace_ * (4 * std::sqrt(terms) + terms);
}

int64_t Gram::bytes(int64_t m, int64_t n, int64_t k, bool smallest) {
  const int64_t order = std::min(m, n), known = smallest ? k : std::min(k + 1, order), size = sizeof(double);
  const auto eigen = lapack::eigenWork(order, known);
  const int64_t held = known * (size + 4 * order), gram = size * order * order;
  const int64_t solving = size * (eigen.work + known * order) + 4 * eigen.integers;
  const int64_t turning = m < n ? moveSingularValuesBytes(k, n) : 0;
  return held +
         std::max({gramMatrixBytes(m, n, order), gram + solving, 4 * ((m + n + 1) * k + std::max(m, n)) + turning});
}

} // namespace lowrank
