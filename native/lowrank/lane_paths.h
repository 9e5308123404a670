// The stages of lane_solver.h, compiled for each width of the vector registers.
#pragma once

#include <cstdint>

#include "lowrank/lane_layout.h"

namespace lowrank::lanes {

struct Path {
  int64_t width;
  // From `width` matrices, null for none, to tridiagonal form; `memory` holds Places::end vectors.
  void (*reduce)(const Sizes&, const float* const* w, float* memory, Figures&);
  void (*findVectors)(const Search&);
  // From the eigenvectors to the approximations, which take the place of the Gram matrices, and their figures.
  void (*form)(const Sizes&, float* memory, Figures&);
};

// The narrowest path of this processor that takes `count` matrices at once, or the widest. All of them round alike.
const Path& pathFor(int64_t count);

} // namespace lowrank::lanes
