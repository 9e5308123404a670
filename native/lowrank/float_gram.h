// The route `gram`: the best approximation from the spectrum of the Gram matrix in float32
// (gram_spectrum.h), proved by the measured couplings of its vectors (coupling.h). A dense result
// of high rank is w less the part of the smaller values, which takes fewer vectors. If the rounding
// of the largest values would drown the rest, they are taken out first, once.
#pragma once

#include <cstdint>
#include <optional>

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/routes.h"

namespace lowrank {

// See RouteEntry::run and RouteEntry::bytes. The bytes are those up to the candidate.
std::optional<Candidate> runFloatGram(const Context& context, ConstMatrix w, const MatrixStats& stats,
                                      const Request& request, const Result& result, Workspace& space);
int64_t floatGramBytes(const Problem& problem, int threads);
// What it may need besides, where it has to take leading directions out of w first.
int64_t deflationBytes(int64_t m, int64_t n);

} // namespace lowrank
