// The only door to OpenBLAS. Row-major in and out (see matrix_view.h), sizes checked against its 32-bit integers.
#pragma once

#include <cstdint>
#include <string>

#include "matrix_view.h"

namespace lowrank {

namespace blas {

// The process-wide thread count. Only threads.cc sets it.
int threads();
void setThreads(int count);
std::string version();
std::string kernel();

// C = alpha op(A) op(B) + beta C, row-major; op transposes when the flag is set.
void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc);

} // namespace blas

namespace lapack {

// Sizes of the work arrays of `thinSvd`, in elements. Throws ERR_MEMORY where LAPACK's 32-bit integers overflow.
struct SvdWork {
  int64_t work;
  int64_t integers;
};
SvdWork thinSvdWork(int64_t m, int64_t n, bool vectors);
int64_t gesvdWork(int64_t m, int64_t n, bool vectors);

// a (m x n, stride n) = u diag(s) vt; a is destroyed. u: m x r, vt: r x n, r = min(m, n); both null for values only.
// Returns LAPACK's info: 0, or > 0 when it did not converge.
int gesdd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork, int* iwork);
int gesvd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork);

} // namespace lapack

} // namespace lowrank
