// Questions about single eigenvalues of a symmetric band matrix, at a cost of n * width^2: far less than an
// eigendecomposition, so that block Lanczos can ask after every step whether one is worth its price.
#pragma once

#include <cstdint>
#include <vector>

namespace lowrank {

class BandMatrix {
public:
  // The band of a full symmetric matrix t (n x n, row-major, stride `stride`); what lies outside is rounding.
  BandMatrix(const float* t, int64_t n, int64_t stride, int64_t width);

  // How many eigenvalues are larger than sigma: the signs of the pivots of T - sigma (Sylvester's law of inertia).
  int64_t countAbove(double sigma);

  // The k-th largest eigenvalue (k >= 1), known to lie in [low, high], to a relative accuracy of 2^-10.
  double kthLargest(int64_t k, double low, double high);

  // An eigenvector to the eigenvalue nearest sigma, of length 1, by inverse iteration.
  std::vector<double> eigenvectorNear(double sigma);

private:
  void factorise(double sigma);
  double& at(std::vector<double>& rows, int64_t i, int64_t j) const { return rows[i * (width_ + 1) + j - i]; }

  int64_t n_;
  int64_t width_;
  std::vector<double> band_;    // row i: the elements (i, i) to (i, i + width)
  std::vector<double> factors_; // of T - sigma = L D L': row i: the pivot, then row i of L' times it
};

} // namespace lowrank
