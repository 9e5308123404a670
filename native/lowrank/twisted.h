// Eigenvectors of a symmetric tridiagonal matrix, by the twisted factorisation (Dhillon and Parlett
// 2004): T - lambda eliminated from both ends, so that what is left at row r is gamma_r, the
// inverse of element (r, r) of (T - lambda)^-1. Where |gamma_r| is smallest, (T - lambda) z =
// gamma_r e_r with z_r = 1 gives an eigenvector without solving for it twice. Shifts are
// independent of each other: several are worked on at once, one a lane of a vector register.
#pragma once

#include <cstdint>

namespace lowrank {

// Shifts that are worked on at once.
constexpr int64_t kShifts = 8;

struct Shift {
  double value; // an eigenvalue
  double gap;   // to the nearest other one
  float* z;     // n elements
};

// z <- the eigenvectors, of length 1, of the tridiagonal matrix with diagonal d (n) and
// off-diagonal e (n - 1), none of it 0 and no row with a sum of magnitudes above 1. A shift that is
// too far from its eigenvalue for the gap is corrected by the Rayleigh quotient, gamma_r / |z|^2.
// Work space: twistedWork(n) numbers. `count` <= kShifts.
void twisted(int64_t n, const double* d, const double* e, const Shift* shifts, int64_t count, double* work);
constexpr int64_t twistedWork(int64_t n) { return 3 * kShifts * n; }

} // namespace lowrank
