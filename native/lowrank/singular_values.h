// The singular values alone: roots of the eigenvalues of the Gram matrix in float64, which take a third of the
// operations that a bidiagonal form takes, and are known better than float32 knows them from W itself. With an error of
// the eigenvalues of c 2^-52 s_1^2, that of a singular value s is at most c 2^-52 s_1^2 / s, and at most sqrt(c 2^-52)
// s_1 (docs/mathematics.md); of LAPACK in float32, c 2^-23 s_1.
#pragma once

#include <cstdint>
#include <optional>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"

namespace lowrank {

// The squares of the min(m, n) singular values, ascending. Nothing where the eigenvalues do not
// converge. Throws ERR_NOT_FINITE, ERR_MEMORY.
std::optional<Buffer<double>> squaredSingularValues(const Context& context, ConstMatrix w);
// Native bytes at the peak, the result included.
int64_t squaredSingularValuesBytes(int64_t m, int64_t n);

// s <- the min(m, n) singular values, descending. False where the eigenvalues do not converge.
// Throws as above.
bool singularValues(const Context& context, ConstMatrix w, float* s);

} // namespace lowrank
