// The first of two stages to tridiagonal form: a symmetric matrix becomes a band, A = Q B Q' (Bischof, Lang and Sun
// 2000). Almost all of it are products of matrices, where the way in one stage spends half its time in products of the
// whole matrix with one vector, which memory bounds once the matrix is out of the cache.
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

  // Reduces `a` (n x n, symmetric, its upper triangle given); from then on it holds reflectors, and has to outlive
  // this. Row i of `band` gets the elements (i, i) to (i, i + kWidth) of B, zero beyond n.
  BandReduction(const Context& context, int64_t n, T* a, int64_t stride, T* band, int64_t bandStride);

  // Row i of `vectors` (k x n, compact), an eigenvector of B, becomes that of A: Q times it.
  void transformBack(int64_t k, T* vectors) const;

  // Native bytes: what the reduction holds, what it needs beyond that while it is made, and while it transforms.
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
