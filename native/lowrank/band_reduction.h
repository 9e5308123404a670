// The first of two stages to tridiagonal form: reduces a symmetric matrix to a band, A = Q B Q'
// (Bischof, Lang and Sun 2000). Almost all of its operations are matrix products. A reduction in
// one stage spends half its time multiplying the whole matrix by one vector, which is bound by
// memory once the matrix exceeds the cache.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/memory.h"
#include "lowrank/compact_wy.h"

namespace lowrank {

template <class T> class BandReduction {
public:
  // Diagonals of the band on either side.
  static constexpr int64_t kWidth = kPanelRows;

  // Reduces `a` (n x n, symmetric, upper triangle given). From then on `a` holds the reflectors and
  // must outlive this object. Row i of `band` receives the elements (i, i) to (i, i + kWidth) of B,
  // with zeros beyond n.
  BandReduction(const Context& context, int64_t n, T* a, int64_t stride, T* band, int64_t bandStride);

  // Multiplies each row of `vectors` (k x n, compact), an eigenvector of B, by Q. It becomes one of
  // A.
  void transformBack(int64_t k, T* vectors) const;

  // Native bytes: held by the object, needed beyond that during construction, and during
  // `transformBack`.
  static int64_t heldBytes(int64_t n);
  static int64_t peakBytes(int64_t n);
  static int64_t transformBackBytes(int64_t n, int threads);

private:
  void factorise(int64_t row, T* band, int64_t bandStride, T* r);

  const Context& context_;
  const int64_t n_;
  T* const a_;
  const int64_t stride_;
  Buffer<T> t_; // of each panel
};

} // namespace lowrank
