// Asynchronous work: one template for every kind.
//
// A Work reads its arguments in its constructor (on the JavaScript thread), computes in run() (on
// any thread, touching nothing of JavaScript but the arrays it was given) and writes every result
// into those arrays; so a task ends with undefined or an error, and both sides never own the same
// memory.
//
// An environment (the main thread's or a worker's) that closes stops its tasks and waits for the
// running ones, because they write into its arrays. The hook that does so is registered after the
// thread-safe function, so it runs while that still exists.
#pragma once

#include <napi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/failure.h"
#include "core/threads.h"
#include "node/arguments.h"
#include "node/outcome.h"
#include "node/pool.h"

namespace lowrank {

// The tasks of one environment.
class Tasks final : public TaskOwner {
public:
  explicit Tasks(Napi::Env env) : env_(env) {
    napi_value name = Napi::String::New(env, "lowrank");
    const napi_status status =
        napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this, settleAll, &wakeup_);
    if (status != napi_ok) throw Napi::Error::New(env, "the environment is ending");
    napi_unref_threadsafe_function(env, wakeup_);
    // Without the hook, nobody would wait for the tasks that write into this environment's arrays.
    if (napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Tasks*>(self)->close(); }, this) != napi_ok) {
      napi_release_threadsafe_function(wakeup_, napi_tsfn_abort);
      throw Napi::Error::New(env, "the environment is ending");
    }
  }

  // Runs `run` on a thread of the pool and keeps `arrays` alive until it is done. `shared` is for
  // Control.
  Napi::Value submit(int32_t* shared, std::function<void(const Control&)> run, const std::vector<napi_value>& arrays) {
    auto task = std::make_unique<Promised>(*this, shared, std::move(run));
    napi_value promise = nullptr;
    // A worker may be terminated at any moment, even between the call and here; then promises are
    // unavailable.
    if (napi_create_promise(env_, &task->deferred, &promise) != napi_ok) {
      throw Failure("ERR_NATIVE", "the environment is ending");
    }
    for (const napi_value value : arrays) {
      task->arrays.push_back(Napi::Reference<Napi::Value>::New(Napi::Value(env_, value), 1));
    }
    Promised* raw = task.get();
    if (active_.empty()) napi_ref_threadsafe_function(env_, wakeup_);
    active_.push_back(std::move(task));
    const Outcome submitted = Outcome::of([&] { Pool::instance().submit(raw); });
    if (!submitted.code.empty()) {
      raw->outcome = submitted;
      settle(raw);
    }
    return Napi::Value(env_, promise);
  }

  // Called on a thread of the pool.
  void finished(Task* task) override {
    std::lock_guard lock(mutex_);
    done_.push_back(static_cast<Promised*>(task));
    // After close() the thread-safe function must not be used.
    if (!closing_) napi_call_threadsafe_function(wakeup_, nullptr, napi_tsfn_nonblocking);
    progress_.notify_all();
  }

private:
  struct Promised final : Task {
    using Task::Task;
    napi_deferred deferred = nullptr;
    std::vector<Napi::Reference<Napi::Value>> arrays;
  };

  static void settleAll(napi_env, napi_value, void* context, void*) {
    auto* self = static_cast<Tasks*>(context);
    std::deque<Promised*> done;
    {
      std::lock_guard lock(self->mutex_);
      if (self->closing_) return;
      done.swap(self->done_);
    }
    for (Promised* task : done) self->settle(task);
  }

  void settle(Promised* task) {
    const Napi::HandleScope scope(env_);
    // In a terminating worker every call into JavaScript fails, and nobody is left to receive the
    // result.
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
  std::list<std::unique_ptr<Promised>> active_; // on the JavaScript thread only
  std::mutex mutex_;
  std::condition_variable progress_;
  std::deque<Promised*> done_;
  bool closing_ = false;
};

// Every Work is exported in one or both of these forms.
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
    auto work = std::make_shared<Work>(arguments);
    arguments.confirm();
    const auto run = [work](const Control& control) { work->run(control); };
    promise = info.Env().template GetInstanceData<Tasks>()->submit(shared, run, arguments.arrays());
  });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  return promise;
}

} // namespace lowrank
