// The best approximation of rank k of what a matrix does to its inputs: minimises E|(W - What)
// x|^2, given the moments of x.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/low_rank.h"
#include "lowrank/request.h"

namespace lowrank {

// The second moments C of the inputs x, n x n; or the diagonal of C alone, as for uncorrelated
// inputs; or the second moments of the outputs W x, m x m, which are W C W'.
struct Moments {
  enum Kind { inputs, diagonal, outputs } kind;
  const double* values;
};
// The names that JavaScript sees; each index is a code.
inline constexpr const char* kMomentsNames[] = {"inputs", "diagonal", "outputs"};

// Computes What = b a with orthonormal columns in b and a = b' w. `result` needs both, and no
// `dense`. s are the singular values of W C^(1/2). All figures of the certificate are in the
// weighted norm |D| = tr(D C D')^(1/2). From moments of the outputs they are those of b b' w,
// without the rounding of a. If W C^(1/2) has a rank below k, the rest of the rank brings What as
// near to W as possible. Throws as `approximate` does, and ERR_ARGUMENT if the values are not
// moments.
Certificate approximateWeighted(const Context& context, ConstMatrix w, const Moments& moments, const Request& request,
                                const Result& result);

// Upper bounds of the native bytes at the peak, as approximateBytes gives them, of an m x n matrix
// with moments of this kind.
MemoryNeed approximateWeightedBytes(int64_t m, int64_t n, Moments::Kind kind, const Request& request, int threads);

} // namespace lowrank
