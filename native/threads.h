// Who computes when, and with how many threads.
//
// OpenBLAS' thread count is one number for the whole process, so one place owns it: the Gate. A lease is either narrow
// (BLAS runs single-threaded; as many at once as there are cores) or wide (BLAS uses several threads; alone). The width
// is the task's own, never a question of load, so results do not depend on who else computes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "failure.h"

namespace lowrank {

// Threads to use unless told otherwise: what OpenBLAS chose from the cores and OPENBLAS_NUM_THREADS.
int defaultThreads();

class Lease {
public:
  // Waits in order of arrival. `slots` threads of our own, each calling BLAS with `blasThreads`; one of them is 1.
  Lease(int slots, int blasThreads);
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

private:
  int slots_;
};

// Calls work(i) for i in [0, count) on up to `threads` threads, the calling one included. The first exception is thrown
// on; after it no further i is started.
void parallelFor(int64_t count, int threads, const std::function<void(int64_t)>& work);

// The window between a running task and its caller, in memory that JavaScript owns: control[0] != 0 cancels,
// control[1] is the share done in parts per million.
class Control {
public:
  explicit Control(int32_t* shared = nullptr) : shared_(shared) {}

  bool cancelled() const {
    return stop_.load(std::memory_order_relaxed) || (shared_ && __atomic_load_n(&shared_[0], __ATOMIC_RELAXED) != 0);
  }
  void check() const {
    if (cancelled()) throw Cancelled();
  }
  void progress(double share) const {
    if (shared_) __atomic_store_n(&shared_[1], static_cast<int32_t>(share * 1e6), __ATOMIC_RELAXED);
  }
  // From the environment's end, when JavaScript can no longer say it.
  void stop() { stop_.store(true, std::memory_order_relaxed); }

private:
  int32_t* shared_;
  std::atomic<bool> stop_{false};
};

} // namespace lowrank
