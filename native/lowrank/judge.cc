#include "lowrank/judge.h"

#include <algorithm>
#include <cmath>

#include "core/norms.h"

namespace lowrank {
namespace {

// An error that exceeds the smallest possible by no more than this share of |w|_F is rounding,
// whatever the target says: storing What in float32 alone costs a third of an epsilon.
constexpr double kRoundingFloor = 8 * kEpsilon;

// Of the terms of a sum in float32 no more are added one after the other than this allows for, even
// where all their roundings agree, as those of equal terms do: 384 in gemm, half a unit in the last
// place each, half of the time.
constexpr double kAgreeing = 64 * kEpsilon;

// The smallest error of any approximation of the rank, from below: its square is at least this.
double leastSquared(const Candidate& c, double error, double norm, ConstMatrix w) {
  if (c.rank == 0) return error * error;
  if (std::isfinite(c.tail)) return std::max(std::min(error * error, c.tail) - c.gain, 0.0);
  // Without the spectrum, what rounding can have added to the error that was measured has to be
  // taken off. A complement is a product no larger than the error, and a difference that is rounded
  // by half a unit.
  const double formed = c.product.complement ? error + norm / 4 : norm, sums = c.product.complement ? error : norm;
  const double measured = std::max(error - slackOf(error, formed, w), 0.0), rounded = kAgreeing * sums;
  return std::max(measured * measured - rounded * rounded - c.gain, 0.0);
}

} // namespace

Certificate certify(const Candidate& c, double squaredError, double energy, ConstMatrix w) {
  const double norm = std::sqrt(energy), error = std::sqrt(squaredError);
  return {c.rank, c.route, bit(c.route), norm, error, std::sqrt(leastSquared(c, error, norm, w)), c.spectralError};
}

// What rounding a matrix of norm `formed` to float32 adds to an error: across it at random, and
// along it as far as roundings agree. Of a structured matrix, whose rows and columns repeat, no
// more roundings than its shorter side has numbers are independent.
double slackOf(double error, double formed, ConstMatrix w) {
  const double rounded = 2 * kEpsilon * formed, independent = static_cast<double>(std::min(w.rows, w.cols));
  return std::hypot(error, rounded) - error + rounded * std::min(1.0, 4 / std::sqrt(independent));
}

bool acceptable(const Certificate& c, double target) {
  return c.excessBound() <= target || c.error - c.leastError <= kRoundingFloor * c.norm;
}

} // namespace lowrank
