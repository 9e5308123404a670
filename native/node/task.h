// All asynchronous work, in one template.
//
// A Work reads its arguments in its constructor (on the JavaScript thread), computes in run() (on any thread, touching
// nothing of JavaScript but the arrays it was given) and writes every result into those arrays; so a task ends with
// undefined or an error, and nothing is owned by both sides.
//
// Tasks run on threads of our own: libuv has four, shared with files and DNS. An environment (the main thread's or a
// worker's) that closes stops its tasks and waits for the running ones, because they write into its arrays. The hook
// that does so is registered after the thread-safe function and therefore runs before it goes away.
#pragma once

#include <napi.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "blas/lease.h"
#include "core/threads.h"
#include "node/arguments.h"

namespace lowrank {

// What a computation ended with.
struct Outcome {
  std::string code; // empty: well
  std::string message;

  template <class Function> static Outcome of(const Function& function) {
    try {
      function();
      return {};
    } catch (const Cancelled& e) {
      return {"ABORTED", e.what()};
    } catch (const Failure& e) {
      return {e.code, e.what()};
    } catch (const std::bad_alloc&) {
      return {"ERR_MEMORY", "out of memory"};
    } catch (const std::exception& e) {
      return {"ERR_NATIVE", e.what()};
    } catch (...) {
      return {"ERR_NATIVE", "unknown native failure"};
    }
  }

  Napi::Error error(Napi::Env env) const {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    return error;
  }
};

class Tasks;

struct Task {
  Tasks* owner;
  Control control;
  std::function<void(const Control&)> run;
  Outcome outcome;
  napi_deferred deferred = nullptr;
  std::vector<Napi::Reference<Napi::Value>> arrays;

  explicit Task(int32_t* shared) : control(shared) {}
};

// Threads for all environments of the process. Never destroyed: a thread may be waiting when the process ends.
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

  // Takes back a task that has not begun.
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
      if (threads_ > 0) return; // those that exist will come to it
      queue_.pop_back();
      throw Failure("ERR_NATIVE", "the system refused to start a thread");
    }
  }

  void loop();

  // process.exit() in the main thread runs no environment's hooks but goes on to destructors, OpenBLAS' among them,
  // which take away the memory that a running decomposition works in. So what runs is stopped first; and where LAPACK
  // does not come back soon, the process ends here, with its status, instead of there.
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

// The tasks of one environment.
class Tasks {
public:
  explicit Tasks(Napi::Env env) : env_(env) {
    napi_value name = Napi::String::New(env, "lowrank");
    const napi_status status =
        napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settleAll, &wakeup_);
    if (status != napi_ok) throw Napi::Error::New(env, "the environment is ending");
    napi_unref_threadsafe_function(env, wakeup_);
    // Without the hook nobody would wait for the tasks that write into this environment's arrays.
    if (napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Tasks*>(self)->close(); }, this) != napi_ok) {
      napi_release_threadsafe_function(wakeup_, napi_tsfn_abort);
      throw Napi::Error::New(env, "the environment is ending");
    }
  }

  Napi::Value submit(std::unique_ptr<Task> task, const std::vector<napi_value>& arrays) {
    napi_value promise = nullptr;
    // A worker may be told to end at any moment, also between the call and here; then there are no promises any more.
    if (napi_create_promise(env_, &task->deferred, &promise) != napi_ok) {
      throw Failure("ERR_NATIVE", "the environment is ending");
    }
    for (const napi_value value : arrays) {
      task->arrays.push_back(Napi::Reference<Napi::Value>::New(Napi::Value(env_, value), 1));
    }
    task->owner = this;
    Task* raw = task.get();
    if (active_.empty()) napi_ref_threadsafe_function(env_, wakeup_);
    active_.push_back(std::move(task));
    const Outcome submitted = Outcome::of([&] { Pool::instance().submit(raw); });
    if (!submitted.code.empty()) {
      raw->outcome = submitted;
      settle(raw);
    }
    return Napi::Value(env_, promise);
  }

  // From a pool thread.
  void finished(Task* task) {
    std::lock_guard lock(mutex_);
    done_.push_back(task);
    // After close() nobody may touch the thread-safe function.
    if (!closing_) napi_call_threadsafe_function(wakeup_, nullptr, napi_tsfn_nonblocking);
    progress_.notify_all();
  }

private:
  static void settleAll(napi_env, napi_value, void* context, void*) {
    auto* self = static_cast<Tasks*>(context);
    std::deque<Task*> done;
    {
      std::lock_guard lock(self->mutex_);
      if (self->closing_) return;
      done.swap(self->done_);
    }
    for (Task* task : done) self->settle(task);
  }

  void settle(Task* task) {
    const Napi::HandleScope scope(env_);
    // In a terminating worker every call into JavaScript fails; there is nobody left to tell.
    try {
      if (task->outcome.code.empty()) {
        napi_resolve_deferred(env_, task->deferred, env_.Undefined());
      } else {
        napi_reject_deferred(env_, task->deferred, task->outcome.error(env_).Value());
      }
    } catch (const Napi::Error&) {
    }
    active_.remove_if([task](const auto& held) { return held.get() == task; });
    if (active_.empty()) napi_unref_threadsafe_function(env_, wakeup_);
  }

  void close() {
    size_t begun = 0;
    for (const auto& task : active_) {
      task->control.stop();
      if (!Pool::instance().withdraw(task.get())) begun++;
    }
    std::unique_lock lock(mutex_);
    closing_ = true;
    progress_.wait(lock, [&] { return done_.size() >= begun; });
    lock.unlock();
    active_.clear();
  }

  Napi::Env env_;
  napi_threadsafe_function wakeup_ = nullptr;
  std::list<std::unique_ptr<Task>> active_; // on the JavaScript thread only
  std::mutex mutex_;
  std::condition_variable progress_;
  std::deque<Task*> done_;
  bool closing_ = false;
};

inline void Pool::loop() {
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
    task->owner->finished(task);
    lock.lock();
  }
}

// The two forms in which every Work is exported.
template <class Work> Napi::Value callSync(const Napi::CallbackInfo& info) {
  const Outcome outcome = Outcome::of([&] {
    Arguments arguments(info);
    int32_t* shared = arguments.has("control") ? arguments.integers("control", 2) : nullptr;
    Work work(arguments);
    arguments.confirm();
    const Control control(shared);
    work.run(control);
  });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  return info.Env().Undefined();
}

template <class Work> Napi::Value callAsync(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  const Outcome outcome = Outcome::of([&] {
    Arguments arguments(info);
    int32_t* shared = arguments.has("control") ? arguments.integers("control", 2) : nullptr;
    auto task = std::make_unique<Task>(shared);
    auto work = std::make_shared<Work>(arguments);
    arguments.confirm();
    task->run = [work](const Control& control) { work->run(control); };
    promise = info.Env().template GetInstanceData<Tasks>()->submit(std::move(task), arguments.arrays());
  });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  return promise;
}

} // namespace lowrank
