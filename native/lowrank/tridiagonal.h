// The eigenproblem of a symmetric tridiagonal matrix T: all eigenvalues by bisection (sturm.h), and
// those eigenvectors that are asked for by the twisted factorisation (twisted.h), in float64 on the
// float32 T. T is split where its off-diagonal is as good as 0, so that equal eigenvalues of
// different parts keep vectors apart. Within a part, vectors of a cluster that even float64 cannot
// tell apart may come out dependent; so whether all are orthogonal is measured.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/memory.h"
#include "lowrank/sturm.h"

namespace lowrank {

class Tridiagonal {
public:
  // The diagonal d (n elements) and the off-diagonal e (n - 1), finite; both are copied.
  Tridiagonal(const Context& context, int64_t n, const float* d, const float* e);
  // The same in float64, for values that are known to 2^-51 of the largest sum of a row's
  // magnitudes.
  Tridiagonal(const Context& context, int64_t n, const double* d, const double* e);

  int64_t order() const { return n_; }
  // The i-th largest eigenvalue.
  double value(int64_t i) const { return scale_ * values_[sorted_[i]]; }

  // The eigenvectors of the eigenvalues [begin, end) in descending order, as rows of length n.
  // False: they are not orthogonal.
  bool vectors(int64_t begin, int64_t end, float* rows) const;

  // Native bytes: what it holds, the peak of its construction, and what `vectors` adds for `count`
  // of them.
  static int64_t heldBytes(int64_t n);
  static int64_t bytes(int64_t n);
  static int64_t vectorsBytes(int64_t n, int64_t count, int threads);

private:
  template <class T> void solve(const T* d, const T* e, double split, Precision precision);
  double gap(int64_t position) const;
  bool orthogonal(int64_t count, const float* rows) const;

  const Context& context_;
  const int64_t n_;
  double scale_ = 1;       // no row of T / scale has a sum of magnitudes above 1
  Buffer<double> d_;       // of T / scale
  Buffer<double> e_;       // 0 where T is split
  Buffer<double> values_;  // of T / scale, of one part after the other, ascending within it
  Buffer<int64_t> begin_;  // for each position in values_: where its part begins
  Buffer<int64_t> end_;    // and where it ends
  Buffer<int64_t> sorted_; // positions in values_, by descending value
};

} // namespace lowrank
