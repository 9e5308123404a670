// Matrix products. A team shares one product out: each member computes its own rows (or columns)
// with a single-threaded BLAS.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"
#include "core/threads.h"

namespace lowrank {

// c = alpha op(a) op(b), row-major, m x n with k inside; op transposes when the flag is set.
void gemm(Team& team, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc);

// c = b a, compact, by the calling thread alone.
void multiplyRows(ConstMatrix b, ConstMatrix a, float* c);

} // namespace lowrank
