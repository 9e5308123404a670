// Which kernels OpenBLAS uses on a processor that it does not know.
#pragma once

namespace lowrank::blas {

// OpenBLAS takes processors for what their model number says, and SSE3 kernels (Prescott) for the models of which its
// version has not heard: a fifth of the speed. This gives it the kernels of the vector instructions that there are. A
// choice of OPENBLAS_CORETYPE stands. Must come before the first computation; costs microseconds, and only once.
void chooseKernels();

} // namespace lowrank::blas
