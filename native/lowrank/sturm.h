// All eigenvalues of a symmetric tridiagonal matrix by bisection: T - x has as many negative pivots
// as T has eigenvalues below x (Sylvester's law of inertia; Givens 1954). Shifts are independent of
// each other, so many are counted at once, in the lanes of vector registers and by all threads: in
// float32 first, and in float64 where eigenvalues are close. All of them in float64 are found by
// Newton's method from there, and confirmed by two counts.
#pragma once

#include <cstdint>

#include "core/context.h"

namespace lowrank {

// How well an eigenvalue is known: to 2^-22, and where that is not far less than its distance from
// the next one, to a sixteenth of the distance or 2^-51, of a matrix of float32; or to 2^-51 in any
// case.
enum class Precision { float32, float64 };

// values (n) <- the eigenvalues, ascending, of the tridiagonal matrix with diagonal d and
// off-diagonal e, none of it 0 and no row with a sum of magnitudes above 1.
void eigenvalues(const Context& context, int64_t n, const double* d, const double* e, Precision precision,
                 double* values);
int64_t eigenvaluesBytes(int64_t n);

} // namespace lowrank
