// Approximates the matrices of a batch: small ones in the lanes of the vector registers, others one
// or a few at a time.
#pragma once

#include <cstdint>
#include <functional>

#include "core/memory.h"
#include "core/threads.h"
#include "lowrank/low_rank.h"
#include "lowrank/request.h"

namespace lowrank {

struct ApproximationBatch {
  int64_t count, m, n; // of matrices; of their rows and columns
  int threads;
  Request request;
  int alongside = 0; // see batch.h
};

// Approximates the compact matrices that follow each other from w on. `resultOf(i)` tells where the
// i-th result goes, and `report` is called with its certificate and the seconds that it took: of
// several threads, in any order. Throws as `approximate` does.
void approximateBatch(MemoryLedger& memory, const Control& control, const ApproximationBatch& batch, const float* w,
                      const std::function<Result(int64_t)>& resultOf,
                      const std::function<void(int64_t, const Certificate&, double)>& report);

// Upper bounds of the native bytes at the peak, as approximateBytes gives them for one matrix.
MemoryNeed approximateBatchBytes(const ApproximationBatch& batch, const Result& wanted);

} // namespace lowrank
