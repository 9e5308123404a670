// The pool and the tasks of native/node/, over a stand-in for Node: environments on threads of
// their own that open, submit, answer, and close while tasks wait and run, and some that end
// between two steps of opening or submitting. For ThreadSanitizer, and AddressSanitizer for what
// closing frees.

#include <cstring>
#include <random>
#include <thread>

#include "node/task.h"

#include "support.h"

using namespace lowrank;
using namespace drive;

namespace {

struct Tally {
  int64_t submitted = 0, settled = 0;
};

// Runs what the thread-safe function asks for, until `until` says that it is enough.
template <class Until> void turn(StandIn& env, const Until& until) {
  std::unique_lock lock(env.mutex);
  while (!until()) {
    env.wake.wait(lock, [&] { return env.pending > 0; });
    env.pending = 0;
    lock.unlock();
    env.function->call(&env, nullptr, env.function->context, nullptr);
    lock.lock();
  }
}

// What Node does at the end: the hooks, then the thread-safe function, then the instance data.
Tally environment(uint32_t seed, bool wait) {
  std::mt19937 random(seed);
  StandIn env;
  auto* tasks = new Tasks(Napi::Env(&env));
  env.instance = tasks;
  const int count = 1 + static_cast<int>(random() % 12);
  std::vector<std::vector<double>> outputs(count);
  std::vector<std::array<int32_t, 2>> controls(count);
  for (int i = 0; i < count; i++) {
    controls[i] = {0, 0};
    outputs[i].resize(256);
    const int rounds = static_cast<int>(random() % 200);
    const bool fails = random() % 5 == 0;
    const auto run = [&output = outputs[i], rounds, fails](const Control& control) {
      for (int round = 0; round < rounds; round++) {
        control.check();
        for (double& value : output) value = value * 0.5 + round;
        control.progress(static_cast<double>(round) / rounds);
      }
      if (fails) throw Failure("ERR_NOT_FINITE", "on purpose");
    };
    tasks->submit(controls[i].data(), run, {});
    if (random() % 4 == 0) __atomic_store_n(&controls[i][0], 1, __ATOMIC_RELAXED);
  }
  const int64_t enough = wait ? count : static_cast<int64_t>(random() % (count + 1));
  turn(env, [&] { return env.resolved + env.rejected >= enough; });
  env.cleanup();
  {
    const std::lock_guard lock(env.mutex);
    env.function->closed = true;
  }
  delete env.function;
  delete tasks;
  // Nothing may write here any more.
  for (auto& output : outputs) std::fill(output.begin(), output.end(), 0.0);
  return {count, env.resolved + env.rejected};
}

template <class Function> bool throws(const Function& function) {
  try {
    function();
    return false;
  } catch (const std::exception&) {
    return true;
  }
}

// A worker is told to end from another thread, at any moment: Node then refuses, and nothing may be
// read that it did not give.
void endsBetweenSteps() {
  StandIn env;
  env.refusesFunctions = true;
  require(throws([&] { Tasks tasks{Napi::Env(&env)}; }), "opened without a thread-safe function");
  env.refusesFunctions = false;
  env.refusesHooks = true;
  require(throws([&] { Tasks tasks{Napi::Env(&env)}; }), "opened without a hook at the environment's end");
  require(env.function == nullptr, "a thread-safe function stayed without its tasks");
  env.refusesHooks = false;

  Tasks tasks{Napi::Env(&env)};
  bool ran = false;
  const auto submit = [&] { tasks.submit(nullptr, [&](const Control&) { ran = true; }, {}); };
  env.refusesPromises = true;
  require(throws(submit), "a call was answered with a promise that Node did not make");
  env.refusesPromises = false;
  submit();
  turn(env, [&] { return env.resolved == 1; });
  require(ran, "the call after it did not run");
  env.cleanup();
  delete env.function;
}

} // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && std::strcmp(arguments[1], "--quick") == 0;
  const uint32_t rounds = quick ? 100 : 400;
  endsBetweenSteps();
  std::vector<std::thread> threads;
  std::vector<Tally> tallies(4);
  for (uint32_t t = 0; t < tallies.size(); t++) {
    threads.emplace_back([&, t] {
      for (uint32_t round = 0; round < rounds; round++) {
        const bool wait = round % 3 == 0;
        const auto [submitted, settled] = environment(t * 10007 + round, wait);
        require(!wait || submitted == settled, "a task was not answered", submitted, settled);
        tallies[t].submitted += submitted;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  int64_t submitted = 0;
  for (const Tally& tally : tallies) submitted += tally.submitted;
  std::printf("%lld calls\n", static_cast<long long>(submitted));
  return 0;
}
