// Operations on the factors of w ~ b a: reading the singular values off, and moving them from one
// factor to the other.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"

namespace lowrank {

// u <- u diag(s).
void scaleColumns(Matrix u, const float* s);

// to = from', of to: from.cols x from.rows.
void transpose(Team& team, ConstMatrix from, Matrix to);

// The squares of the lengths of the columns, or of the rows.
std::vector<double> squaredLengths(Team& team, ConstMatrix x, bool ofColumns);
// s <- the lengths of the columns of b, or of the rows of a; descending, as singular values are.
void columnLengths(ConstMatrix b, float* s);
void rowLengths(ConstMatrix a, float* s);
// |a x|, or |a' x| if `transpose`: one product with a vector.
double imageLength(const Context& context, ConstMatrix a, bool transpose, const float* x);

// From w ~ b a with orthonormal columns in b, and rows of a that have the singular values as
// lengths, to orthonormal rows in a and columns of b with those lengths. Where a row is so short
// against the first that rounding has bent it, the rows are made orthonormal by Householder
// reflections, and b = w a'.
void moveSingularValues(const Context& context, ConstMatrix w, Matrix b, Matrix a, const float* s);
// Returns the native bytes that this needs for k rows.
int64_t moveSingularValuesBytes(int64_t k, int64_t n);

} // namespace lowrank
