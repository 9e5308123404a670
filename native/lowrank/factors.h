// gemm shared out among a team: each member multiplies its own rows (or columns) with a single-threaded BLAS.
#pragma once

#include <cstdint>

#include "lowrank/svd.h"

namespace lowrank {

// c = alpha op(a) op(b), row-major, m x n with k inside; op transposes when the flag is set.
void gemm(Team& team, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc);

// c = b a, compact, by the calling thread alone.
void multiplyRows(ConstMatrix b, ConstMatrix a, float* c);

// u <- u diag(s).
void scaleColumns(Matrix u, const float* s);

// s <- the lengths of the columns of b, or of the rows of a; descending, as singular values are.
void columnLengths(ConstMatrix b, float* s);
void rowLengths(ConstMatrix a, float* s);
// |a x|, or |a' x| if `transpose`: one product with a vector.
double imageLength(const Context& context, ConstMatrix a, bool transpose, const float* x);

// From w ~ b a with orthonormal columns in b, and rows of a that have the singular values as lengths, to orthonormal
// rows in a and columns of b with those lengths. Where a row is so short against the first that rounding has bent it,
// the rows are made orthonormal by Householder reflections, and b = w a'.
void moveSingularValues(const Context& context, ConstMatrix w, Matrix b, Matrix a, const float* s);
// Native bytes that it takes for k rows.
int64_t moveSingularValuesBytes(int64_t k);

} // namespace lowrank
