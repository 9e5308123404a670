// Rounding in which later numbers of a row make up for the errors of earlier ones (GPTQ, Frantar et
// al. 2023; as LDLQ, Chee et al. 2023), and then cyclic descent over codes and scales (QuantEase,
// Behdin et al. 2023).
#pragma once

#include "core/context.h"
#include "core/matrix_view.h"
#include "quantize/quantize_blocks.h"

namespace lowrank {

// `c` are the second moments of the inputs, n x n. Throws ERR_ARGUMENT where they are no moments.
void roundCompensated(const Context& context, ConstMatrix w, const double* c, const BlockRequest& request,
                      const BlockCodes& result);

} // namespace lowrank
