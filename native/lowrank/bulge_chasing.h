// The second of two stages to tridiagonal form: a symmetric band becomes tridiagonal, B = Q T Q', by one sweep of
// reflectors for each column (Lang 1993). Sweeps follow each other down the band, two steps apart, so that several
// threads work at once (Haidar, Ltaief and Dongarra 2011).
#pragma once

#include <cstdint>

#include "core/context.h"
#include "lowrank/reflectors.h"

namespace lowrank {

// Row i of a band (kBandRow elements) has the elements (i, i) to (i, i + kLength) of B, then room for what the sweeps
// fill in. It is read by whole vectors: what is beyond the order, or between the rows, has to be zero.
constexpr int64_t kBandRow = 2 * Reflectors::kLength + 16;
constexpr int64_t bandRows(int64_t n) { return n + Reflectors::kLength; }

// `diagonal` (n) and `offDiagonal` (n - 1) are those of T. `band` is destroyed. Without `reflectors` T is all there is.
template <class T>
void chaseBulges(const Context& context, int64_t n, T* band, Reflectors* reflectors, T* diagonal, T* offDiagonal);

} // namespace lowrank
