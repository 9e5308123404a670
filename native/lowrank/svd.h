// Exact thin singular value decomposition by LAPACK.
#pragma once

#include "core/matrix_view.h"
#include "core/memory.h"
#include "core/threads.h"

namespace lowrank {

// What every computation is given: where to count memory, whether to stop, with whom to share the work.
struct Context {
  Ledger& memory;
  const Control& control;
  Team& team;
  // The part of the whole task that this computation is: [from, from + span] of [0, 1].
  double from = 0;
  double span = 1;

  void progress(double share) const {
    if (span > 0) control.progress(from + span * share);
  }
};

enum class SvdDriver { gesdd, gesvd };

struct SvdOptions {
  SvdDriver driver = SvdDriver::gesdd;
  // Lets a test see the fallback: gesdd is taken to have failed.
  bool pretendGesddFails = false;
};

// w = u diag(s) vt with s descending and r = min(m, n) columns; u and vt both null for the values alone. w is left
// alone. Divide and conquer (sgesdd); where that does not converge, QR iteration (sgesvd). Returns the driver that
// succeeded. Throws ERR_NOT_FINITE, ERR_NO_CONVERGENCE, ERR_MEMORY.
SvdDriver thinSvd(const Context& context, ConstMatrix w, float* s, float* u, float* vt, SvdOptions options = {});

// The native bytes that thinSvd takes at its peak.
int64_t thinSvdBytes(int64_t m, int64_t n, bool vectors);

} // namespace lowrank
