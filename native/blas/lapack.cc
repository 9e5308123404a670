#include "blas/lapack.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <sstream>

#include "blas/coretype.h"
#include "core/failure.h"

// The Fortran symbols are declared here because distributions ship the archive with different
// headers. Each character argument has its length appended at the end (the ABI of gfortran).
extern "C" {
void sgemm_(const char*, const char*, const int*, const int*, const int*, const float*, const float*, const int*,
            const float*, const int*, const float*, float*, const int*, size_t, size_t);
void dgemm_(const char*, const char*, const int*, const int*, const int*, const double*, const double*, const int*,
            const double*, const int*, const double*, double*, const int*, size_t, size_t);
void sgemv_(const char*, const int*, const int*, const float*, const float*, const int*, const float*, const int*,
            const float*, float*, const int*, size_t);
void dgemv_(const char*, const int*, const int*, const double*, const double*, const int*, const double*, const int*,
            const double*, double*, const int*, size_t);
void sger_(const int*, const int*, const float*, const float*, const int*, const float*, const int*, float*,
           const int*);
void dger_(const int*, const int*, const double*, const double*, const int*, const double*, const int*, double*,
           const int*);
void sgesdd_(const char*, const int*, const int*, float*, const int*, float*, float*, const int*, float*, const int*,
             float*, const int*, int*, int*, size_t);
void sgesvd_(const char*, const char*, const int*, const int*, float*, const int*, float*, float*, const int*, float*,
             const int*, float*, const int*, int*, size_t, size_t);
void dsytrd_(const char*, const int*, double*, const int*, double*, double*, double*, double*, const int*, int*,
             size_t);
void dstemr_(const char*, const char*, const int*, double*, double*, const double*, const double*, const int*,
             const int*, int*, double*, double*, const int*, const int*, int*, int*, double*, const int*, int*,
             const int*, int*, size_t, size_t);
void dormtr_(const char*, const char*, const char*, const int*, const int*, const double*, const int*, const double*,
             double*, const int*, double*, const int*, int*, size_t, size_t, size_t);
void dpotrf_(const char*, const int*, double*, const int*, int*, size_t);
void dgeqp3_(const int*, const int*, double*, const int*, int*, double*, double*, const int*, int*);
void dtrsm_(const char*, const char*, const char*, const char*, const int*, const int*, const double*, const double*,
            const int*, double*, const int*, size_t, size_t, size_t, size_t);
int openblas_get_num_threads(void);
void openblas_set_num_threads(int);
char* openblas_get_config(void);
}

