// Reproducible random numbers: element i of a stream is a function of (seed, i) alone, so threads
// may fill any part.
#pragma once

#include <cstdint>

namespace lowrank {

// splitmix64 (Steele, Lea and Flood 2014).
inline uint64_t randomBits(uint64_t seed, uint64_t index) {
  uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

// Nearly normal: the sum of four uniform numbers of 16 bits, mean 0 and variance 1.
inline float randomNormal(uint64_t seed, uint64_t index) {
  const uint64_t bits = randomBits(seed, index);
  const auto sum =
      static_cast<float>((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48));
  return (sum - 2 * 65535.0f) * (1.7320508f / 65536.0f);
}

} // namespace lowrank
