// lane_solver.h, compiled for each width of the vector registers.
#pragma once

#include <cstdint>

#include "lowrank/lane_layout.h"

namespace lowrank::lanes {

struct Path {
  int64_t width;
  // `width` matrices, null for none. `memory` holds Places::end vectors; the approximations take
  // the place of the Gram matrices there.
  void (*approximate)(const Sizes&, const float* const* w, float* memory, Figures&);
};

// The narrowest path of this processor that takes `count` matrices at once, or the widest. All of
// them round alike.
const Path& pathFor(int64_t count);

} // namespace lowrank::lanes
