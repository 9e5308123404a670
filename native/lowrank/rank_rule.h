// The rank that a spectrum is cut at: the smallest that discards at most a given share of the
// energy.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/exact.h"

namespace lowrank {

// The smallest k with sum_{i >= k} s_i^2 <= tail * energy, summed from the small end. Sums are
// exact, so that a share that is met exactly counts as met; the margin is that of `Exact` itself.
template <class Squares> int64_t rankForTail(int64_t count, Exact energy, Exact tail, const Squares& squares) {
  constexpr double kMargin = 0x1p-90;
  // All may be discarded, though rounded squares may sum to more than the energy.
  if (tail.minus({1, 0}) >= 0) return 0;
  const Exact allowed = energy.times(tail);
  Exact discarded;
  int64_t k = count;
  while (k > 0) {
    discarded.add(std::max(static_cast<double>(squares(k - 1)), 0.0));
    if (discarded.minus(allowed) > kMargin * energy.high) break;
    k--;
  }
  return k;
}

} // namespace lowrank
