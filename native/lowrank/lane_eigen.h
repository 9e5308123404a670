// Some eigenvalues and eigenvectors of symmetric tridiagonal matrices, one in each lane: bisection
// by Sturm counts (Barth, Martin and Wilkinson 1967), then Rayleigh quotient iteration with the
// twisted factorisation (Dhillon and Parlett 2004). What is the same for all lanes is done for all,
// so no lane depends on its neighbours. Included by lane_paths.cc alone, once for each width.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lowrank/lane_layout.h"
#include "lowrank/lane_products.h"
#include "lowrank/lane_reduction.h"

namespace lowrank::lanes {

// Halvings of the interval that holds all eigenvalues: down to the precision of float32.
constexpr int kHalvings = 24;
// Steps of Rayleigh quotient iteration, each of which cubes the error.
constexpr int kSteps = 2;
// Eigenvalues that are searched side by side, so that one division need not wait for the other.
constexpr int kSearches = 4;

template <class Vector> LANE_INLINE void makePositive(Vector& x) { x = x < 0 ? -x : x; }

// No pivot is 0: 0 / 0 would have no sign.
template <class Vector, class Number> LANE_INLINE void keepFromZero(Vector& pivot, Number tiny) {
  Vector size = pivot;
  makePositive(size);
  pivot = size < tiny ? Vector{} - tiny : pivot;
}

// The eigenvalues with the indices from s.firstIndex() on, ascending from 0, and the largest
// magnitude that any can have (Gershgorin).
template <int Bytes> LANE_INLINE void bisect(const Sizes& s, const Arrays& arrays) {
  const int64_t n = s.order(), count = s.values();
  const float *d = arrays.d, *e = arrays.e;
  float *values = arrays.values, *squares = arrays.work;
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  const Float zero = {};
  Float low = *V::at(d, 0), high = low, before = zero;
  for (int64_t i = 0; i < n; i++) {
    Float after = i + 1 < n ? *V::at(e, i) : zero;
    makePositive(after);
    const Float radius = before + after;
    const Float left = *V::at(d, i) - radius, right = *V::at(d, i) + radius;
    low = left < low ? left : low;
    high = right > high ? right : high;
    if (i + 1 < n) *V::at(squares, i) = after * after;
    before = after;
  }
  *V::at(arrays.reach, 0) = -low > high ? -low : high;
  for (int64_t j = 0; j < count; j += kSearches) {
    const int searches = static_cast<int>(std::min<int64_t>(kSearches, count - j));
    Float below[kSearches], above[kSearches];
    for (int t = 0; t < kSearches; t++) below[t] = low, above[t] = high;
    for (int halving = 0; halving < kHalvings; halving++) {
      Float middle[kSearches], pivot[kSearches], found[kSearches];
      for (int t = 0; t < kSearches; t++) {
        middle[t] = (below[t] + above[t]) * 0.5f;
        pivot[t] = *V::at(d, 0) - middle[t];
        found[t] = zero;
      }
      for (int64_t i = 1;; i++) {
        for (int t = 0; t < kSearches; t++) {
          keepFromZero(pivot[t], kNothing);
          found[t] += pivot[t] < zero ? zero + 1.0f : zero;
        }
        if (i == n) break;
        const Float diagonal = *V::at(d, i), square = *V::at(squares, i - 1);
        for (int t = 0; t < kSearches; t++) pivot[t] = diagonal - middle[t] - square / pivot[t];
      }
      for (int t = 0; t < kSearches; t++) {
        const auto right = found[t] <= static_cast<float>(s.firstIndex() + j + t);
        below[t] = right ? middle[t] : below[t];
        above[t] = right ? above[t] : middle[t];
      }
    }
    for (int t = 0; t < searches; t++) *V::at(values, j + t) = (below[t] + above[t]) * 0.5f;
  }
}

// The vectors of half of the lanes, from `lane` on, in float64.
template <int Bytes> struct Half {
  using V = Vectors<Bytes>;
  using Double = typename V::Double;
  int64_t lane;

  LANE_INLINE void read(const float* data, int64_t i, Double& x) const {
    using HalfFloat = typename V::HalfFloat;
    x = __builtin_convertvector(*reinterpret_cast<const HalfFloat*>(data + i * V::width + lane), Double);
  }
  LANE_INLINE void write(float* data, int64_t i, const Double& x) const {
    using HalfFloat = typename V::HalfFloat;
    *reinterpret_cast<HalfFloat*>(data + i * V::width + lane) = __builtin_convertvector(x, HalfFloat);
  }
  static LANE_INLINE Double* at(double* data, int64_t i) { return reinterpret_cast<Double*>(data + i * V::half); }
};

// An eigenvector z (n numbers, `stride` apart) of unit length for the eigenvalue nearest to
// `value`, which the Rayleigh quotient replaces. In float64, for half of the lanes; `work` holds 4
// n of their vectors.
template <int Bytes>
LANE_INLINE void eigenvector(int64_t n, const float* d, const float* e, float* value, float* z, int64_t stride,
                             Half<Bytes> half, double* work) {
  using H = Half<Bytes>;
  using Double = typename H::Double;
  constexpr double kTiny = 1e-100; // instead of a pivot of 0
  const Double zero = {}, one = zero + 1.0;
  // T - shift = L D L' from the front has the pivots `front` and the multipliers `down`; from the
  // back, `up`.
  double *front = work, *down = front + n * H::V::half, *up = down + n * H::V::half, *x = up + n * H::V::half;
  Double shift, squares;
  half.read(value, 0, shift);
  for (int step = 0;; step++) {
    Double p, q, twist = zero, gamma, least;
    half.read(d, 0, p);
    half.read(d, n - 1, q);
    p -= shift;
    q -= shift;
    for (int64_t i = 0; i + 1 < n; i++) {
      const int64_t j = n - 1 - i;
      Double a, b, next;
      keepFromZero(p, kTiny);
      keepFromZero(q, kTiny);
      half.read(e, i, a);
      half.read(e, j - 1, b);
      *H::at(front, i) = p;
      *H::at(down, i) = a / p;
      *H::at(up, j) = b / q;
      half.read(d, i + 1, next);
      p = next - shift - a * *H::at(down, i);
      half.read(d, j - 1, next);
      q = next - shift - b * *H::at(up, j);
    }
    // gamma_i = 1 / ((T - shift)^-1)_ii is smallest where an eigenvector is largest.
    gamma = p;
    least = p;
    makePositive(least);
    twist = zero + static_cast<double>(n - 1);
    for (int64_t i = n - 2; i >= 0; i--) {
      Double a;
      half.read(e, i, a);
      const Double g = *H::at(front, i) - a * *H::at(up, i + 1);
      Double size = g;
      makePositive(size);
      const auto smaller = size < least;
      gamma = smaller ? g : gamma;
      least = smaller ? size : least;
      twist = smaller ? zero + static_cast<double>(i) : twist;
    }
    Double last = zero;
    squares = zero;
    for (int64_t i = n - 1; i >= 0; i--) {
      const Double place = zero + static_cast<double>(i);
      const Double above = i + 1 < n ? -(*H::at(down, i) * last) : zero;
      last = place < twist ? above : (place == twist ? one : zero);
      squares += last * last;
      *H::at(x, i) = last;
    }
    last = *H::at(x, 0);
    for (int64_t i = 1; i < n; i++) {
      const auto below = zero + static_cast<double>(i) > twist;
      const Double next = -(*H::at(up, i) * last);
      last = below ? next : *H::at(x, i);
      squares += below ? last * last : zero;
      *H::at(x, i) = last;
    }
    shift += gamma / squares;
    if (step == kSteps) break;
  }
  half.write(value, 0, shift);
  squareRoot<H::V::half>(squares);
  const Double scale = one / squares;
  for (int64_t i = 0; i < n; i++) half.write(z, i * stride, *H::at(x, i) * scale);
}

// The eigenvalues, and the eigenvectors as columns of z, each with its Rayleigh quotient.
template <int Bytes> LANE_INLINE void findVectors(const Sizes& s, const Arrays& x) {
  using V = Vectors<Bytes>;
  bisect<Bytes>(s, x);
  for (int64_t j = 0; j < s.vectors(); j++) {
    float *quotient = x.quotients + j * V::width, *z = x.z + j * V::width;
    *V::at(quotient, 0) = *V::at(x.values, j);
    for (int64_t lane = 0; lane < V::width; lane += V::half) {
      eigenvector<Bytes>(s.order(), x.d, x.e, quotient, z, s.vectorStride(), Half<Bytes>{lane},
                         reinterpret_cast<double*>(x.work));
    }
  }
}

// Makes the k columns of z orthonormal, each by taking its parts along those before it away
// (modified Gram-Schmidt), and notes in `left` the square of what was left of it: eigenvectors lose
// little, unless two are nearly the same. Then notes in `residuals` the squares of |T z - value z|.
template <int Bytes>
LANE_INLINE void orthonormalise(int64_t n, int64_t k, const float* d, const float* e, const float* values, float* z,
                                int64_t stride, float* left, float* residuals) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  const Float zero = {}, one = zero + 1.0f;
  for (int64_t j = 0; j < k; j++) {
    for (int64_t c = 0; c < j; c++) {
      Float dot = zero;
      for (int64_t i = 0; i < n; i++) dot += *V::at(z, i * stride + c) * *V::at(z, i * stride + j);
      for (int64_t i = 0; i < n; i++) *V::at(z, i * stride + j) -= dot * *V::at(z, i * stride + c);
    }
    Float squares = zero;
    for (int64_t i = 0; i < n; i++) squares += *V::at(z, i * stride + j) * *V::at(z, i * stride + j);
    *V::at(left, j) = squares;
    squareRoot<V::width>(squares);
    const Float scale = one / squares;
    for (int64_t i = 0; i < n; i++) *V::at(z, i * stride + j) *= scale;
    Float sum = zero, before = zero, here = *V::at(z, j);
    for (int64_t i = 0; i < n; i++) {
      const Float after = i + 1 < n ? *V::at(z, (i + 1) * stride + j) : zero;
      Float r = (*V::at(d, i) - *V::at(values, j)) * here;
      if (i > 0) r += *V::at(e, i - 1) * before;
      if (i + 1 < n) r += *V::at(e, i) * after;
      sum += r * r;
      before = here;
      here = after;
    }
    *V::at(residuals, j) = sum;
  }
}

// Brings the k columns of z to length 1 more closely than float32 rounds their squares. What is
// taken away along a vector that is too long or too short is wrong in the first order.
template <int Bytes> LANE_INLINE void makeUnit(int64_t n, int64_t k, float* z, int64_t stride) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  using Double = typename V::Double;
  const Double one = Double{} + 1.0;
  float correction[V::width];
  for (int64_t j = 0; j < k; j++) {
    for (int64_t lane = 0; lane < V::width; lane += V::half) {
      const Half<Bytes> half{lane};
      Double squares = {}, x;
      for (int64_t i = 0; i < n; i++) {
        half.read(z, i * stride + j, x);
        squares += x * x;
      }
      squareRoot<V::half>(squares);
      half.write(correction, 0, one / squares - one);
    }
    const Float share = *V::at(correction, 0);
    for (int64_t i = 0; i < n; i++) *V::at(z, i * stride + j) += *V::at(z, i * stride + j) * share;
  }
}

} // namespace lowrank::lanes
