// The best approximation of a matrix by one of rank k (Eckart and Young 1936; Mirsky 1960), with a
// certificate of what was reached, measured on the numbers that are returned.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/request.h"

namespace lowrank {

// Throws ERR_NOT_FINITE, ERR_NO_CONVERGENCE, ERR_MEMORY.
Certificate approximate(const Context& context, ConstMatrix w, const Request& request, const Result& result);

// Upper bounds of the native bytes at the peak, for the route tried first and for any that it may
// hand over to.
struct MemoryNeed {
  int64_t planned;
  int64_t worst;
};
MemoryNeed approximateBytes(int64_t m, int64_t n, const Request& request, const Result& wanted, int threads);

} // namespace lowrank
