// What an error of a matrix does to the outputs of its layer.
#pragma once

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/weighted.h"

namespace lowrank {

// tr(E C E'), the mean of |E x|^2 over the inputs x, by their moments C or the diagonal; without
// any, |E|_F^2. Throws ERR_ARGUMENT for moments of the outputs.
double weightedSquares(const Context& context, ConstMatrix e, const Moments* moments);

} // namespace lowrank
