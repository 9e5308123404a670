// Products of matrices that lie one in each lane of the vector registers: what is a number in the
// text is a vector in memory, one number of each matrix. Included by lane_paths.cc alone, once for
// each width.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/lanes.h"

// Into functions with the target attribute of a path; no vector crosses the boundary of one that is
// not inlined.
#define LANE_INLINE inline __attribute__((always_inline))

namespace lowrank::lanes {

// Tiles are `kTile` numbers high; all sides are padded to multiples of it, with zeros.
constexpr int64_t kTile = 4;
constexpr int64_t padded(int64_t side) { return (side + kTile - 1) / kTile * kTile; }
// Rows a power of two apart would compete for the same lines of the cache.
constexpr int64_t strideOf(int64_t columns) { return padded(columns) | 1; }

// Tiles that fill the registers: 32 of them with AVX-512 and NEON, 16 with AVX2 and SSE.
#if defined(__x86_64__)
template <int Bytes> constexpr bool kManyRegisters = Bytes == 64;
#else
template <int Bytes> constexpr bool kManyRegisters = true;
#endif

// One number of each of `Width` matrices, in single and in double precision: those of a half.
template <int Bytes> struct Vectors {
  static constexpr int64_t width = Bytes / static_cast<int>(sizeof(float));
  static constexpr int64_t half = width / 2;
  using Float = typename Lane<float, Bytes>::type;
  using Double = typename Lane<double, Bytes>::type;
  using HalfFloat = typename Lane<float, Bytes / 2>::type;

  static LANE_INLINE Float* at(float* data, int64_t i) { return reinterpret_cast<Float*>(data + i * width); }
  static LANE_INLINE const Float* at(const float* data, int64_t i) {
    return reinterpret_cast<const Float*>(data + i * width);
  }
};

// Element (i, l) is the vector at data[(i * row + l * col) * width].
struct Operand {
  const float* data;
  int64_t row, col;
};

enum class Finish { assign, add, subtractFrom };

// A tile at (i, j): c = [c +] a b, or `from` - a b, k products each.
template <int Bytes, int Cols>
LANE_INLINE void tile(int64_t i, int64_t j, int64_t k, Operand a, Operand b, float* c, const float* from,
                      int64_t stride, Finish finish) {
  using V = Vectors<Bytes>;
  using Float = typename V::Float;
  Float sum[kTile][Cols] = {};
  const float* left = a.data + i * a.row * V::width;
  const float* right = b.data + j * b.col * V::width;
  for (int64_t l = 0; l < k; l++, left += a.col * V::width, right += b.row * V::width) {
    Float row[Cols];
    for (int t = 0; t < Cols; t++) row[t] = *V::at(right, t * b.col);
    for (int64_t s = 0; s < kTile; s++) {
      const Float x = *V::at(left, s * a.row);
      for (int t = 0; t < Cols; t++) sum[s][t] += x * row[t];
    }
  }
  for (int64_t s = 0; s < kTile; s++) {
    for (int t = 0; t < Cols; t++) {
      const int64_t at = (i + s) * stride + j + t;
      switch (finish) {
      case Finish::assign:
        *V::at(c, at) = sum[s][t];
        break;
      case Finish::add:
        *V::at(c, at) += sum[s][t];
        break;
      case Finish::subtractFrom:
        *V::at(c, at) = *V::at(from, at) - sum[s][t];
        break;
      }
    }
  }
}

// c (m x n, padded) = a b or `from` - a b; the lower triangle alone if `lower`.
template <int Bytes>
LANE_INLINE void product(int64_t m, int64_t n, int64_t k, Operand a, Operand b, float* c, const float* from,
                         int64_t stride, Finish finish, bool lower) {
  constexpr int kCols = kManyRegisters<Bytes> ? 4 : 2;
  for (int64_t i = 0; i < m; i += kTile) {
    const int64_t end = lower ? std::min(i + kTile, padded(n)) : padded(n);
    for (int64_t j = 0; j < end; j += kCols) tile<Bytes, kCols>(i, j, k, a, b, c, from, stride, finish);
  }
}

// Of equal terms all roundings go the same way: longer sums are put together from parts.
constexpr int64_t kTerms = 128;

// g (n x n, lower) = a' a for a: m x n.
template <int Bytes> LANE_INLINE void gram(int64_t m, int64_t n, int64_t stride, const float* a, float* g) {
  for (int64_t l = 0; l < m; l += kTerms) {
    const float* part = a + l * stride * Vectors<Bytes>::width;
    product<Bytes>(n, n, std::min(kTerms, m - l), {part, 1, stride}, {part, stride, 1}, g, nullptr, stride,
                   l == 0 ? Finish::assign : Finish::add, true);
  }
}

} // namespace lowrank::lanes
