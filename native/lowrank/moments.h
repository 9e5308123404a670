// Sums that make the moments of the vectors that a layer sees.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// sum (n) += the sum of the rows x of `rows`; second += the sum of x x' (n x n, its lower
// triangle), or of x_j^2 (n) if `diagonal`. Products are in float32, a few hundred rows at a time,
// everything beyond in float64. Throws ERR_NOT_FINITE.
void accumulateMoments(const Context& context, ConstMatrix rows, bool diagonal, double* sum, double* second);

} // namespace lowrank
