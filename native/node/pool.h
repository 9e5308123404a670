// The threads of the addon. libuv has four, shared with files and DNS, so tasks run on threads of
// our own.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "blas/lease.h"
#include "core/threads.h"
#include "node/outcome.h"

namespace lowrank {

struct Task;

// Is called on the thread that ran a task when it has finished. May delete the task.
class TaskOwner {
public:
  virtual void finished(Task* task) = 0;

protected:
  ~TaskOwner() = default;
};

struct Task {
  TaskOwner& owner;
  Control control;
  std::function<void(const Control&)> run;
  Outcome outcome = {};

  Task(TaskOwner& owner, int32_t* shared, std::function<void(const Control&)> run)
      : owner(owner), control(shared), run(std::move(run)) {}
};

// The threads that run the tasks of all environments. Never destroyed: a thread may be waiting when
// the process ends.
class Pool {
public:
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  Pool() {
#if defined(__GLIBC__)
    on_exit([](int status, void* self) { static_cast<Pool*>(self)->processEnds(&status); }, this);
#else
    std::atexit([] { instance().processEnds(nullptr); });
#endif
  }

  void submit(Task* task) {
    std::lock_guard lock(mutex_);
    queue_.push_back(task);
    if (static_cast<int64_t>(queue_.size()) > idle_ && threads_ < defaultThreads()) start();
    wake_.notify_one();
  }

  // Removes a task from the queue. Returns false if it has started.
  bool withdraw(Task* task) {
    std::lock_guard lock(mutex_);
    return std::erase(queue_, task) > 0;
  }

private:
  void start() {
    try {
      std::thread([this] { loop(); }).detach();
      threads_++;
    } catch (const std::system_error&) {
      if (threads_ > 0) return; // the existing threads will get to it
      queue_.pop_back();
      throw Failure("ERR_NATIVE", "the system refused to start a thread");
    }
  }

  void loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      idle_++;
      wake_.wait(lock, [this] { return !queue_.empty(); });
      idle_--;
      Task* task = queue_.front();
      queue_.pop_front();
      running_.push_back(task);
      lock.unlock();
      task->outcome = Outcome::of([task] {
        task->control.check();
        task->run(task->control);
      });
      lock.lock();
      running_.remove(task);
      settled_.notify_all();
      lock.unlock();
      task->owner.finished(task);
      lock.lock();
    }
  }

  // process.exit() on the main thread skips the environments' hooks and runs destructors, OpenBLAS'
  // among them, which free the memory that a running decomposition uses. So stop what runs first.
  // If LAPACK does not return soon, end the process here, with its exit code.
  void processEnds(const int* status) {
    std::unique_lock lock(mutex_);
    queue_.clear();
    for (Task* task : running_) task->control.stop();
    const auto over = [this] { return running_.empty(); };
    if (status == nullptr) return settled_.wait(lock, over);
    if (settled_.wait_for(lock, std::chrono::milliseconds(200), over)) return;
    std::fflush(nullptr);
    _Exit(*status);
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable settled_;
  std::list<Task*> running_;
  std::deque<Task*> queue_;
  int threads_ = 0;
  int64_t idle_ = 0;
};

} // namespace lowrank
