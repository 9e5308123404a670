// Measures of float32 data, accumulated in float64. The order of summation is fixed by the shape, so the results do not
// depend on the number of threads.
#pragma once

#include <cstdint>

#include "matrix_view.h"
#include "threads.h"

namespace lowrank {

// sum of x_i^2 / of (x_i - y_i)^2
double squares(const float* x, int64_t count);
double squaredDistance(const float* x, const float* y, int64_t count);

double squares(ConstMatrix w, Team& team);
double squaredDistance(ConstMatrix x, ConstMatrix y, Team& team);

float largestMagnitude(ConstMatrix w, Team& team);

// Index (row * cols + col) of the first NaN or infinity, -1 when there is none.
int64_t firstNonFinite(ConstMatrix w, Team& team);

// Throws ERR_NOT_FINITE, naming row and column.
void requireFinite(ConstMatrix w, Team& team);

} // namespace lowrank
