#include "lowrank/batch.h"

#include <algorithm>

namespace lowrank {
namespace {

// Below about 96^3 multiplications, handing work to another thread costs more than it saves.
constexpr double kWorkPerThread = 96.0 * 96.0 * 96.0;

// Up to this size, two matrices side by side are faster than one on two threads (LAPACK's panels
// are sequential), and one copy per core takes an acceptable amount of memory.
constexpr int64_t kSideBySideElements = int64_t{1} << 22;

} // namespace

Batch::Batch(int64_t count, int64_t m, int64_t n, int threads, int64_t inner) : count_(count) {
  const double work =
      static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(inner > 0 ? inner : std::min(m, n));
  if (count > 1 && m * n <= kSideBySideElements) {
    const double useful =
        std::clamp(work * static_cast<double>(count) / kWorkPerThread, 1.0, static_cast<double>(threads));
    atOnce_ = static_cast<int>(std::min<int64_t>(count, static_cast<int64_t>(useful)));
    threadsEach_ = 1;
  } else {
    atOnce_ = 1;
    threadsEach_ = static_cast<int>(std::clamp(work / kWorkPerThread, 1.0, static_cast<double>(threads)));
  }
}

} // namespace lowrank
