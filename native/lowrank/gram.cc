#include "lowrank/gram.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "blas/lease.h"
#include "core/failure.h"
#include "lowrank/factors.h"
#include "lowrank/gain.h"

namespace lowrank {
namespace {

// Rows (or columns) of w that are widened to float64 at a time.
constexpr int64_t kPanel = 256;

} // namespace

template <class T>
Gram<T>::Gram(const Context& context, ConstMatrix w, int64_t k, bool smallest)
    : context_(context), w_(w), k_(k), smallest_(smallest), tall_(w.rows >= w.cols), order_(std::min(w.rows, w.cols)),
      known_(smallest ? k : std::min(k + 1, order_)), values_(context.memory, known_),
      vectors_(context.memory, known_ * order_) {
  Buffer<T> gram(context.memory, order_ * order_);
  product(gram);
  context.progress(0.3);
  context.control.check();
  for (int64_t i = 0; i < order_; i++) trace_ += static_cast<double>(gram[i * order_ + i]);
  // A caller's array that changes meanwhile could have brought a NaN, from which LAPACK may never return.
  for (int64_t i = 0; i < order_; i++) {
    for (int64_t j = i; j < order_; j++) {
      if (!std::isfinite(gram[i * order_ + j])) throw Failure("ERR_NOT_FINITE", "the Gram matrix is not finite");
    }
  }
  const auto size = lapack::eigenWork<T>(order_, known_);
  Buffer<T> work(context.memory, size.work);
  Buffer<int> integers(context.memory, size.integers);
  const WideBlas wide(context.team.size());
  if constexpr (std::is_same_v<T, float>) {
    converged_ = lapack::eigen<T>(order_, known_, smallest, gram.data(), values_.data(), vectors_.data(), work.data(),
                                  size, integers.data());
    separate();
  } else {
    Buffer<T> vectors(context.memory, known_ * order_);
    converged_ = lapack::eigen<T>(order_, known_, smallest, gram.data(), values_.data(), vectors.data(), work.data(),
                                  size, integers.data());
    for (int64_t i = 0; i < vectors.size(); i++) vectors_[i] = static_cast<float>(vectors[i]);
  }
  context.progress(0.8);
}

// Eigenvectors of values that float32 can hardly tell apart come out less orthogonal than others.
template <class T> void Gram<T>::separate() {
  constexpr int64_t kApart = 8; // units of the largest value
  const double close = kApart * std::numeric_limits<T>::epsilon() * values_[0];
  bool clustered = false;
  for (int64_t i = 0; i + 1 < known_; i++) clustered = clustered || values_[i] - values_[i + 1] < close;
  if (!clustered) return;
  const Buffer<float> tau(context_.memory, known_), work(context_.memory, lapack::orthonormaliseWork(known_));
  lapack::orthonormaliseRows(known_, order_, vectors_.data(), tau.data(), work.data());
}

// Eigenvectors of values closer than the rounding of the matrix are mixed, and so are the lengths of their images.
template <class T> bool Gram<T>::knowsSingularValues() const {
  if (known_ == 0) return true;
  constexpr double kKnown = 1e-5; // of the largest singular value
  const T last = std::max(values_[std::min(k_, known_ - 1)], T{0});
  return rounding() <= 4 * kKnown * std::sqrt(static_cast<double>(values_[0]) * last);
}

template <class T> double Gram<T>::rounding() const {
  return std::numeric_limits<T>::epsilon() * values_[0] * (4 + std::sqrt(static_cast<double>(order_)) / 4);
}

template <class T> void Gram<T>::product(Buffer<T>& gram) const {
  const WideBlas wide(context_.team.size());
  if constexpr (std::is_same_v<T, float>) {
    lapack::syrk(!tall_, w_.rows, w_.cols, w_.data, w_.stride, 0.0f, gram.data(), order_);
  } else {
    const int64_t height = tall_ ? std::min(kPanel, w_.rows) : w_.rows;
    const int64_t width = tall_ ? w_.cols : std::min(kPanel, w_.cols);
    Buffer<T> panel(context_.memory, height * width);
    for (int64_t row = 0; row < w_.rows; row += height) {
      for (int64_t col = 0; col < w_.cols; col += width) {
        context_.control.check();
        const int64_t rows = std::min(height, w_.rows - row), cols = std::min(width, w_.cols - col);
        for (int64_t i = 0; i < rows; i++) {
          for (int64_t j = 0; j < cols; j++) panel[i * cols + j] = w_.row(row + i)[col + j];
        }
        lapack::syrk(!tall_, rows, cols, panel.data(), cols, row + col == 0 ? 0.0 : 1.0, gram.data(), order_);
      }
    }
  }
}

template <class T> void Gram<T>::factors(float* b, float* a, float* s) const {
  const int64_t m = w_.rows, n = w_.cols;
  Team& team = context_.team;
  for (int64_t i = 0; i < k_; i++) s[i] = static_cast<float>(std::sqrt(std::max(values_[i], T{0})));
  if (tall_) {
    gemm(team, false, true, m, k_, n, 1, w_.data, w_.stride, vectors_.data(), n, b, k_);
    std::copy(vectors_.data(), vectors_.data() + k_ * n, a);
    if (std::is_same_v<T, float>) columnLengths(ConstMatrix(b, m, k_), s);
    return;
  }
  gemm(team, false, false, k_, n, m, 1, vectors_.data(), m, w_.data, w_.stride, a, n);
  if (std::is_same_v<T, float>) rowLengths(ConstMatrix(a, k_, n), s);
  for (int64_t i = 0; i < k_; i++) {
    for (int64_t j = 0; j < m; j++) b[j * k_ + i] = vectors_[i * m + j];
  }
  moveSingularValues(context_, w_, Matrix(b, m, k_), Matrix(a, k_, n), s);
}

template <class T> double Gram<T>::nextSingularValue() const {
  const int64_t index = smallest_ ? k_ - 1 : k_;
  // An eigenvalue in float32 is known to rounding of the largest, so its root to far less.
  if (std::is_same_v<T, float> && index < known_) {
    return imageLength(context_, w_, !tall_, vectors_.data() + index * order_);
  }
  return index >= 0 && index < known_ ? std::sqrt(std::max<double>(values_[index], 0)) : 0;
}

template <class T> double Gram<T>::sumOfSquares(int64_t count) const {
  double sum = 0;
  for (int64_t i = count; i-- > 0;) sum += std::max<double>(values_[i], 0);
  return sum;
}

template <class T> double Gram<T>::noise() const {
  // The roundings of equal terms agree, so sums of a constant matrix have the largest error there can be.
  const auto terms = static_cast<double>(std::max(w_.rows, w_.cols));
  return std::numeric_limits<T>::epsilon() * trace_ * (4 * std::sqrt(terms) + terms);
}

template <class T> double Gram<T>::gain() const {
  double sum = 0;
  for (int64_t i = 0; i < k_ && k_ < order_; i++) {
    sum += gainAcross(rounding(), values_[i] - std::max(values_[k_], T{0}));
  }
  return sum;
}

template <class T> int64_t Gram<T>::bytes(int64_t m, int64_t n, int64_t k, bool smallest) {
  const int64_t order = std::min(m, n), known = smallest ? k : std::min(k + 1, order), size = sizeof(T);
  const auto eigen = lapack::eigenWork<T>(order, known);
  const int64_t held = known * (size + 4 * order), gram = size * order * order;
  const int64_t solving = size * std::max(eigen.work, known + lapack::orthonormaliseWork(known)) + 4 * eigen.integers +
                          (size == 8 ? size * known * order : 0);
  const int64_t widening = size == 8 ? size * order * std::min(kPanel, std::max(m, n)) : 0;
  const int64_t turning = m < n ? moveSingularValuesBytes(k) : 0;
  return held + std::max(gram + std::max(solving, widening), 4 * ((m + n + 1) * k + std::max(m, n)) + turning);
}

template class Gram<float>;
template class Gram<double>;

} // namespace lowrank
