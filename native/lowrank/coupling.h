// How strongly H = w'w (or ww') couples computed singular vectors with everything else, measured:
// for vectors V and random vectors x without a part in V, the rows of V'Hx are as long as those of
// V'H(1 - VV') on average. Exact singular vectors have none; of computed ones it is what rounding
// has left, and the gain (gain.h) follows from it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// For each row of `vectors` (orthonormal) the length of its row of H outside their span, raised by
// what a measurement with 32 random vectors may be too low. The vectors are right ones (count x n),
// and `images` w V' (m x count); or left ones (count x m) of a matrix that is not square, and
// `images` V w (count x n).
std::vector<double> couplings(const Context& context, ConstMatrix w, ConstMatrix vectors, ConstMatrix images);
int64_t couplingsBytes(int64_t m, int64_t n, int64_t count);

} // namespace lowrank
