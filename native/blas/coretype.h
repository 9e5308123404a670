// Chooses OpenBLAS' kernels on processors that it does not know.
#pragma once

#include <string>

namespace lowrank::blas {

// OpenBLAS recognises processors by model number and falls back on SSE3 kernels (Prescott), at a
// fifth of the speed, for models newer than itself. This selects kernels by the vector instructions
// that are available. OPENBLAS_CORETYPE, if set, takes precedence. Call before the first
// computation; costs microseconds, once.
void chooseKernels();

// OpenBLAS' name of the kernels that compute now.
std::string kernelName();

} // namespace lowrank::blas
