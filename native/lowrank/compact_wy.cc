#include "lowrank/compact_wy.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"

namespace lowrank {
namespace {

// From here down matrix times vector is faster than products of matrices this narrow.
constexpr int64_t kLeastRows = 8;

template <class T> struct Panel {
  int64_t m;
  T* a;
  int64_t stride;
  T* r;
  int64_t strideR;
  T* t;
  int64_t strideT;

  T* row(int64_t i) const { return a + i * stride; }

  // Rows [begin, end) one after the other; what they have of R is to the left of their first
  // element.
  void oneByOne(int64_t begin, int64_t end) const {
    T products[kLeastRows * kLeastRows];
    const int64_t rows = end - begin, length = m - begin;
    for (int64_t i = begin; i < end; i++) {
      T beta, tail[kLeastRows];
      const T tau = reflect(m - i, row(i) + i, beta);
      std::copy(row(i), row(i) + i, r + i * strideR);
      r[i * strideR + i] = beta;
      std::fill(row(i), row(i) + i, T{0});
      t[i * strideT + i] = tau;
      blas::gemv(false, end - i - 1, m - i, 1, row(i + 1) + i, stride, row(i) + i, 0, tail);
      blas::ger(end - i - 1, m - i, -tau, tail, row(i) + i, row(i + 1) + i, stride);
    }
    blas::gemm(false, true, rows, rows, length, 1, row(begin) + begin, stride, row(begin) + begin, stride, 0, products,
               kLeastRows);
    for (int64_t j = 1; j < rows; j++) {
      for (int64_t i = 0; i < j; i++) {
        T sum = 0;
        for (int64_t l = i; l < j; l++) sum += t[(begin + i) * strideT + begin + l] * products[l * kLeastRows + j];
        t[(begin + i) * strideT + begin + j] = -sum * t[(begin + j) * strideT + begin + j];
      }
    }
  }

  // Rows [first, last) = themselves Q for the reflectors [begin, end).
  void apply(int64_t begin, int64_t end, int64_t first, int64_t last) const {
    // Together they are at most kPanelRows.
    const int64_t rows = last - first, width = end - begin, length = m - begin;
    T y[kPanelRows * kPanelRows / 4], yt[kPanelRows * kPanelRows / 4];
    const T* v = row(begin) + begin;
    blas::gemm(false, true, rows, width, length, 1, row(first) + begin, stride, v, stride, 0, y, width);
    blas::gemm(false, false, rows, width, width, 1, y, width, t + begin * strideT + begin, strideT, 0, yt, width);
    blas::gemm(false, false, rows, length, width, -1, yt, width, v, stride, 1, row(first) + begin, stride);
  }

  void factorise(int64_t begin, int64_t end) const {
    if (end - begin <= kLeastRows) return oneByOne(begin, end);
    const int64_t middle = begin + (end - begin) / 2;
    factorise(begin, middle);
    apply(begin, middle, middle, end);
    factorise(middle, end);
    joinProducts(middle - begin, end - begin, m - begin, row(begin) + begin, stride, t + begin * strideT + begin,
                 strideT);
  }
};

} // namespace

template <class T> T reflect(int64_t m, T* x, T& beta) {
  double squares[4] = {};
  int64_t i = 1;
  for (; i + 4 <= m; i += 4) {
    for (int l = 0; l < 4; l++) squares[l] += static_cast<double>(x[i + l]) * x[i + l];
  }
  for (; i < m; i++) squares[0] += static_cast<double>(x[i]) * x[i];
  const double tail = squares[0] + squares[1] + squares[2] + squares[3], first = x[0];
  beta = x[0];
  x[0] = 1;
  if (tail == 0) return 0;
  const double length = -std::copysign(std::sqrt(first * first + tail), first), scale = 1 / (first - length);
  for (int64_t j = 1; j < m; j++) x[j] = static_cast<T>(x[j] * scale);
  beta = static_cast<T>(length);
  return static_cast<T>((length - first) / length);
}

template float reflect(int64_t, float*, float&);
template double reflect(int64_t, double*, double&);

template <class T>
void joinProducts(int64_t h, int64_t b, int64_t m, const T* v, int64_t stride, T* t, int64_t strideT) {
  T g[kPanelRows * kPanelRows], gt[kPanelRows * kPanelRows];
  const int64_t rest = b - h;
  blas::gemm(false, true, h, rest, m - h, 1, v + h, stride, v + h * stride + h, stride, 0, g, kPanelRows);
  blas::gemm(false, false, h, rest, rest, 1, g, kPanelRows, t + h * strideT + h, strideT, 0, gt, kPanelRows);
  blas::gemm(false, false, h, rest, h, -1, t, strideT, gt, kPanelRows, 0, t + h, strideT);
}

template <class T> void factoriseRows(int64_t b, int64_t m, T* a, int64_t stride, T* r, T* t, int64_t strideT) {
  const Panel<T> panel{m, a, stride, r, b, t, strideT};
  const int64_t reflectors = std::min(b, m);
  for (int64_t i = 0; i < b; i++) std::fill_n(t + i * strideT, b, T{0});
  panel.factorise(0, reflectors);
  if (reflectors == b) return;
  panel.apply(0, reflectors, reflectors, b);
  for (int64_t i = reflectors; i < b; i++) {
    std::copy_n(panel.row(i), m, r + i * b);
    std::fill_n(panel.row(i), m, T{0});
  }
}

template void factoriseRows(int64_t, int64_t, float*, int64_t, float*, float*, int64_t);
template void factoriseRows(int64_t, int64_t, double*, int64_t, double*, double*, int64_t);
template void joinProducts(int64_t, int64_t, int64_t, const float*, int64_t, float*, int64_t);
template void joinProducts(int64_t, int64_t, int64_t, const double*, int64_t, double*, int64_t);

} // namespace lowrank
