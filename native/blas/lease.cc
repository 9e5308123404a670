#include "blas/lease.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "blas/lapack.h"
#include "core/failure.h"

namespace lowrank {
namespace {

// Hands out cores in order of arrival.
struct CoreQueue {
  std::mutex mutex;
  std::condition_variable turn;
  uint64_t nextTicket = 0;
  uint64_t serving = 0;
  int used = 0;
  int capacity = defaultThreads();
};

// Never destroyed: a thread may still be waiting when the process ends.
CoreQueue& coreQueue() {
  static CoreQueue* instance = new CoreQueue;
  return *instance;
}

} // namespace

int defaultThreads() {
  static const int count = std::max(1, blas::threads());
  return count;
}

// More threads than cores are allowed, because the user asked for them, but exclusively. So is any
// lease of several threads, because its holder may open a WideBlas.
Lease::Lease(int threads) : Lease(Slots{threads > 1 ? coreQueue().capacity : 1}) {}

Lease::Lease(Slots slots) {
  CoreQueue& queue = coreQueue();
  std::unique_lock lock(queue.mutex);
  slots_ = std::clamp(slots.count, 1, queue.capacity);
  const uint64_t ticket = queue.nextTicket++;
  queue.turn.wait(lock, [&] { return ticket == queue.serving && queue.used + slots_ <= queue.capacity; });
  queue.serving++;
  queue.used += slots_;
  // Undo what another user of the same OpenBLAS may have set.
  if (blas::threads() != 1) blas::setThreads(1);
  // The next in line may fit beside us.
  queue.turn.notify_all();
}

Lease::~Lease() {
  CoreQueue& queue = coreQueue();
  const std::lock_guard lock(queue.mutex);
  queue.used -= slots_;
  queue.turn.notify_all();
}

WideBlas::WideBlas(int threads) : threads_(threads) {
  if (threads_ > 1) blas::setThreads(threads_);
}
WideBlas::WideBlas(const Team& team) : threads_(team.size()) {
  if (!team.whole()) throw NeedsWholeTeam();
  if (threads_ > 1) blas::setThreads(threads_);
}
WideBlas::~WideBlas() {
  if (threads_ > 1) blas::setThreads(1);
}

} // namespace lowrank
