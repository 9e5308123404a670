// How well a singular value has to be known to be reported, from eigenvalues in float32.
#pragma once

namespace lowrank {

// As a share of the largest one.
inline constexpr double kValueError = 1e-5;

} // namespace lowrank
