// Questions about single eigenvalues of a symmetric band matrix, at a cost of n * width^2: far less
// than an eigendecomposition, so that block Lanczos can ask after every step whether one is worth
// its price.
#pragma once

#include <cstdint>

#include "core/memory.h"

namespace lowrank {

class BandMatrix {
public:
  // The band of a full symmetric matrix t (n x n, row-major, stride `stride`), positive
  // semidefinite to rounding; what lies outside is rounding.
  BandMatrix(MemoryLedger& memory, const float* t, int64_t n, int64_t stride, int64_t width);

  // How many eigenvalues are larger than sigma > 0: the signs of the pivots of T - sigma
  // (Sylvester's law of inertia).
  int64_t countAbove(double sigma);

  // The k-th largest eigenvalue (k >= 1), known to be above `low` > 0, and quickly found if it is
  // close to it, to a relative accuracy of 2^-12.
  double kthLargest(int64_t k, double low);

  // An eigenvector to the eigenvalue nearest sigma, of length 1, by inverse iteration. Valid until
  // the next question.
  const double* eigenvectorNear(double sigma);

  static int64_t bytes(int64_t n, int64_t width);

private:
  int64_t n_;
  int64_t width_;
  Buffer<double> band_;   // row i: the elements (i, i) to (i, i + width), then zeros
  Buffer<double> pivots_; // the same of T - sigma, eliminated in place
  Buffer<double> row_;    // the row that is eliminated
  Buffer<double> vector_;
};

} // namespace lowrank
