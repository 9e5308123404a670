// What every computation receives from its caller.
#pragma once

#include "core/memory.h"
#include "core/threads.h"

namespace lowrank {

struct Context {
  MemoryLedger& memory;   // counts its buffers
  const Control& control; // says when to stop, takes reports of progress
  Team& team;             // shares the work
  // The part of the whole task that this computation is: [from, from + span] of [0, 1].
  double from = 0;
  double span = 1;

  void progress(double share) const {
    if (span > 0) control.progress(from + span * share);
  }
};

} // namespace lowrank
