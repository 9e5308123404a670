#include "memory.h"

#include <cstdlib>
#include <new>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "failure.h"

namespace lowrank {
namespace {

// A cache line; for large buffers a huge page, so that the system may use one.
constexpr int64_t kAlignment = 64;
constexpr int64_t kHugePage = int64_t{1} << 21;

std::align_val_t alignment(int64_t bytes) {
  return static_cast<std::align_val_t>(bytes >= 2 * kHugePage ? kHugePage : kAlignment);
}

std::atomic<int64_t> allNow{0};
std::atomic<int64_t> allPeak{0};

void raise(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

} // namespace

void preferHugePages([[maybe_unused]] void* pointer, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__)
  const auto begin = (reinterpret_cast<uintptr_t>(pointer) + kHugePage - 1) / kHugePage * kHugePage;
  const auto end = (reinterpret_cast<uintptr_t>(pointer) + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  // Only advice: where it is refused, nothing is lost.
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

void* Ledger::allocate(int64_t bytes) {
  const int64_t now = now_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (limit_ > 0 && now > limit_) {
    now_.fetch_sub(bytes, std::memory_order_relaxed);
    throw Failure("ERR_MEMORY", "the computation needs " + std::to_string(now) +
                                    " bytes of native memory, allowed are " + std::to_string(limit_));
  }
  void* pointer =
      ::operator new(static_cast<size_t>(bytes > 0 ? bytes : 1), std::align_val_t(kAlignment), std::nothrow);
  if (!pointer) {
    now_.fetch_sub(bytes, std::memory_order_relaxed);
    throw Failure("ERR_MEMORY", "the system refused " + std::to_string(bytes) + " bytes of native memory");
  }
  preferHugePages(pointer, bytes);
  raise(peak_, now);
  raise(allPeak, allNow.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  return pointer;
}

void Ledger::release(void* pointer, int64_t bytes) noexcept {
  ::operator delete(pointer, alignment(bytes));
  now_.fetch_sub(bytes, std::memory_order_relaxed);
  allNow.fetch_sub(bytes, std::memory_order_relaxed);
}

int64_t Ledger::processNow() { return allNow.load(std::memory_order_relaxed); }
int64_t Ledger::processPeak() { return allPeak.load(std::memory_order_relaxed); }
int64_t Ledger::resetProcessPeak() { return allPeak.exchange(processNow(), std::memory_order_relaxed); }

} // namespace lowrank
