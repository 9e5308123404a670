// Our own threads: teams for algorithms of many short steps, a parallel loop, and Control, through
// which a caller cancels and follows a task.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/failure.h"

namespace lowrank {

// A fixed number of threads, the caller's included, that repeatedly run the same function side by
// side, microseconds apart: for algorithms of many short steps. What a part computes depends on its
// number, never on timing, nor on how many threads there are for the parts.
class Team {
public:
  explicit Team(int size) : Team(size, size) {}
  // The parts of `size` threads, computed by `threads` of them.
  Team(int size, int threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }
  bool whole() const { return threads_ == size_; }
  // work(part) for part in [0, size); returns when all are done. Rethrows the first exception.
  void run(const std::function<void(int)>& work);
  // work(begin, end) over [0, count) in `size` even ranges that begin at multiples of `grain`.
  void ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work);
  // work(i) for i in [0, count), in this order, each by the next free thread: for uneven work. What
  // i computes must not depend on who does it, nor on what another i computes.
  void tasks(int64_t count, const std::function<void(int64_t)>& work);

private:
  struct Shared;
  void gather();
  const int size_, threads_;
  std::unique_ptr<Shared> shared_;
};

// Calls work(i) for i in [0, count) on up to `threads` threads, the calling one included. Starts no
// further i after an exception, and rethrows the first.
void parallelFor(int64_t count, int threads, const std::function<void(int64_t)>& work);

// Connects a running task with its caller through memory that JavaScript owns: shared[0] != 0
// cancels, shared[1] is the share done in parts per million.
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
  // Cancels when the environment ends and JavaScript can no longer do so.
  void stop() { stop_.store(true, std::memory_order_relaxed); }

private:
  int32_t* shared_;
  std::atomic<bool> stop_{false};
};

} // namespace lowrank
