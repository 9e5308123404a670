#include "threads.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "lapack.h"

namespace lowrank {
namespace {

struct Gate {
  std::mutex mutex;
  std::condition_variable turn;
  uint64_t nextTicket = 0;
  uint64_t serving = 0;
  int used = 0;
  int capacity = defaultThreads();
  int blasThreads = 1;
};

// Never destroyed: a thread may still be waiting when the process ends.
Gate& gate() {
  static Gate* instance = new Gate;
  return *instance;
}

} // namespace

int defaultThreads() {
  static const int count = std::max(1, blas::threads());
  return count;
}

Lease::Lease(int slots, int blasThreads) {
  Gate& g = gate();
  std::unique_lock lock(g.mutex);
  const bool wide = blasThreads > 1;
  // More slots than cores are allowed (the user asked), but only alone.
  slots_ = wide ? g.capacity : std::min(slots, g.capacity);
  const uint64_t ticket = g.nextTicket++;
  g.turn.wait(lock, [&] {
    if (ticket != g.serving) return false;
    return g.used == 0 || (!wide && g.blasThreads == 1 && g.used + slots_ <= g.capacity);
  });
  g.serving++;
  g.used += slots_;
  if (g.blasThreads != blasThreads || blas::threads() != blasThreads) {
    g.blasThreads = blasThreads;
    blas::setThreads(blasThreads);
  }
  // The next in line may fit beside us.
  g.turn.notify_all();
}

Lease::~Lease() {
  Gate& g = gate();
  std::lock_guard lock(g.mutex);
  g.used -= slots_;
  g.turn.notify_all();
}

void parallelFor(int64_t count, int threads, const std::function<void(int64_t)>& work) {
  const int width = static_cast<int>(std::min<int64_t>(count, threads));
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto loop = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < count;) {
      try {
        work(i);
      } catch (...) {
        next.store(count);
        std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < width; t++) {
    // Without another thread the loop is slower, not wrong.
    try {
      helpers.emplace_back(loop);
    } catch (const std::system_error&) {
      break;
    }
  }
  loop();
  for (auto& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

} // namespace lowrank