namespace lowrank {
namespace {

constexpr int64_t kLargest = std::numeric_limits<int>::max();

int narrow(int64_t value, const char* what) {
  if (value > kLargest) {
    throw Failure("ERR_MEMORY", std::string(what) + " of " + std::to_string(value) +
                                    " does not fit the 32-bit integers of LAPACK (at most 2147483647)");
  }
  return static_cast<int>(value);
}

int answer(float query) { return static_cast<int>(std::min<double>(query, kLargest)); }

} // namespace

namespace blas {

int threads() {
  chooseKernels();
  return openblas_get_num_threads();
}
void setThreads(int count) { openblas_set_num_threads(count); }
std::string kernel() {
  chooseKernels();
  return kernelName();
}

std::string version() {
  // Take the second word of "OpenBLAS 0.3.21 NO_LAPACKE DYNAMIC_ARCH ...".
  std::istringstream words(openblas_get_config());
  std::string name, number;
  words >> name >> number;
  return number;
}

namespace {

// One name for the routines of both precisions.
void gemmOf(const char* ta, const char* tb, const int* m, const int* n, const int* k, const float* alpha,
            const float* a, const int* lda, const float* b, const int* ldb, const float* beta, float* c,
            const int* ldc) {
  sgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, 1);
}
void gemmOf(const char* ta, const char* tb, const int* m, const int* n, const int* k, const double* alpha,
            const double* a, const int* lda, const double* b, const int* ldb, const double* beta, double* c,
            const int* ldc) {
  dgemm_(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, 1, 1);
}

// Row-major C = A B is column-major C' = B' A'.
template <class T>
void gemmRows(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, T alpha, const T* a, int64_t lda,
              const T* b, int64_t ldb, T beta, T* c, int64_t ldc) {
  if (m == 0 || n == 0) return;
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"), inner = narrow(k, "a size");
  const int strideA = narrow(std::max<int64_t>(lda, 1), "a stride"),
            strideB = narrow(std::max<int64_t>(ldb, 1), "a stride"),
            strideC = narrow(std::max<int64_t>(ldc, 1), "a stride");
  gemmOf(transposeB ? "T" : "N", transposeA ? "T" : "N", &rows, &cols, &inner, &alpha, b, &strideB, a, &strideA, &beta,
         c, &strideC);
}

} // namespace

void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a, int64_t lda,
          const float* b, int64_t ldb, float beta, float* c, int64_t ldc) {
  gemmRows(transposeA, transposeB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, double alpha, const double* a, int64_t lda,
          const double* b, int64_t ldb, double beta, double* c, int64_t ldc) {
  gemmRows(transposeA, transposeB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}
void gemm(int64_t m, int64_t n, int64_t k, const double* a, const double* b, double* c) {
  gemmRows(false, false, m, n, k, 1.0, a, k, b, n, 0.0, c, n);
}

void gemv(bool transpose, int64_t m, int64_t n, float alpha, const float* a, int64_t lda, const float* x, float beta,
          float* y) {
  if (m == 0 || n == 0) return;
  // Row-major A is column-major A'.
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            stride = narrow(lda, "a stride"), one = 1;
  sgemv_(transpose ? "N" : "T", &rows, &cols, &alpha, a, &stride, x, &one, &beta, y, &one, 1);
}
void gemv(bool transpose, int64_t m, int64_t n, double alpha, const double* a, int64_t lda, const double* x,
          double beta, double* y) {
  if (m == 0 || n == 0) return;
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            stride = narrow(lda, "a stride"), one = 1;
  dgemv_(transpose ? "N" : "T", &rows, &cols, &alpha, a, &stride, x, &one, &beta, y, &one, 1);
}

void ger(int64_t m, int64_t n, float alpha, const float* x, const float* y, float* a, int64_t lda) {
  if (m == 0 || n == 0) return;
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            stride = narrow(lda, "a stride"), one = 1;
  sger_(&rows, &cols, &alpha, y, &one, x, &one, a, &stride);
}
void ger(int64_t m, int64_t n, double alpha, const double* x, const double* y, double* a, int64_t lda) {
  if (m == 0 || n == 0) return;
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            stride = narrow(lda, "a stride"), one = 1;
  dger_(&rows, &cols, &alpha, y, &one, x, &one, a, &stride);
}

} // namespace blas

namespace lapack {

SvdWork thinSvdWork(int64_t m, int64_t n, bool vectors) {
  const int64_t r = std::min(m, n), longer = std::max(m, n);
  // Compute the minimum by formula (LAPACK 3.10, sgesdd.f, MINWRK with JOBZ = 'S' or 'N'): the
  // query returns it in a float32, which rounds from 2^24 on.
  int64_t least;
  if (!vectors) {
    least = 3 * r + std::max(longer, 7 * r);
  } else if (longer >= r * 11 / 6) {
    least = 4 * r * r + 7 * r;
  } else {
    least = 3 * r + std::max(longer, 3 * r * r + 4 * r);
  }
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            minimum = narrow(r, "a size");
  narrow(least, "an SVD workspace");
  const int query = -1;
  float size = 0;
  int info = 0;
  // sgesdd(W') returns U and Vt exchanged.
  sgesdd_(vectors ? "S" : "N", &rows, &cols, nullptr, &rows, nullptr, nullptr, &rows, nullptr, &minimum, &size, &query,
          nullptr, &info, 1);
  const int64_t best = std::max<int64_t>(least, answer(size));
  return {std::min(best, kLargest), 8 * r};
}

int64_t gesvdWork(int64_t m, int64_t n, bool vectors) {
  const int64_t r = std::min(m, n), longer = std::max(m, n);
  const int64_t least = std::max(3 * r + longer, 5 * r);
  const int rows = narrow(n, "a number of columns"), cols = narrow(m, "a number of rows"),
            minimum = narrow(r, "a size");
  const int query = -1;
  float size = 0;
  int info = 0;
  const char* job = vectors ? "S" : "N";
  sgesvd_(job, job, &rows, &cols, nullptr, &rows, nullptr, nullptr, &rows, nullptr, &minimum, &size, &query, &info, 1,
          1);
  return std::min(std::max<int64_t>(least, answer(size)), kLargest);
}

int gesdd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork, int* iwork) {
  const int rows = static_cast<int>(n), cols = static_cast<int>(m), minimum = std::min(rows, cols);
  const int length = narrow(lwork, "an SVD workspace");
  int info = 0;
  sgesdd_(u ? "S" : "N", &rows, &cols, a, &rows, s, vt, &rows, u, &minimum, work, &length, iwork, &info, 1);
  return info;
}

int gesvd(int64_t m, int64_t n, float* a, float* s, float* u, float* vt, float* work, int64_t lwork) {
  const int rows = static_cast<int>(n), cols = static_cast<int>(m), minimum = std::min(rows, cols);
  const int length = narrow(lwork, "an SVD workspace");
  const char* job = u ? "S" : "N";
  int info = 0;
  sgesvd_(job, job, &rows, &cols, a, &rows, s, vt, &rows, u, &minimum, work, &length, &info, 1, 1);
  return info;
}

namespace {

// Columns that the blocked reductions work on at a time; LAPACK itself chooses 32.
constexpr int64_t kEigenBlock = 64;

} // namespace

EigenWork eigenWork(int64_t n, int64_t k) {
  // The diagonal, the off-diagonal, the reflectors' scales, all n eigenvalues that stemr may write,
  // and the larger of the routines' own needs (18 n for stemr).
  return {4 * n + std::max(kEigenBlock * n, 18 * n), 10 * n + 2 * std::max<int64_t>(k, 1)};
}

bool eigen(int64_t n, int64_t k, bool smallest, double* a, double* values, double* vectors, double* work,
           EigenWork size, int* integers) {
  const int order = narrow(n, "a matrix of order"), wanted = narrow(k, "a number of eigenvalues");
  double *d = work, *e = d + n, *tau = e + n, *w = tau + n, *rest = w + n;
  const int lrest = narrow(size.work - 4 * n, "a workspace"), lintegers = narrow(10 * n, "a workspace");
  int info = 0, found = 0, robust = 1;
  dsytrd_("L", &order, a, &order, d, e, tau, rest, &lrest, &info, 1);
  const int first = smallest ? 1 : order - wanted + 1, last = smallest ? wanted : order;
  dstemr_("V", "I", &order, d, e, nullptr, nullptr, &first, &last, &found, w, vectors, &order, &wanted,
          integers + 10 * n, &robust, rest, &lrest, integers, &lintegers, &info, 1, 1);
  if (info != 0 || found != wanted) return false;
  dormtr_("L", "L", "N", &order, &wanted, a, &order, tau, vectors, &order, rest, &lrest, &info, 1, 1, 1);
  std::copy(w, w + k, values);
  if (smallest) return true;
  std::reverse(values, values + k);
  for (int64_t i = 0; i < k / 2; i++)
    std::swap_ranges(vectors + i * n, vectors + (i + 1) * n, vectors + (k - 1 - i) * n);
  return true;
}

bool cholesky(int64_t n, double* a, int64_t stride) {
  const int order = narrow(n, "an order"), lda = narrow(stride, "a number of columns");
  int info = 0;
  dpotrf_("U", &order, a, &lda, &info, 1);
  return info == 0;
}

void solveLower(int64_t rows, int64_t n, const double* l, double* x, int64_t stride) {
  // Row-major L is column-major L', and the rows of x are columns of x'.
  const int order = narrow(n, "an order"), count = narrow(rows, "a number of rows"),
            lda = narrow(stride, "a number of columns");
  const double one = 1;
  dtrsm_("L", "U", "T", "N", &order, &count, &one, l, &lda, x, &lda, 1, 1, 1, 1);
}

// LAPACK's own block, and the norms of columns.
int64_t qrPivotedWork(int64_t m, int64_t n) { return std::min(m, n) + 2 * n + (n + 1) * 32; }

void qrPivoted(int64_t m, int64_t n, double* a, int* pivots, double* work) {
  if (m == 0 || n == 0) return;
  const int rows = narrow(m, "a number of rows"), cols = narrow(n, "a number of columns");
  const int64_t reflectors = std::min(m, n);
  const int length = narrow(qrPivotedWork(m, n) - reflectors, "a workspace");
  int info = 0;
  std::fill(pivots, pivots + n, 0);
  dgeqp3_(&rows, &cols, a, &rows, pivots, work, work + reflectors, &length, &info);
  for (int64_t i = 0; i < n; i++) pivots[i]--;
}

void solveUpper(int64_t n, int64_t columns, const double* r, double* x) {
  if (n == 0 || columns == 0) return;
  const int order = narrow(n, "an order"), count = narrow(columns, "a number of columns");
  const double one = 1;
  dtrsm_("L", "U", "N", "N", &order, &count, &one, r, &order, x, &order, 1, 1, 1, 1);
}

} // namespace lapack
} // namespace lowrank
