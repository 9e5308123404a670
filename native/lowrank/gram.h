// The exact singular subspaces from the Gram matrix w'w (or ww') in float64: one product, then a
// partial symmetric eigenproblem of the smaller order. Squaring the matrix squares its condition,
// which float64 nearly always bears.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"

namespace lowrank {

class Gram {
public:
  // The k largest singular values and vectors, and the value of the next one; with `smallest`, the
  // k smallest.
  Gram(const Context& context, ConstMatrix w, int64_t k, bool smallest);

  // False: the eigenproblem did not converge, and nothing else here may be asked.
  bool converged() const { return converged_; }

  // w ~ b a with b: m x k and a: k x n, as request.h defines factors.
  void factors(float* b, float* a, float* s) const;
  // The singular value next to the subspace on the other side of the cut (of `smallest`: the
  // largest within it).
  double nextSingularValue() const;
  // The sum of the first `count` squared singular values.
  double sumOfSquares(int64_t count) const;
  // The k squared singular values, in the order of the factors.
  const double* squaredValues() const { return values_.data(); }
  // How much rounding may have changed a sum of eigenvalues.
  double noise() const;

  // Native bytes at the peak, the factors included.
  static int64_t bytes(int64_t m, int64_t n, int64_t k, bool smallest);

private:
  const Context& context_;
  const ConstMatrix w_;
  const int64_t k_;
  const bool smallest_;
  const bool tall_;
  const int64_t order_;
  int64_t known_;
  double trace_ = 0;
  bool converged_ = false;
  Buffer<double> values_;
  Buffer<float> vectors_; // known x order, rows
};

} // namespace lowrank
