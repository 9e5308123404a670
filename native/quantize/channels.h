// Weights as int8 with a scale for each output: the format of MatMulInteger.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// codes[j, i] scales[i] stands for w[i, j]: the codes lie transposed, n x m. Kernels of x86
// processors without VNNI add the products of two neighbouring inputs in 16 bits: the magnitudes of
// two neighbouring codes sum to at most 128, which no inputs overflow. Scales are numbers of
// float16. Throws ERR_NOT_FINITE.
void quantizeChannels(const Context& context, ConstMatrix w, int8_t* codes, float* scales);

} // namespace lowrank
