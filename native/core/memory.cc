#include "core/memory.h"

#include <cstdlib>
#include <new>
#include <string>

#include "core/failure.h"

namespace lowrank {
namespace {

constexpr size_t kAlignment = 64;
std::atomic<int64_t> allNow{0};
std::atomic<int64_t> allPeak{0};

void raise(std::atomic<int64_t>& peak, int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (seen < value && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

} // namespace

void* MemoryLedger::allocate(int64_t bytes) {
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
  raise(peak_, now);
  raise(allPeak, allNow.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  return pointer;
}

void MemoryLedger::release(void* pointer, int64_t bytes) noexcept {
  ::operator delete(pointer, std::align_val_t(kAlignment));
  now_.fetch_sub(bytes, std::memory_order_relaxed);
  allNow.fetch_sub(bytes, std::memory_order_relaxed);
}

int64_t MemoryLedger::processNow() { return allNow.load(std::memory_order_relaxed); }
int64_t MemoryLedger::processPeak() { return allPeak.load(std::memory_order_relaxed); }
int64_t MemoryLedger::resetProcessPeak() { return allPeak.exchange(processNow(), std::memory_order_relaxed); }

} // namespace lowrank
