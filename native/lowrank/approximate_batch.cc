#include "lowrank/approximate_batch.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <vector>

#include "lowrank/batch.h"
#include "lowrank/judge.h"
#include "lowrank/lanes.h"

namespace lowrank {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Groups of matrices that lie in lanes at the same time, each on one thread.
struct Groups {
  Lanes lanes;
  int64_t count;
  Batch batch;

  Groups(const ApproximationBatch& b, const Problem& problem)
      : lanes(problem, b.count, b.threads), count((b.count + lanes.width() - 1) / lanes.width()),
        batch(count, b.m, b.n, count == 1 ? 1 : b.threads, std::min(b.m, b.n) * lanes.width()) {}

  int64_t bytes() const { return lanes.bytes() * batch.atOnce(); }
};

// The groups, where lanes serve the batch and fit into `limit` bytes, 0 for any.
std::optional<Groups> groupsOf(const ApproximationBatch& b, bool factors, int64_t limit) {
  const Problem problem{b.m, b.n, b.request, factors};
  if (!Lanes::possible(problem, b.count)) return std::nullopt;
  Groups groups(b, problem);
  if (limit > 0 && groups.bytes() > limit) return std::nullopt;
  return groups;
}

} // namespace

void approximateBatch(MemoryLedger& memory, const Control& control, const ApproximationBatch& b, const float* w,
                      const std::function<Result(int64_t)>& resultOf,
                      const std::function<void(int64_t, const Certificate&, double)>& report) {
  const int64_t size = b.m * b.n;
  const auto matrix = [&](int64_t i) { return ConstMatrix(w + i * size, b.m, b.n); };
  const auto groups = b.count > 0 ? groupsOf(b, resultOf(0).wantsFactors(), memory.limit()) : std::nullopt;
  if (!groups) {
    Batch(b.count, b.m, b.n, b.threads)
        .alongside(b.alongside)
        .run(memory, control, [&](const Context& context, int64_t i) {
          const double begin = now();
          const Certificate certificate = approximate(context, matrix(i), b.request, resultOf(i));
          report(i, certificate, now() - begin);
        });
    return;
  }
  groups->batch.run(memory, control, [&](const Context& context, int64_t group) {
    const int64_t first = group * groups->lanes.width(), count = std::min(groups->lanes.width(), b.count - first);
    const auto length = static_cast<size_t>(count);
    std::vector<const float*> from(length);
    std::vector<float*> to(length);
    for (size_t i = 0; i < length; i++) {
      const auto index = first + static_cast<int64_t>(i);
      from[i] = matrix(index).data;
      to[i] = resultOf(index).dense;
    }
    std::vector<std::optional<Certificate>> certificates(length);
    const double begin = now();
    groups->lanes.approximate(context, from, to, certificates);
    const double each = (now() - begin) / static_cast<double>(count);
    for (size_t i = 0; i < length; i++) {
      const auto index = first + static_cast<int64_t>(i);
      if (certificates[i]) {
        report(index, *certificates[i], each);
        continue;
      }
      control.check();
      const double started = now();
      const Certificate certificate = approximate(context, matrix(index), b.request, resultOf(index));
      report(index, certificate, each + now() - started);
    }
  });
}

MemoryNeed approximateBatchBytes(const ApproximationBatch& b, const Result& wanted) {
  if (const auto groups = groupsOf(b, wanted.wantsFactors(), 0)) {
    // A lane that proves nothing hands over when the lanes have given their memory back.
    const MemoryNeed one = approximateBytes(b.m, b.n, b.request, wanted, 1);
    return {groups->bytes(), std::max(groups->bytes(), one.worst * groups->batch.atOnce())};
  }
  const Batch batch(b.count, b.m, b.n, b.threads);
  const MemoryNeed one = approximateBytes(b.m, b.n, b.request, wanted, batch.threadsEach());
  return {one.planned * batch.atOnce(), one.worst * batch.atOnce()};
}

} // namespace lowrank
