// The second of two stages to tridiagonal form: reduces a symmetric band to tridiagonal form, B = Q
// T Q', by one sweep of reflectors for each column (Lang 1993). Sweeps follow each other down the
// band, two steps apart, so that several threads work at once (Haidar, Ltaief and Dongarra 2011).
#pragma once

#include <cstdint>

#include "core/context.h"
#include "lowrank/reflectors.h"

namespace lowrank {

// Row i of a band (kBandRow elements) holds the elements (i, i) to (i, i + kLength) of B, then room
// for the fill-in of the sweeps. Rows are read in whole vectors, so the elements beyond the order
// and between the rows must be zero.
constexpr int64_t kBandRow = 2 * Reflectors::kLength + 16;
constexpr int64_t bandRows(int64_t n) { return n + Reflectors::kLength; }

// Writes T to `diagonal` (n elements) and `offDiagonal` (n - 1). Destroys `band`. Keeps the
// reflectors unless `reflectors` is null.
template <class T>
void chaseBulges(const Context& context, int64_t n, T* band, Reflectors* reflectors, T* diagonal, T* offDiagonal);

} // namespace lowrank
