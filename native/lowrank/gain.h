// How much more energy than the computed k singular vectors hold the best ones could hold, because
// of what couples the two.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lowrank {

// What one kept direction can contribute: its eigenvalue lies `gap` above all that was not kept,
// and `coupling` is the length of its row of H outside the kept block. In an eigenbasis of the kept
// block H = [L, C; C', D] with D <= nu; for any x_i > 0, H >= diag(L - X, D - C' X^-1 C). Of -H the
// eigenvalues that were not kept are the largest; closing by Ky Fan's inequality as in
// docs/mathematics.md gives sum_i min(|c_i|^2 / (lambda_i - nu), 2 |c_i|).
inline double gainAcross(double coupling, double gap) {
  if (gap <= 0) return 2 * coupling - gap;
  return std::min(2 * coupling, coupling * coupling / gap);
}

} // namespace lowrank
