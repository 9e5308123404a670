// An orthonormal basis of the rows of a matrix by a team, which therefore runs side by side with
// others. Blocks have a fixed size, so the bits do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "core/context.h"

namespace lowrank {

// Replaces the rows of a (k x n, k <= n) by orthonormal ones with the same spans, in order: Q' of
// a' = Q R by Householder reflections in compact form.
void orthonormaliseRows(const Context& context, int64_t k, int64_t n, float* a);

// Native bytes that it needs.
int64_t orthonormaliseBytes(int64_t k, int64_t n);

} // namespace lowrank
