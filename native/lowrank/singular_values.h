// Computes the singular values alone, as roots of the eigenvalues of the Gram matrix in float64.
// This takes a third of the operations of a reduction to bidiagonal form, and is more accurate than
// float32 on W itself. If the error of the eigenvalues is c 2^-52 s_1^2, that of a singular value s
// is at most c 2^-52 s_1^2 / s, and at most sqrt(c 2^-52) s_1 (docs/mathematics.md). With LAPACK in
// float32 it is c 2^-23 s_1.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"

namespace lowrank {

// The squares of the min(m, n) singular values, descending. Throws ERR_NOT_FINITE, ERR_MEMORY.
Buffer<double> squaredSingularValues(const Context& context, ConstMatrix w);
// Native bytes at the peak, the result included.
int64_t squaredSingularValuesBytes(int64_t m, int64_t n, int threads);

// s <- the min(m, n) singular values, descending. Throws as above.
void singularValues(const Context& context, ConstMatrix w, float* s);

} // namespace lowrank
