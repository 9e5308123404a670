// Concurrent calls, as the pool's threads make them: different works and thread counts side by
// side, some cancelled from outside while they run. Every result must be the one that the same call
// gives alone. For ThreadSanitizer.

#include <atomic>
#include <cstring>
#include <thread>

#include "core/norms.h"
#include "lowrank/batch.h"
#include "lowrank/low_rank.h"
#include "lowrank/svd.h"
#include "support.h"
#include "train/lora.h"
#include "train/optimizer.h"

using namespace lowrank;
using namespace drive;

namespace {

// One result, as one array of numbers, of each kind of call.
Floats compute(int kind, int threads) {
  MemoryLedger ledger;
  const Control control;
  switch (kind % 5) {
  case 0: {
    const int64_t m = 120, n = 100;
    const Floats w = gaussian(m * n, kind);
    Floats dense(m * n);
    Batch(1, m, n, threads).run(ledger, control, [&](const Context& context, int64_t) {
      Result result{6};
      result.dense = dense.data();
      Request request;
      request.rule = {RankRule::fixed, 6, 0};
      request.method = static_cast<Method>(kind / 5 % 4);
      approximate(context, ConstMatrix(w.data(), m, n), request, result);
    });
    return dense;
  }
  case 1: {
    const int64_t batch = 4, m = 60, n = 50;
    const Floats w = gaussian(batch * m * n, kind);
    Floats s(batch * n);
    Batch(batch, m, n, threads).run(ledger, control, [&](const Context& context, int64_t i) {
      thinSvd(context, ConstMatrix(w.data() + i * m * n, m, n), s.data() + i * n, nullptr, nullptr);
    });
    return s;
  }
  case 2: {
    const int64_t rows = 64, dim = 200, out = 160, r = 8;
    const Floats x = gaussian(rows * dim, 1), a = gaussian(dim * r, 2), b = gaussian(r * out, 3);
    Floats h(rows * r), y(rows * out), gradH(rows * r), gradA(dim * r), gradB(r * out), gradX(rows * dim);
    const LowRankMap map{rows, dim, out, r, 0.5f, a.data(), b.data(), threads};
    lowRankForward(map, x.data(), h.data(), {y.data(), false});
    lowRankBackward(map, x.data(), h.data(), y.data(), gradH.data(), {gradA.data(), false}, {gradB.data(), false},
                    {gradX.data(), false});
    return gradA;
  }
  case 3: {
    const int64_t count = (int64_t{2} << 20) + 5;
    const Floats gradient(count, 0.25f);
    Floats p(count, 1.0f), mean(count), square(count);
    adamWStep({1e-3, 0.01, 0.9, 0.999, 1e-8, 1}, count, p.data(), gradient.data(), mean.data(), square.data(), threads);
    return p;
  }
  default: {
    const int64_t m = 700, n = 500; // enough for the team to survey it together
    const Floats w = gaussian(m * n, kind);
    Floats out(2);
    Batch(1, m, n, threads).run(ledger, control, [&](const Context& context, int64_t) {
      const MatrixStats seen = matrixStats(ConstMatrix(w.data(), m, n), context.team);
      out = {static_cast<float>(seen.energy), seen.largest};
    });
    return out;
  }
  }
}

// A fault on purpose: whoever watches must see it.
int race() {
  double sum = 0;
  std::thread other([&sum] { sum += squares(Floats(16, 1.0f).data(), 16); });
  sum += 1;
  other.join();
  return sum > 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "--race") == 0) return race();
  const bool quick = count > 1 && std::strcmp(arguments[1], "--quick") == 0;
  const int kinds = quick ? 10 : 20, callers = 4;
  std::atomic<int64_t> calls{0};

  std::vector<Floats> alone;
  for (int kind = 0; kind < kinds; kind++) alone.push_back(compute(kind, 1 + kind % 3));
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; caller++) {
    threads.emplace_back([&, caller] {
      for (int i = 0; i < kinds; i++) {
        const int kind = (i + caller * 3) % kinds;
        require(compute(kind, 1 + kind % 3) == alone[kind], "a result depends on who else computes", kind, caller);
        calls++;
      }
    });
  }
  for (auto& thread : threads) thread.join();

  // Cancelled from another thread, which also reads the progress.
  for (int i = 0; i < (quick ? 4 : 12); i++) {
    int32_t shared[2] = {0, 0};
    Control control(shared);
    std::thread other([&] {
      while (__atomic_load_n(&shared[1], __ATOMIC_RELAXED) < 100000 * (i % 8)) std::this_thread::yield();
      if (i % 2) {
        control.stop();
      } else {
        __atomic_store_n(&shared[0], 1, __ATOMIC_RELAXED);
      }
    });
    const int64_t batch = 40, m = 70, n = 50;
    const Floats w = gaussian(batch * m * n, 50);
    Floats s(batch * n);
    MemoryLedger ledger;
    codeOf([&] {
      Batch(batch, m, n, 3).run(ledger, control, [&](const Context& context, int64_t j) {
        thinSvd(context, ConstMatrix(w.data() + j * m * n, m, n), s.data() + j * n, nullptr, nullptr);
      });
    });
    other.join();
    calls++;
  }
  require(MemoryLedger::processNow() == 0, "memory is kept", MemoryLedger::processNow());
  std::printf("%lld calls\n", static_cast<long long>(calls.load()));
  return 0;
}
