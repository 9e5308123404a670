// Runs a batch of matrices of one shape: several at once with one BLAS thread each, or one after
// the other with all threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "blas/lease.h"
#include "core/context.h"
#include "core/threads.h"

namespace lowrank {

class Batch {
public:
  // Each matrix is m x n and takes about m n min(m, n) multiplications, or m n `inner` if that is
  // given.
  Batch(int64_t count, int64_t m, int64_t n, int threads, int64_t inner = 0);

  // A single matrix takes as many cores, 0 for all, so that others are computed beside it, and
  // comes out as it would with all threads: one that then turns out to need all of them, for
  // LAPACK, is computed once more. Until then it must not have written.
  Batch& alongside(int cores) {
    cores_ = count_ == 1 && cores < threadsEach_ ? cores : 0;
    return *this;
  }

  // Calls one(context, i) for every matrix i, under a lease of the cores.
  template <class Function> void run(MemoryLedger& ledger, const Control& control, const Function& one) const {
    if (cores_ > 0) {
      try {
        const Lease lease = Lease::beside(cores_);
        Team team(threadsEach_, cores_);
        return one(Context{ledger, control, team}, int64_t{0});
      } catch (const NeedsWholeTeam&) {
      }
    }
    const Lease lease(std::max(atOnce_, threadsEach_));
    const double share = 1.0 / static_cast<double>(count_);
    std::atomic<int64_t> done{0};
    parallelFor(count_, atOnce_, [&](int64_t i) {
      control.check();
      // Progress counts finished matrices if they run side by side; otherwise each reports its
      // part.
      const double span = atOnce_ == 1 ? share : 0;
      Team team(threadsEach_);
      one(Context{ledger, control, team, static_cast<double>(i) * share, span}, i);
      control.progress(static_cast<double>(++done) * share);
    });
  }

  int atOnce() const { return atOnce_; }
  int threadsEach() const { return threadsEach_; }

private:
  int64_t count_;
  int atOnce_;
  int threadsEach_;
  int cores_ = 0;
};

} // namespace lowrank
