#include "blas/gemm.h"

#include "blas/lapack.h"

namespace lowrank {
namespace {

// gemm's own blocks are multiples of this.
constexpr int64_t kGrain = 16;

} // namespace

void gemm(Team& team, bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
          int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc) {
  if (m >= n) {
    team.ranges(m, kGrain, [&](int64_t begin, int64_t end) {
      blas::gemm(transposeA, transposeB, end - begin, n, k, alpha, a + begin * (transposeA ? 1 : lda), lda, b, ldb, 0,
                 c + begin * ldc, ldc);
    });
  } else {
    team.ranges(n, kGrain, [&](int64_t begin, int64_t end) {
      blas::gemm(transposeA, transposeB, m, end - begin, k, alpha, a, lda, b + begin * (transposeB ? ldb : 1), ldb, 0,
                 c + begin, ldc);
    });
  }
}

void multiplyRows(ConstMatrix b, ConstMatrix a, float* c) {
  blas::gemm(false, false, b.rows, a.cols, a.rows, 1, b.data, b.stride, a.data, a.stride, 0, c, a.cols);
}

} // namespace lowrank
