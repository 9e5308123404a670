// Cholesky factorisations C = L L' by a team, which therefore run side by side with others. Tiles
// have a fixed size, so the bits do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "core/context.h"

namespace lowrank {

// Replaces the lower triangle of a symmetric n x n matrix, the only part that is read, by L. False:
// it is not positive definite.
bool cholesky(const Context& context, int64_t n, double* a);

// The same with complete pivoting (Higham 1990; LAPACK's pstrf): row pivots[i] of the matrix is row
// i of L L', and the first p columns of L replace the lower triangle. Stops at the first pivot of
// at most `tolerance`, and returns their number p. `work` has n elements.
int64_t choleskyPivoted(const Context& context, int64_t n, double* a, int64_t* pivots, double tolerance, double* work);

} // namespace lowrank
