// Eigenvectors of the tridiagonal matrix become those of the band: the reflectors of bulge chasing applied to k
// vectors, four at once (Auckenthaler et al. 2011).
#pragma once

#include <cstdint>

#include "core/context.h"
#include "lowrank/reflectors.h"

namespace lowrank {

// Row i of `vectors` (k x n, compact) becomes Q times it.
void transformBack(const Context& context, const Reflectors& reflectors, int64_t k, float* vectors);

// Native bytes that it needs.
int64_t transformBackBytes(int64_t n, int threads);

} // namespace lowrank
