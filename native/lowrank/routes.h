// Which routes to the best approximation are worth trying, in which order.
#pragma once

#include <vector>

#include "lowrank/low_rank.h"

namespace lowrank {

// `k` < 0 where the rank is still to be found. A method that was asked for comes first; the others follow in case it
// does not reach the target. gesdd, the last, is always accepted.
std::vector<Route> plan(int64_t m, int64_t n, int64_t k, const Request& request, bool factors);

// The largest subspace that a Krylov search for rank k is allowed.
int64_t krylovDimension(int64_t m, int64_t n, int64_t k, const Request& request);

} // namespace lowrank
