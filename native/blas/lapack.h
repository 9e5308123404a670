// The only access to OpenBLAS. Arguments are row-major (see matrix_view.h); sizes are checked
// against its 32-bit integers.
#pragma once

#include <cstdint>
#include <string>

#include "core/matrix_view.h"

namespace lowrank {

namespace blas {

// The process-wide thread count. Only lease.cc sets it. It reads it before anything is computed,
// which is when the kernels are chosen (coretype.h).
int threads();
void setThreads(int count);
std::string version();
std::string kernel();

// c = alpha op(a) op(b) + beta c, row-major; op transposes when the flag is set.
void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc);
void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
          const double* b, int64_t ldb, double beta, double* c, int64_t ldc);

// c = a b in float64, for compact a: m x k, b: k x n.
void gemm(int64_t m, int64_t n, int64_t k, const double* a, const double* b, double* c);

// y = alpha op(a) x + beta y for a: m x n, row-major; op transposes when the flag is set.
void gemv(bool transpose, int64_t m, int64_t n, float alpha, const float* a, int64_t lda, const float* x, float beta,
          float* y);
void gemv(bool transpose, int64_t m, int64_t n, double alpha, const double* a, int64_t lda, const double* x,
          double beta, double* y);

// a (m x n, row-major) += alpha x y'
void ger(int64_t m, int64_t n, float alpha, const float* x, const float* y, float* a, int64_t lda);
void ger(int64_t m, int64_t n, double alpha, const double* x, const double* y, double* a, int64_t lda);

} // namespace blas

namespace lapack {

// Returns the sizes of the work arrays of gesdd, in elements. Throws ERR_MEMORY where LAPACK's
// 32-bit integers overflow.
struct SvdWork {
  int64_t work;
  int64_t integers;
};
SvdWork thinSvdWork(int64_t m, int64_t n, bool vectors);
int64_t gesvdWork(int64_t m, int64_t n, bool vectors);

// a (m x n, stride n) = u diag(s) vt; a is destroyed. u: m x r, vt: r x n, r = min(m, n); both null
// for values only. Returns LAPACK's info: 0, or > 0 when it did not converge.
int gesdd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork, int* iwork);
int gesvd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork);

// The largest `k` eigenvalues of a symmetric n x n matrix, descending, and their eigenvectors as
// the rows of `vectors` (k x n): reduction to tridiagonal form, multiple relatively robust
// representations (Dhillon and Parlett 2004) for those k, back-transformation. `a` is destroyed.
// `smallest` gives the k smallest instead, ascending.
struct EigenWork {
  int64_t work;
  int64_t integers;
};
EigenWork eigenWork(int64_t n, int64_t k);
bool eigen(int64_t n, int64_t k, bool smallest, double* a, double* values, double* vectors, double* work,
           EigenWork size, int* integers);

// Cholesky factorisation of a symmetric n x n matrix with rows of `stride` numbers, of which the
// lower triangle is read and replaced by L. False: it is not positive definite.
bool cholesky(int64_t n, double* a, int64_t stride);
// x <- x L'^-1 for lower triangular L (n x n) and x (rows x n), both with rows of `stride` numbers.
void solveLower(int64_t rows, int64_t n, const double* l, double* x, int64_t stride);

// QR factors with column pivoting (Businger and Golub 1965) of a column-major m x n matrix: R
// replaces its upper triangle, and column pivots[j] of the matrix is column j of Q R.
int64_t qrPivotedWork(int64_t m, int64_t n);
void qrPivoted(int64_t m, int64_t n, double* a, int* pivots, double* work);
// x <- R^-1 x for upper triangular R (n x n) and x (n x columns), both column-major.
void solveUpper(int64_t n, int64_t columns, const double* r, double* x);

} // namespace lapack

} // namespace lowrank
