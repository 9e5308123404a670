// The way from matrices, one in each lane, to their best approximations, and the figures that judge
// them. Included by lane_paths.cc alone, once for each width.
#pragma once

#include <cmath>
#include <cstdint>

#include "lowrank/lane_eigen.h"
#include "lowrank/lane_layout.h"
#include "lowrank/lane_products.h"
#include "lowrank/lane_reduction.h"

namespace lowrank::lanes {

// Reads W from w[lane], compact; lanes without one are zero. The numbers are turned over in blocks
// that stay in cache.
template <int Width> LANE_INLINE void load(const Sizes& s, const float* const* w, float* a) {
  constexpr int64_t kBlock = 16;
  const int64_t step = (s.turned() ? s.stride() : 1) * Width;
  for (int64_t i = 0; i < s.m; i++) {
    float* row = a + i * (s.turned() ? 1 : s.stride()) * Width;
    for (int64_t begin = 0; begin < s.n; begin += kBlock) {
      const int64_t end = begin + kBlock < s.n ? begin + kBlock : s.n;
      for (int lane = 0; lane < Width; lane++) {
        const float* from = w[lane];
        for (int64_t j = begin; j < end; j++) row[j * step + lane] = from == nullptr ? 0.0f : from[i * s.n + j];
      }
    }
  }
}

// Norm and largest number of each lane; then a is divided by the power of two next to the latter.
template <int Bytes> LANE_INLINE void normalise(const Sizes& s, float* a, Figures& figures) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  using Double = typename V::Double;
  Float largest = {};
  Double low = {}, high = {};
  for (int64_t i = 0; i < s.rows(); i++) {
    for (int64_t j = 0; j < s.order(); j++) {
      const int64_t at = i * s.stride() + j;
      Float size = *V::at(a, at);
      makePositive(size);
      largest = size > largest ? size : largest;
      Double x, y;
      Half<Bytes>{0}.read(a, at, x);
      Half<Bytes>{V::half}.read(a, at, y);
      low += x * x;
      high += y * y;
    }
  }
  Float inverse = {};
  for (int lane = 0; lane < V::width; lane++) {
    figures.energy[lane] = lane < V::half ? low[lane % V::half] : high[lane % V::half];
    figures.largest[lane] = largest[lane];
    // Beyond this range a lane is not used.
    int exponent = 0;
    std::frexp(figures.largest[lane], &exponent);
    if (exponent < -100 || exponent > 100) exponent = 0;
    figures.scale[lane] = std::ldexp(1.0f, exponent);
    inverse[lane] = std::ldexp(1.0f, -exponent);
  }
  for (int64_t i = 0; i < s.rows(); i++) {
    for (int64_t j = 0; j < s.order(); j++) *V::at(a, i * s.stride() + j) *= inverse;
  }
}

// The squares of the differences of a and what, and of column `boundary` of b, in float64.
template <int Bytes>
LANE_INLINE void measure(const Sizes& s, const float* a, const float* what, const float* b, Figures& figures) {
  using V = Vectors<Bytes>;
  using Double = typename V::Double;
  for (int64_t begin = 0; begin < V::width; begin += V::half) {
    const Half<Bytes> half{begin};
    Double squares = {}, boundary = {};
    for (int64_t i = 0; i < s.rows(); i++) {
      Double row = {}, x, y;
      for (int64_t j = 0; j < s.order(); j++) {
        half.read(a, i * s.stride() + j, x);
        half.read(what, i * s.stride() + j, y);
        x -= y;
        row += x * x;
      }
      squares += row;
      half.read(b, i * s.vectorStride() + s.boundary(), x);
      boundary += x * x;
    }
    for (int64_t lane = 0; lane < V::half; lane++) {
      figures.squares[begin + lane] = squares[lane];
      figures.boundary[begin + lane] = boundary[lane];
    }
  }
}

// From the matrices to the tridiagonal form of their Gram matrices.
template <int Bytes> LANE_INLINE void reduce(const Sizes& s, const float* const* w, float* memory, Figures& figures) {
  using V = Vectors<Bytes>;
  const Arrays x(s, memory, V::width);
  const int64_t end = Places(s).end * V::width;
  for (int64_t i = 0; i < end; i++) memory[i] = 0; // what pads the sides stays 0
  load<V::width>(s, w, x.a);
  normalise<Bytes>(s, x.a, figures);
  gram<Bytes>(s.rows(), s.order(), s.stride(), x.a, x.g);
  tridiagonalise<Bytes>(s.order(), s.stride(), x.g, x.d, x.e, x.tau, x.work);
}

// From the eigenvectors of the tridiagonal matrices to the approximations, which take the place of
// the Gram matrices.
template <int Bytes> LANE_INLINE void form(const Sizes& s, float* memory, Figures& figures) {
  using V = Vectors<Bytes>;
  const Arrays x(s, memory, V::width);
  const int64_t n = s.order(), rows = padded(s.rows()), stride = s.stride(), columns = s.vectorStride();
  orthonormalise<Bytes>(n, s.vectors(), x.d, x.e, x.quotients, x.z, columns, x.left, x.residuals);
  transformBack<Bytes>(n, s.vectors(), stride, x.g, x.tau, x.z, columns);
  makeUnit<Bytes>(n, s.vectors(), x.z, columns);
  product<Bytes>(rows, s.vectors(), n, {x.a, stride, 1}, {x.z, columns, 1}, x.b, nullptr, columns, Finish::assign,
                 false);
  const int64_t used = s.firstUsed() * V::width;
  product<Bytes>(rows, n, s.used(), {x.b + used, columns, 1}, {x.z + used, 1, columns}, x.g, x.a, stride,
                 s.complement ? Finish::subtractFrom : Finish::assign, false);
  measure<Bytes>(s, x.a, x.g, x.b, figures);
}

// Approximates Bytes / 4 matrices, null for none. `memory` holds Places::end vectors; the
// approximations, divided by the scales, take the place of the Gram matrices.
template <int Bytes>
LANE_INLINE void approximate(const Sizes& s, const float* const* w, float* memory, Figures& figures) {
  reduce<Bytes>(s, w, memory, figures);
  findVectors<Bytes>(s, Arrays(s, memory, Vectors<Bytes>::width));
  form<Bytes>(s, memory, figures);
}

} // namespace lowrank::lanes
