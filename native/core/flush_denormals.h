// Denormal numbers count as zero in this thread while an object of this class lives. Vectors that
// are zero in most of their elements spread into them by ever smaller numbers, and on x86 each
// operation with a denormal one takes a hundred times as long as others; elsewhere this does
// nothing.
#pragma once

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace lowrank {

class FlushDenormals {
public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | kFlushToZero | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(saved_); }
#else
  FlushDenormals() {}
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

private:
#if defined(__x86_64__)
  static constexpr unsigned kFlushToZero = 0x8000, kDenormalsAreZero = 0x0040;
  const unsigned saved_;
#endif
};

} // namespace lowrank
