// Gram matrices, w'w or ww', whichever is smaller: their upper triangle, in blocks of rows that the
// team shares out. Blocks do not depend on the size of the team, nor does the result.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"

namespace lowrank {

// gram = beta gram + p'p for a panel p (inner x order), or p p' (order x inner) unless `tall`. Rows
// of it begin at the diagonal or up to 127 elements before it, at multiples of kSymmetricBlock
// (blas/symmetric.h).
template <class T>
void addGram(const Context& context, bool tall, int64_t order, int64_t inner, const T* panel, int64_t stride, T beta,
             T* gram, int64_t gramStride);

// The Gram matrix of w in float64: rows `stride` apart, as `addGram` leaves them, zero from the
// order on. Throws ERR_NOT_FINITE where w changes meanwhile: LAPACK may never return from a NaN.
Buffer<double> gramMatrix(const Context& context, ConstMatrix w, int64_t stride);

// Native bytes at the peak, the result included.
int64_t gramMatrixBytes(int64_t m, int64_t n, int64_t stride);

} // namespace lowrank
