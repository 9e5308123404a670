#include "lowrank/householder.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "core/flush_denormals.h"
#include "core/norms.h"

namespace lowrank {
namespace {

// Rows that are reduced before the rest is updated.
constexpr int64_t kPanel = 32;

// Rows that a thread owns together, a multiple of kSymmetricBlock.
constexpr int64_t kOwned = 64;

// Reflectors that the back-transformation applies together, and vectors that it works on at a time.
constexpr int64_t kReflectors = 64;
constexpr int64_t kStrip = 256;

// Below this order of what is left, one thread is faster than several that wait for each other.
constexpr int64_t kShared = 160;

int64_t blockOf(int64_t i) { return i / kSymmetricBlock * kSymmetricBlock; }

// 0, 1, .., size - 1, size - 1, .., 1, 0, 0, ..: rows become shorter, and every thread gets as many
// long ones.
int64_t ownerOf(int64_t block, int64_t size) {
  const int64_t place = block % (2 * size);
  return std::min(place, 2 * size - 1 - place);
}

} // namespace

template <class T>
Householder<T>::Householder(const Context& context, int64_t n, T* a, int64_t stride, Keep keep)
    : context_(context), n_(n), width_(width(n)), a_(a), stride_(stride), d_(context.memory, n), e_(context.memory, n),
      tau_(context.memory, n), t_(context.memory, keep == Keep::vectors ? (n + kReflectors) * kReflectors : 0),
      left_(context.memory, 2 * kPanel * width_), right_(context.memory, 2 * kPanel * width_),
      v_(context.memory, width_), products_(context.memory, width_ * context.team.size()),
      dots_(context.memory, 2 * kPanel * context.team.size()), sums_(context.memory, 2 * context.team.size()) {
  reduce();
  if (keep == Keep::vectors) aggregate();
  for (Buffer<T>* done : {&left_, &right_, &v_, &products_, &dots_}) done->reset();
  sums_.reset();
}

template <class T> int Householder<T>::parts(int64_t from) const {
  return n_ - from < kShared ? 1 : context_.team.size();
}

template <class T> template <class Work> void Householder<T>::share(int parts, const Work& work) const {
  if (parts == 1) {
    work(0);
  } else {
    context_.team.run(work);
  }
}

template <class T> void Householder<T>::reduce() {
  std::fill_n(tau_.data(), n_, T{0});
  std::fill_n(left_.data(), left_.size(), T{0});
  std::fill_n(right_.data(), right_.size(), T{0});
  const int64_t reflectors = std::max<int64_t>(n_ - 2, 0);
  for (int64_t begin = 0; begin < reflectors; begin += kPanel) {
    context_.control.check();
    const int64_t end = std::min(begin + kPanel, reflectors);
    for (int64_t j = begin; j < end; j++) eliminate(begin, j, end);
    update(begin, end);
  }
  for (int64_t i = reflectors; i < n_; i++) {
    d_[i] = row(i)[i];
    if (i + 1 < n_) e_[i] = row(i)[i + 1];
  }
}

// v and tau with (1 - tau v v') x = e_j e_1 and v_1 = 1 for the row x right of the diagonal;
// `squared` is |x|^2 without its first element.
template <class T> void Householder<T>::reflect(int64_t j, double squared) {
  T* x = row(j);
  d_[j] = x[j];
  const double first = x[j + 1];
  std::fill(v_.data() + blockOf(j), v_.data() + j + 1, T{0});
  std::fill(v_.data() + n_, v_.data() + width_, T{0});
  v_[j + 1] = 1;
  if (squared == 0) {
    e_[j] = x[j + 1];
    tau_[j] = 0;
    std::fill(v_.data() + j + 2, v_.data() + n_, T{0});
  } else {
    const double beta = -std::copysign(std::hypot(first, std::sqrt(squared)), first);
    e_[j] = static_cast<T>(beta);
    tau_[j] = static_cast<T>((beta - first) / beta);
    const double inverse = 1 / (first - beta);
    for (int64_t i = j + 2; i < n_; i++) v_[i] = static_cast<T>(x[i] * inverse);
  }
  std::copy(v_.data() + j + 1, v_.data() + n_, x + j + 1);
}

// One reflector v for row j of the panel, w = tau (A v - (tau / 2) (v' A v) v) with A as the panel
// has changed it, and the next row of the panel.
template <class T> void Householder<T>::eliminate(int64_t begin, int64_t j, int64_t end) {
  const int64_t known = 2 * (j - begin), from = blockOf(j + 1);
  if (j == begin) reflect(j, squares(row(j) + j + 2, n_ - j - 2));
  T *v = left_.data() + known * width_, *w = v + width_;
  std::copy(v_.data() + from, v_.data() + width_, v + from);
  std::copy(v_.data() + from, v_.data() + width_, right_.data() + (known + 1) * width_ + from);

  const int size = parts(j);
  const auto range = [&](int part, const auto& work) {
    const int64_t blocks = (width_ - from) / kSymmetricBlock;
    const int64_t first = from + blocks * part / size * kSymmetricBlock,
                  last = from + blocks * (part + 1) / size * kSymmetricBlock;
    if (first < last) work(first, last);
  };
  share(size, [&](int part) {
    T* product = products_.data() + part * width_;
    std::fill(product + from, product + width_, T{0});
    if (tau_[j] != 0) {
      for (int64_t block = from / kOwned; block * kOwned < n_; block++) {
        if (size > 1 && ownerOf(block, size) != part) continue;
        symmetricRows(std::max(block * kOwned, from), std::min((block + 1) * kOwned, n_), width_, a_, stride_,
                      v_.data(), product);
      }
    }
    double sum = 0;
    for (int64_t i = from; i < width_; i++) sum += static_cast<double>(product[i]) * v_[i];
    sums_[part] = sum;
    T* dots = dots_.data() + part * 2 * kPanel;
    std::fill_n(dots, known, T{0});
    range(part, [&](int64_t first, int64_t last) {
      blas::gemv(false, known, last - first, 1, left_.data() + first, width_, v_.data() + first, 0, dots);
    });
  });
  double quadratic = 0; // v' A v
  T coefficients[2 * kPanel];
  for (int part = 0; part < size; part++) quadratic += sums_[part];
  for (int64_t l = 0; l < known; l++) {
    coefficients[l] = dots_[l];
    for (int part = 1; part < size; part++) coefficients[l] += dots_[part * 2 * kPanel + l];
  }
  for (int64_t l = 0; l < known; l += 2) quadratic -= 2.0 * coefficients[l] * coefficients[l + 1];

  const auto tau = static_cast<double>(tau_[j]), along = tau * tau * quadratic / 2;
  const int64_t next = j + 1;
  T factors[2 * kPanel];
  if (next < end) {
    double image = 0; // element `next` of w, which every part needs
    for (int part = 0; part < size; part++) image += products_[part * width_ + next];
    for (int64_t l = 0; l < known; l++) {
      image -= static_cast<double>(right_[l * width_ + next]) * coefficients[l];
      factors[l] = left_[l * width_ + next];
    }
    factors[known] = 1;
    factors[known + 1] = static_cast<T>(tau * image - along);
  }
  share(size, [&](int part) {
    sums_[part] = 0;
    range(part, [&](int64_t first, int64_t last) {
      T* product = products_.data() + first;
      for (int other = 1; other < size; other++) {
        for (int64_t i = 0; i < last - first; i++) product[i] += product[other * width_ + i];
      }
      blas::gemv(true, known, last - first, -1, right_.data() + first, width_, coefficients, 1, product);
      T* copy = right_.data() + known * width_;
      for (int64_t i = first; i < last; i++) {
        copy[i] = w[i] = static_cast<T>(tau * product[i - first] - along * v_[i]);
      }
      if (next >= end) return;
      blas::gemv(true, known + 2, last - first, -1, right_.data() + first, width_, factors, 1, row(next) + first);
      const int64_t tail = std::max(first, next + 2), stop = std::min(last, n_);
      if (tail < stop) sums_[part] = squares(row(next) + tail, stop - tail);
    });
  });
  if (next >= end) return;
  double squared = 0;
  for (int part = 0; part < size; part++) squared += sums_[part];
  reflect(next, squared);
}

// The rest of A -= sum_l left_l right_l'.
template <class T> void Householder<T>::update(int64_t begin, int64_t end) {
  const int64_t pairs = 2 * (end - begin);
  const int size = parts(end);
  share(size, [&](int part) {
    for (int64_t block = end / kOwned; block * kOwned < n_; block++) {
      if (size > 1 && ownerOf(block, size) != part) continue;
      const int64_t first = std::max(block * kOwned, end), last = std::min((block + 1) * kOwned, n_);
      const int64_t col = blockOf(first);
      blas::gemm(true, false, last - first, width_ - col, pairs, -1, left_.data() + first, width_, right_.data() + col,
                 width_, 1, row(first) + col, stride_);
    }
  });
}

// Of each block of reflectors, rows of `a` now, what lies left of them becomes 0, and T is found as
// in LAPACK's larft (Schreiber and Van Loan 1989).
template <class T> void Householder<T>::aggregate() {
  const int64_t reflectors = std::max<int64_t>(n_ - 2, 0), blocks = (reflectors + kReflectors - 1) / kReflectors;
  context_.team.run([&](int part) {
    for (int64_t block = part; block < blocks; block += context_.team.size()) {
      const int64_t begin = block * kReflectors, count = std::min(kReflectors, reflectors - begin);
      for (int64_t i = begin; i < begin + count; i++) std::fill(row(i) + begin, row(i) + i + 1, T{0});
      T inner[kReflectors * kReflectors];
      blas::gemm(false, true, count, count, n_ - begin, 1, row(begin) + begin, stride_, row(begin) + begin, stride_, 0,
                 inner, count);
      T* t = t_.data() + block * kReflectors * kReflectors;
      std::fill_n(t, kReflectors * kReflectors, T{0});
      for (int64_t l = 0; l < count; l++) {
        const double tau = tau_[begin + l];
        for (int64_t i = 0; i < l; i++) {
          double sum = 0;
          for (int64_t h = i; h < l; h++) sum += static_cast<double>(t[i * kReflectors + h]) * inner[h * count + l];
          t[i * kReflectors + l] = static_cast<T>(-tau * sum);
        }
        t[l * kReflectors + l] = static_cast<T>(tau);
      }
    }
  });
}

template <class T> void Householder<T>::transformBack(int64_t count, T* rows) const {
  const int64_t reflectors = std::max<int64_t>(n_ - 2, 0), blocks = (reflectors + kReflectors - 1) / kReflectors;
  const Buffer<T> work(context_.memory, 2 * kStrip * kReflectors * context_.team.size());
  context_.team.run([&](int part) {
    const FlushDenormals flush;
    const int64_t size = context_.team.size(), end = count * (part + 1) / size;
    T *x = work.data() + part * 2 * kStrip * kReflectors, *y = x + kStrip * kReflectors;
    for (int64_t begin = count * part / size; begin < end; begin += kStrip) {
      const int64_t height = std::min(kStrip, end - begin);
      for (int64_t block = blocks; block-- > 0;) {
        if (context_.control.cancelled()) return;
        // z <- (1 - V T V') z, for rows: Z <- Z - ((Z V) T') V'.
        const int64_t first = block * kReflectors, wide = std::min(kReflectors, reflectors - first);
        const T* v = row(first) + first;
        T* z = rows + begin * n_ + first;
        blas::gemm(false, true, height, wide, n_ - first, 1, z, n_, v, stride_, 0, x, kReflectors);
        blas::gemm(false, true, height, wide, wide, 1, x, kReflectors, t_.data() + block * kReflectors * kReflectors,
                   kReflectors, 0, y, kReflectors);
        blas::gemm(false, false, height, n_ - first, wide, -1, y, kReflectors, v, stride_, 1, z, n_);
      }
    }
  });
  context_.control.check();
}

template <class T> int64_t Householder<T>::heldBytes(int64_t n, Keep keep) {
  constexpr int64_t size = sizeof(T);
  return size * (3 * n + (keep == Keep::vectors ? (n + kReflectors) * kReflectors : 0));
}

template <class T> int64_t Householder<T>::bytes(int64_t n, int threads, Keep keep) {
  constexpr int64_t size = sizeof(T);
  return heldBytes(n, keep) + size * (4 * kPanel * width(n) + width(n) * (1 + threads) + 2 * kPanel * threads) +
         16 * threads;
}

template <class T> int64_t Householder<T>::transformBytes(int threads) {
  return 2 * static_cast<int64_t>(sizeof(T)) * kStrip * kReflectors * threads;
}

template class Householder<float>;
template class Householder<double>;

} // namespace lowrank
