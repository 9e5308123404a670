#include "core/threads.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace lowrank {
namespace {

// Keeps the first exception of several threads.
class FirstFailure {
public:
  void note() {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
  }
  void rethrow() {
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  }

private:
  std::mutex mutex_;
  std::exception_ptr failure_;
};

} // namespace

struct Team::Shared {
  Shared(int size, int threads) : size(size), own(threads), begun(static_cast<size_t>(size)) {}

  const int size;
  const int own; // parts that have a thread of their own

  std::mutex mutex;
  std::condition_variable start;
  std::atomic<uint64_t> round{0};
  std::atomic<int> running{0};
  std::atomic<bool> over{false};
  const std::function<void(int)>* work = nullptr;
  // For each part the last round in which somebody began it: its own thread, or the caller if that
  // thread has not come yet, as on a machine whose cores are busy with something else.
  std::vector<std::atomic<uint64_t>> begun;
  FirstFailure failure;
  std::vector<std::thread> threads;

  // The steps of an algorithm follow each other within microseconds: spinning that long is cheaper
  // than sleeping.
  static constexpr int kSpins = 2000;

  void member(int part) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && round.load(std::memory_order_acquire) == seen && !over; spin++) relax();
      if (round.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        start.wait(lock, [&] { return over || round.load(std::memory_order_acquire) != seen; });
      }
      if (over) return;
      seen = round.load(std::memory_order_acquire);
      if (begin(part, seen)) finish(part);
      for (int other = own; other < size; other++) {
        if (begin(other, seen)) finish(other);
      }
    }
  }

  bool begin(int part, uint64_t now) {
    uint64_t before = now - 1;
    return begun[static_cast<size_t>(part)].compare_exchange_strong(before, now, std::memory_order_acq_rel);
  }

  void finish(int part) {
    perform(part);
    running.fetch_sub(1, std::memory_order_release);
  }

  void perform(int part) {
    try {
      (*work)(part);
    } catch (...) {
      failure.note();
    }
  }

  static void relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
};

Team::Team(int size, int threads) : size_(std::max(size, 1)), threads_(std::clamp(threads, 1, size_)) {}

// Called on first use: a product that BLAS parallelises by itself never needs the threads.
void Team::gather() {
  shared_ = std::make_unique<Shared>(size_, threads_);
  for (int part = 1; part < threads_; part++) {
    try {
      shared_->threads.emplace_back([shared = shared_.get(), part] { shared->member(part); });
    } catch (const std::system_error&) {
      break; // run() computes the missing parts itself
    }
  }
}

Team::~Team() {
  if (!shared_) return;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->over = true;
  }
  shared_->start.notify_all();
  for (auto& thread : shared_->threads) thread.join();
}

void Team::run(const std::function<void(int)>& work) {
  if (threads_ == 1) {
    for (int part = 0; part < size_; part++) work(part);
    return;
  }
  if (!shared_) gather();
  uint64_t now;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->work = &work;
    shared_->running.store(size_ - 1, std::memory_order_relaxed);
    now = shared_->round.fetch_add(1, std::memory_order_release) + 1;
  }
  shared_->start.notify_all();
  shared_->perform(0);
  for (int part = 1; part < size_; part++) {
    if (shared_->begin(part, now)) shared_->finish(part);
  }
  for (int spin = 0; shared_->running.load(std::memory_order_acquire) > 0; spin++) {
    if (spin < Shared::kSpins) {
      Shared::relax();
    } else {
      std::this_thread::yield();
    }
  }
  shared_->failure.rethrow();
}

void Team::ranges(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& work) {
  const int64_t grains = (count + grain - 1) / grain;
  run([&](int part) {
    const int64_t begin = std::min(count, grains * part / size_ * grain);
    const int64_t end = std::min(count, grains * (part + 1) / size_ * grain);
    if (begin < end) work(begin, end);
  });
}

void Team::tasks(int64_t count, const std::function<void(int64_t)>& work) {
  std::atomic<int64_t> next{0};
  run([&](int) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(i);
  });
}

void parallelFor(int64_t count, int threads, const std::function<void(int64_t)>& work) {
  const int width = static_cast<int>(std::min<int64_t>(count, threads));
  std::atomic<int64_t> next{0};
  FirstFailure failure;
  const auto loop = [&] {
    for (int64_t i; (i = next.fetch_add(1)) < count;) {
      try {
        work(i);
      } catch (...) {
        next.store(count);
        failure.note();
      }
    }
  };
  std::vector<std::thread> helpers;
  for (int t = 1; t < width; t++) {
    // With fewer threads the loop is slower, not wrong.
    try {
      helpers.emplace_back(loop);
    } catch (const std::system_error&) {
      break;
    }
  }
  loop();
  for (auto& helper : helpers) helper.join();
  failure.rethrow();
}

} // namespace lowrank
