// Exact thin singular value decomposition by LAPACK.
#pragma once

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/test_hooks.h"

namespace lowrank {

enum class SvdDriver { gesdd, gesvd };
// The names that JavaScript sees; each index is a code.
inline constexpr const char* kSvdDriverNames[] = {"gesdd", "gesvd"};

struct SvdOptions {
  SvdDriver driver = SvdDriver::gesdd;
  TestHooks hooks = {};
};

// w = u diag(s) vt with s descending and r = min(m, n) columns; u and vt both null for the values
// alone. w is not changed. Uses divide and conquer (sgesdd), and QR iteration (sgesvd) if that does
// not converge. Returns the driver that succeeded. Throws ERR_NOT_FINITE, ERR_NO_CONVERGENCE,
// ERR_MEMORY.
SvdDriver thinSvd(const Context& context, ConstMatrix w, float* s, float* u, float* vt, SvdOptions options = {});

// Returns the native bytes that thinSvd needs at its peak.
int64_t thinSvdBytes(int64_t m, int64_t n, bool vectors);

} // namespace lowrank
