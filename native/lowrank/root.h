// A square root of a moment matrix: C = E[x x'] = F F'. Cholesky factorisation with complete
// pivoting needs no damping for a singular C, as there is whenever fewer vectors than dimensions
// were seen.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/memory.h"

namespace lowrank {

class SquareRoot {
public:
  // `c` is symmetric, n x n. Throws ERR_NOT_FINITE; ERR_ARGUMENT where it is not positive
  // semidefinite, to the rounding of float32.
  SquareRoot(const Context& context, const double* c, int64_t n);

  // F, n x rank, row-major.
  const double* data() const { return data_.data(); }
  int64_t rank() const { return rank_; }
  // values (rows x rank) = x F for x: rows x n, by the calling thread alone.
  void multiply(int64_t rows, const double* x, double* values) const;
  // With D = diag(C)^(1/2): C - F F' is at least -doubt D^2, in the order of symmetric matrices.
  double doubt() const { return doubt_; }

  static int64_t bytes(int64_t n);

private:
  Buffer<double> scaled(const Context& context, const double* c) const;
  bool factorisePlainly(const Context& context, const double* c);
  void factorise(const Context& context, const double* c, double tolerance);
  double residual(const Context& context, const double* c) const;

  int64_t n_, rank_ = 0;
  bool triangular_ = false; // F is lower triangular
  double doubt_ = 0;
  Buffer<double> lengths_; // D
  Buffer<double> data_;
};

} // namespace lowrank
