// Householder's reduction of symmetric matrices to tridiagonal form, one in each lane (Golub and
// Van Loan 2013, 8.3.1), and the way back for vectors. Included by lane_paths.cc alone, once for
// each width.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "lowrank/lane_products.h"

namespace lowrank::lanes {

template <int Width, class Vector> LANE_INLINE void squareRoot(Vector& x) {
  for (int l = 0; l < Width; l++) x[l] = std::sqrt(x[l]);
}

// What lies this far below the largest entry, squared, is left out: float32 could not square it.
constexpr float kNothing = 1e-30f;

// A step of the reduction: `g` still lacks the update of the last one, g -= v w' + w v'. For `Rows`
// rows from row i of the trailing matrix g on, of which the lower triangle is kept, updates them
// and adds their share of p = g u.
template <int Bytes, int Rows>
LANE_INLINE void updateRows(int64_t i, int64_t stride, float* g, const float* v, const float* w, const float* u,
                            float* p) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  Float vi[Rows], wi[Rows], ui[Rows], sum[Rows] = {};
  for (int r = 0; r < Rows; r++) vi[r] = *V::at(v, i + r), wi[r] = *V::at(w, i + r), ui[r] = *V::at(u, i + r);
  for (int64_t l = 0; l < i; l++) {
    const Float vl = *V::at(v, l), wl = *V::at(w, l), ul = *V::at(u, l);
    Float pl = *V::at(p, l);
    for (int r = 0; r < Rows; r++) {
      Float* entry = V::at(g, (i + r) * stride + l);
      const Float x = *entry - vi[r] * wl - wi[r] * vl;
      *entry = x;
      sum[r] += x * ul;
      pl += x * ui[r];
    }
    *V::at(p, l) = pl;
  }
  for (int r = 0; r < Rows; r++) {
    for (int l = 0; l <= r; l++) {
      Float* entry = V::at(g, (i + r) * stride + i + l);
      const Float x = *entry - vi[r] * wi[l] - wi[r] * vi[l];
      *entry = x;
      sum[r] += x * ui[l];
      if (l < r) sum[l] += x * ui[r];
    }
  }
  for (int r = 0; r < Rows; r++) *V::at(p, i + r) = sum[r];
}

// g (n x n, lower) becomes T with diagonal d and off-diagonal e. Reflector j, I - tau_j v v', v_0 =
// 1, is left in row j above the diagonal, from column j + 1 on. `work` holds 4 n vectors.
template <int Bytes>
LANE_INLINE void tridiagonalise(int64_t n, int64_t stride, float* g, float* d, float* e, float* tau, float* work) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  constexpr int kRows = kManyRegisters<Bytes> ? 4 : 2;
  const Float zero = {}, one = zero + 1.0f;
  // v and w are those of the last update, u and p the ones to come.
  float *v = work, *w = v + n * V::width, *u = w + n * V::width, *p = u + n * V::width;
  std::fill_n(work, 4 * n * V::width, 0.0f);
  for (int64_t j = 0; j + 1 < n; j++) {
    const int64_t m = n - 1 - j;
    float* q = g + ((j + 1) * stride + j + 1) * V::width; // the trailing matrix
    float* column = g + ((j + 1) * stride + j) * V::width;
    *V::at(d, j) = *V::at(g, j * stride + j);
    const Float x = *V::at(column, 0);
    Float rest = zero;
    for (int64_t i = 1; i < m; i++) rest += *V::at(column, i * stride) * *V::at(column, i * stride);
    const auto any = rest > kNothing;
    Float length = x * x + rest;
    squareRoot<V::width>(length);
    const Float opposite = x < zero ? length : -length;
    const Float beta = any ? opposite : x;
    const Float factor = any ? (beta - x) / beta : zero;
    const Float scale = any ? one / (x - beta) : zero;
    *V::at(e, j) = beta;
    *V::at(tau, j) = factor;
    float* reflector = g + (j * stride + j + 1) * V::width;
    *V::at(u, 0) = one;
    *V::at(reflector, 0) = one;
    for (int64_t i = 1; i < m; i++) {
      const Float y = any ? *V::at(column, i * stride) * scale : zero;
      *V::at(u, i) = y;
      *V::at(reflector, i) = y;
    }
    int64_t i = 0;
    for (; i + kRows <= m; i += kRows) updateRows<Bytes, kRows>(i, stride, q, v, w, u, p);
    for (; i < m; i++) updateRows<Bytes, 1>(i, stride, q, v, w, u, p);
    // p becomes w of this update: tau p - (tau^2 p'u / 2) u.
    Float dot = zero;
    for (i = 0; i < m; i++) dot += *V::at(p, i) * *V::at(u, i);
    const Float shift = dot * factor * factor * -0.5f;
    for (i = 0; i < m; i++) *V::at(p, i) = *V::at(p, i) * factor + shift * *V::at(u, i);
    // The next column is needed at once.
    const Float first = *V::at(p, 0);
    for (i = 0; i < m; i++) {
      *V::at(q, i * stride) -= *V::at(u, i) * first + *V::at(p, i);
    }
    // The rest of the trailing matrix begins one further on.
    for (i = 1; i < m; i++) {
      *V::at(v, i - 1) = *V::at(u, i);
      *V::at(w, i - 1) = *V::at(p, i);
    }
  }
  *V::at(d, n - 1) = *V::at(g, (n - 1) * stride + n - 1);
}

// Applies a reflector to `Cols` columns of z.
template <int Bytes, int Cols>
LANE_INLINE void reflect(int64_t m, const float* v, const float* tau, float* z, int64_t stride) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  Float sum[Cols] = {};
  for (int64_t i = 0; i < m; i++) {
    const Float x = *V::at(v, i);
    for (int c = 0; c < Cols; c++) sum[c] += x * *V::at(z, i * stride + c);
  }
  for (int c = 0; c < Cols; c++) sum[c] *= *V::at(tau, 0);
  for (int64_t i = 0; i < m; i++) {
    const Float x = *V::at(v, i);
    for (int c = 0; c < Cols; c++) *V::at(z, i * stride + c) -= x * sum[c];
  }
}

// z (n x k) <- Q z with Q the product of the reflectors.
template <int Bytes>
LANE_INLINE void transformBack(int64_t n, int64_t k, int64_t stride, const float* g, const float* tau, float* z,
                               int64_t zStride) {
  using V = Vectors<Bytes>;
  constexpr int kCols = kManyRegisters<Bytes> ? 2 * kTile : kTile;
  for (int64_t c = 0; c < padded(k); c += kCols) {
    const int cols = static_cast<int>(std::min<int64_t>(kCols, padded(k) - c));
    for (int64_t j = n - 2; j >= 0; j--) {
      const float *v = g + (j * stride + j + 1) * V::width, *scale = tau + j * V::width;
      float* rows = z + ((j + 1) * zStride + c) * V::width;
      if (cols == kCols) {
        reflect<Bytes, kCols>(n - 1 - j, v, scale, rows, zStride);
      } else {
        reflect<Bytes, kTile>(n - 1 - j, v, scale, rows, zStride);
      }
    }
  }
}

} // namespace lowrank::lanes
