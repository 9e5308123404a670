// What a candidate proves about itself, once its error has been measured.
#pragma once

#include <cstdint>

#include "core/matrix_view.h"
#include "lowrank/request.h"
#include "lowrank/routes.h"

namespace lowrank {

// The bit of a route in Certificate::tried.
constexpr uint32_t bit(Route route) { return 1u << static_cast<int>(route); }

// The certificate of an approximation of w, with |w - What|_F^2 and |w|_F^2 as they were measured;
// `slack` is left at 0.
Certificate certify(const Candidate& c, double squaredError, double energy, ConstMatrix w);

// What rounding a matrix of norm `formed` to float32 can add to an error.
double slackOf(double error, double formed, ConstMatrix w);

// Whether the error is within the target of the smallest possible one, or within rounding.
bool acceptable(const Certificate& c, double target);

} // namespace lowrank
