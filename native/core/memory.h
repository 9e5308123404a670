// Counted, aligned work memory. Every native buffer is a Buffer, so `memoryUsage()` and the
// certificate's `bytes` are measurements. A MemoryLedger counts one task; the static functions
// count the whole process.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace lowrank {

class MemoryLedger {
public:
  // `limit` is in bytes; 0 means none. Allocating beyond it throws ERR_MEMORY.
  explicit MemoryLedger(int64_t limit = 0) : limit_(limit) {}

  void* allocate(int64_t bytes);
  void release(void* pointer, int64_t bytes) noexcept;
  int64_t now() const { return now_.load(std::memory_order_relaxed); }
  int64_t peak() const { return peak_.load(std::memory_order_relaxed); }
  int64_t limit() const { return limit_; }

  static int64_t processNow();
  static int64_t processPeak();
  // Starts a new measurement of the peak and returns the old peak.
  static int64_t resetProcessPeak();

private:
  int64_t limit_;
  std::atomic<int64_t> now_{0};
  std::atomic<int64_t> peak_{0};
};

// `count` elements of T, not initialised, 64-byte aligned.
template <class T> class Buffer {
public:
  Buffer() = default;
  Buffer(MemoryLedger& ledger, int64_t count)
      : ledger_(&ledger), count_(count), data_(static_cast<T*>(ledger.allocate(bytes(count)))) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() {
    if (data_) ledger_->release(data_, bytes(count_));
  }

  T* data() const { return data_; }
  int64_t size() const { return count_; }
  T& operator[](int64_t i) const { return data_[i]; }
  void reset() { Buffer().swap(*this); }

private:
  static int64_t bytes(int64_t count) { return count * static_cast<int64_t>(sizeof(T)); }
  void swap(Buffer& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(count_, other.count_);
    std::swap(data_, other.data_);
  }

  MemoryLedger* ledger_ = nullptr;
  int64_t count_ = 0;
  T* data_ = nullptr;
};

} // namespace lowrank
