// Products of a large matrix with one of kSkinny columns, the only shape in which block Krylov
// methods meet the large matrix. General gemm packs the large operand first, which costs as much as
// the product when the other has 32 columns; here it is read where it lies, once.
#pragma once

#include <cstdint>

namespace lowrank {

constexpr int64_t kSkinny = 32;

// A matrix read through two strides: element (i, l) is data[i * rowStride + l * colStride]. A
// transpose is a swap.
struct Strided {
  const float* data;
  int64_t rowStride;
  int64_t colStride;

  Strided transposed() const { return {data, colStride, rowStride}; }
  Strided from(int64_t row, int64_t col) const {
    return {data + row * rowStride + col * colStride, rowStride, colStride};
  }
};

// Rows whose stride is a multiple of many cache lines compete for the same few lines of the cache,
// which halves the speed. With an odd number of lines they use all of it.
constexpr int64_t kLineFloats = 16;
constexpr bool spreads(int64_t stride) { return stride % (8 * kLineFloats) != 0; }
constexpr int64_t spreadStride(int64_t width) {
  const int64_t lines = (width + kLineFloats - 1) / kLineFloats;
  return (lines | 1) * kLineFloats;
}

// c (m x 32) = [c +] sign * a (m x k) * b (k x 32); b and c row-major with stride 32.
enum class Update { assign, add, subtract };
void skinnyProduct(int64_t m, int64_t k, Strided a, const float* b, float* c, Update update);

} // namespace lowrank
