// The interpolative decomposition of a factor: all of its rows as combinations of k of them.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// Row order[k + j] of b (m x k, of rank k) is row j of c ((m - k) x k) times the pivot rows
// order[0] to order[k - 1]. The pivots are those of QR with column pivoting of b' (Cheng, Gimbutas,
// Martinsson and Rokhlin 2005). Throws ERR_ARGUMENT where b has a smaller rank, as far as float32
// can tell.
void interpolate(const Context& context, ConstMatrix b, int32_t* order, float* c);

} // namespace lowrank
