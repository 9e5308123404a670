// Vectors of numbers as wide as a register, for our own kernels; simd.h selects the width.
#pragma once

#include <cstdint>

namespace lowrank {

// Wider than a register of the path a vector must not be: GCC lowers vector types before it knows
// the target attribute of the function that they are inlined into, and sends wider ones through
// the stack, a number at a time.
template <class T, int Bytes> struct Lane {
  typedef T type __attribute__((vector_size(Bytes), aligned(alignof(T)), may_alias));
  static constexpr int64_t width = Bytes / sizeof(T);
};

} // namespace lowrank
