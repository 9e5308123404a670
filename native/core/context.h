// What every computation receives from its caller.
#pragma once

#include "core/memory.h"
#include "core/threads.h"

namespace lowrank {

struct Context {
  MemoryLedger& memory;   // counts and limits its buffers
  const Control& control; // cancellation and progress
  Team& team;             // the threads to share work with
  // This computation is the part [from, from + span] of the whole task, [0, 1].
  double from = 0;
  double span = 1;

  void progress(double share) const {
    if (span > 0) control.progress(from + span * share);
  }
};

} // namespace lowrank
