// What the drivers share: matrices, and a count of what was checked. A failed check ends the
// program with 1.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/failure.h"
#include "core/random.h"

namespace drive {

// Allocated to the last byte, so that one too many is seen.
using Floats = std::vector<float>;

inline void require(bool holds, const char* what, int64_t a = 0, int64_t b = 0, int64_t c = 0) {
  if (holds) return;
  std::fprintf(stderr, "FAILED: %s (%lld, %lld, %lld)\n", what, static_cast<long long>(a), static_cast<long long>(b),
               static_cast<long long>(c));
  std::exit(1);
}

// About normal: the sum of twelve uniform numbers, less six.
inline Floats gaussian(int64_t count, uint64_t seed) {
  Floats values(static_cast<size_t>(count));
  uint64_t drawn = 0;
  for (float& value : values) {
    double sum = -6;
    for (int i = 0; i < 12; i++) sum += static_cast<double>(lowrank::randomBits(seed, drawn++) >> 11) * 0x1p-53;
    value = static_cast<float>(sum);
  }
  return values;
}

inline Floats product(const Floats& a, const Floats& b, int64_t m, int64_t k, int64_t n) {
  Floats c(static_cast<size_t>(m * n));
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t l = 0; l < k; l++) sum += static_cast<double>(a[i * k + l]) * b[l * n + j];
      c[i * n + j] = static_cast<float>(sum);
    }
  }
  return c;
}

inline double distance(const float* x, const float* y, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return std::sqrt(sum);
}

inline double norm(const Floats& x) {
  double sum = 0;
  for (const float value : x) sum += double(value) * value;
  return std::sqrt(sum);
}

// The code of the failure, or "" when there is none.
template <class Function> const char* codeOf(const Function& function) {
  try {
    function();
    return "";
  } catch (const lowrank::Failure& failure) {
    return failure.code;
  } catch (const lowrank::Cancelled&) {
    return "ABORTED";
  }
}

} // namespace drive
