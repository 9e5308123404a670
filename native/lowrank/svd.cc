#include "lowrank/svd.h"

#include <algorithm>
#include <string>

#include "blas/lapack.h"
#include "blas/lease.h"
#include "core/failure.h"
#include "core/norms.h"

namespace lowrank {

SvdDriver thinSvd(const Context& context, ConstMatrix w, float* s, float* u, float* vt, SvdOptions options) {
  const int64_t m = w.rows, n = w.cols;
  const bool vectors = u != nullptr;
  Buffer<float> a(context.memory, m * n); // LAPACK destroys its input
  copyRows(w, a.data());
  // Check the copy: LAPACK may never return from a NaN, and nobody else can change the copy before
  // LAPACK reads it.
  requireFinite(ConstMatrix(a.data(), m, n), context.team);
  context.control.check();

  const WideBlas wide(context.team);
  int info = 0;
  if (options.driver == SvdDriver::gesdd) {
    const auto size = lapack::thinSvdWork(m, n, vectors);
    Buffer<float> work(context.memory, size.work);
    Buffer<int> integers(context.memory, size.integers);
    info = lapack::gesdd(m, n, a.data(), s, u, vt, work.data(), size.work, integers.data());
    if (info == 0 && !options.hooks.pretendGesddFails) return SvdDriver::gesdd;
    context.control.check();
    copyRows(w, a.data());
    requireFinite(ConstMatrix(a.data(), m, n), context.team);
  }
  const int64_t size = lapack::gesvdWork(m, n, vectors);
  Buffer<float> work(context.memory, size);
  info = lapack::gesvd(m, n, a.data(), s, u, vt, work.data(), size);
  if (info != 0) {
    throw Failure("ERR_NO_CONVERGENCE",
                  "neither gesdd nor gesvd converged (gesvd left " + std::to_string(info) + " superdiagonals)");
  }
  return SvdDriver::gesvd;
}

int64_t thinSvdBytes(int64_t m, int64_t n, bool vectors) {
  const auto size = lapack::thinSvdWork(m, n, vectors);
  return 4 * (m * n + size.work + size.integers);
}

} // namespace lowrank
