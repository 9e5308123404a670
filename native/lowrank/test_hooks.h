// What tests change to reach branches that no matrix of theirs would reach.
#pragma once

#include <cstdint>

namespace lowrank {

struct TestHooks {
  // Treats gesdd as not converged, so that gesvd takes over.
  bool pretendGesddFails = false;
  // Bounds the subspace of `krylov`; 0 for the planner's own bound.
  int64_t maxDimension = 0;
  // Brings Gram matrices of any order to tridiagonal form in two stages.
  bool twoStages = false;
};

} // namespace lowrank
