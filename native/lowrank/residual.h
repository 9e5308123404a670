// Forms an approximation and measures its distance from the matrix.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// What = b a, or w - b a.
struct Product {
  Matrix b; // m x columns, may be a column range of something wider
  Matrix a; // columns x n
  bool complement = false;
};

// Forms the approximation into `dense`, which may be w itself or null, and returns |w - What|_F^2
// of its float32 numbers.
double form(const Context& context, ConstMatrix w, const Product& product, float* dense);
// Native bytes that `form` needs; `scratch` if the panels cannot lie in `dense`.
int64_t formBytes(int64_t m, int64_t n, bool scratch, int threads);

// |w - b a|_F^2 with the product in float64: its rounding to float32 would hide what the factors
// are.
double measure(const Context& context, ConstMatrix w, ConstMatrix b, ConstMatrix a);
int64_t measureBytes(int64_t m, int64_t n, int64_t k, int threads);

// |w - u diag(s) vt|_F, estimated by a few random vectors in float64, and raised: the backward
// error of a decomposition.
double backwardError(const Context& context, ConstMatrix w, ConstMatrix u, const float* s, ConstMatrix vt);
int64_t backwardErrorBytes(int64_t m, int64_t n, int threads);

} // namespace lowrank
