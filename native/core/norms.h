// Norms and checks of float32 data, accumulated in float64. The shape alone fixes the order of
// summation, so results do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "core/exact.h"
#include "core/matrix_view.h"
#include "core/threads.h"

namespace lowrank {

// The distance from 1 to the next float32.
inline constexpr double kEpsilon = 1.0 / (1 << 23);

// sum of x_i^2 / of (x_i - y_i)^2
double squares(const float* x, int64_t count);
double squares(const double* x, int64_t count);
double squaredDistance(const float* x, const float* y, int64_t count);
double squaredDistance(const float* x, const double* y, int64_t count);

// |w|_F^2 without rounding: the squares of float32 are exact in float64, their sum in twice that.
Exact exactSquares(ConstMatrix w, Team& team);

// Computed in one pass before any method runs.
struct MatrixStats {
  double energy; // |w|_F^2
  float largest; // magnitude
};
// Throws ERR_NOT_FINITE, naming row and column of the first NaN or infinity.
MatrixStats matrixStats(ConstMatrix w, Team& team);

// Throws as `matrixStats` does.
void requireFinite(ConstMatrix w, Team& team);

} // namespace lowrank
