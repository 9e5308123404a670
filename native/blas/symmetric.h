// Products with a symmetric matrix of which only the upper triangle is kept, in whole
// blocks of kSymmetricBlock rows: row i from column i / kSymmetricBlock * kSymmetricBlock on, so
// that the blocks on the diagonal are complete. Each row is read once, for its own product and for
// that of its transpose.
#pragma once

#include <cstdint>

namespace lowrank {

constexpr int64_t kSymmetricBlock = 16;

// y (width) += what rows [first, last) contribute to A x. `first` is a multiple of 4; `width` a
// multiple of kSymmetricBlock, with x = 0 and finite numbers in A beyond its order. Rows and
// vectors begin at cache lines.
void symmetricRows(int64_t first, int64_t last, int64_t width, const float* a, int64_t stride, const float* x,
                   float* y);
void symmetricRows(int64_t first, int64_t last, int64_t width, const double* a, int64_t stride, const double* x,
                   double* y);

} // namespace lowrank
