// The Gram matrix of a float32 matrix in float64.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"

namespace lowrank {

// w'w or ww', whichever is smaller: order x order, its upper triangle, rows `stride` apart. Throws ERR_NOT_FINITE where
// w changes meanwhile: LAPACK may never return from a NaN.
Buffer<double> gramMatrix(const Context& context, ConstMatrix w, int64_t stride);

// Native bytes at the peak, the result included, of compact rows.
int64_t gramMatrixBytes(int64_t m, int64_t n);

} // namespace lowrank
