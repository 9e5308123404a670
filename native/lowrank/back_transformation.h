// Turns eigenvectors of the tridiagonal matrix into those of the band: applies the reflectors of
// bulge chasing to k vectors, four reflectors at once (Auckenthaler et al. 2011).
#pragma once

#include <cstdint>

#include "core/context.h"
#include "lowrank/reflectors.h"

namespace lowrank {

// Multiplies each row of `vectors` (k x n, compact) by Q.
void transformBack(const Context& context, const Reflectors& reflectors, int64_t k, float* vectors);

// Native bytes that `transformBack` needs.
int64_t transformBackBytes(int64_t n, int threads);

} // namespace lowrank
