// Measures how strongly H = w'w (or ww') couples computed singular vectors V with all other
// directions. For random vectors x without a part in V, the rows of V'Hx are on average as long as
// those of V'H(I - VV'). These are 0 for exact singular vectors. For computed ones they are what
// rounding has left, and the gain (gain.h) follows from them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// Returns for each row of `vectors` (orthonormal) the length of its row of H outside their span,
// raised because a measurement with 32 random vectors may be too low. The vectors are right
// singular vectors (count x n) with `images` w V' (m x count), or left ones (count x m) of a matrix
// that is not square with `images` V w (count x n).
std::vector<double> couplings(const Context& context, ConstMatrix w, ConstMatrix vectors, ConstMatrix images);
// The same of a whole basis, whose vectors are coupled with each other alone: for each of them the
// length of its row of H in this basis, without the diagonal, `squares`. The images are columns of
// a matrix, or rows.
std::vector<double> couplingsWithin(const Context& context, ConstMatrix images, bool columns,
                                    const std::vector<double>& squares);
int64_t couplingsBytes(int64_t m, int64_t n, int64_t count);

} // namespace lowrank
