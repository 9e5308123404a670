#include "lowrank/orthonormal.h"

#include <algorithm>

#include "blas/lapack.h"
#include "core/memory.h"
#include "lowrank/compact_wy.h"

namespace lowrank {
namespace {

constexpr int64_t kBlock = kPanelRows;
// Rows that a thread takes through a block of reflectors at a time.
constexpr int64_t kRows = 64;

// Blocks of reflectors, and rows of numbers that they are applied to.
class Blocks {
public:
  Blocks(const Context& context, int64_t k, int64_t n, float* v)
      : context_(context), k_(k), n_(n), v_(v), t_(context.memory, count(k) * kBlock * kBlock),
        scratch_(context.memory, std::max<int64_t>(1, parts(k)) * 2 * kRows * kBlock) {}

  static int64_t count(int64_t k) { return (k + kBlock - 1) / kBlock; }
  static int64_t parts(int64_t rows) { return (rows + kRows - 1) / kRows; }
  static int64_t bytes(int64_t k) {
    return 4 * (count(k) * kBlock * kBlock + std::max<int64_t>(1, parts(k)) * 2 * kRows * kBlock);
  }

  // Replaces the rows of v by reflectors.
  void factorise() {
    const Buffer<float> r(context_.memory, kBlock * kBlock);
    for (int64_t block = 0; block < count(k_); block++) {
      const int64_t begin = block * kBlock, rows = std::min(kBlock, k_ - begin);
      factoriseRows(rows, n_ - begin, v_ + begin * n_ + begin, n_, r.data(), t(block), kBlock);
      apply(block, false, begin + rows, v_);
    }
  }

  // Rows `first` to k of x = themselves Q for the reflectors of a block, or Q'.
  void apply(int64_t block, bool transposed, int64_t first, float* x) {
    const int64_t begin = block * kBlock, width = std::min(kBlock, k_ - begin), length = n_ - begin;
    const float* v = v_ + begin * n_ + begin;
    context_.team.tasks(parts(k_ - first), [&](int64_t part) {
      const int64_t row = first + part * kRows, rows = std::min(kRows, k_ - row);
      float *y = scratch_.data() + part * 2 * kRows * kBlock, *yt = y + kRows * kBlock, *target = x + row * n_ + begin;
      blas::gemm(false, true, rows, width, length, 1, target, n_, v, n_, 0, y, width);
      blas::gemm(false, transposed, rows, width, width, 1, y, width, t(block), kBlock, 0, yt, width);
      blas::gemm(false, false, rows, length, width, -1, yt, width, v, n_, 1, target, n_);
    });
    context_.control.check();
  }

private:
  float* t(int64_t block) const { return t_.data() + block * kBlock * kBlock; }

  const Context& context_;
  const int64_t k_, n_;
  float* const v_;
  Buffer<float> t_, scratch_;
};

} // namespace

void orthonormaliseRows(const Context& context, int64_t k, int64_t n, float* a) {
  if (k == 0) return;
  Blocks blocks(context, k, n, a);
  blocks.factorise();
  // Row i is e_i' Q' for Q = Q_0 Q_1 ..., and the blocks before that of row i leave e_i alone.
  const Buffer<float> q(context.memory, k * n);
  context.team.ranges(k, 1, [&](int64_t begin, int64_t end) {
    std::fill(q.data() + begin * n, q.data() + end * n, 0.0f);
    for (int64_t i = begin; i < end; i++) q[i * n + i] = 1;
  });
  for (int64_t block = Blocks::count(k); block-- > 0;) blocks.apply(block, true, block * kBlock, q.data());
  std::copy_n(q.data(), k * n, a);
}

int64_t orthonormaliseBytes(int64_t k, int64_t n) {
  return k == 0 ? 0 : 4 * (k * n + kBlock * kBlock) + Blocks::bytes(k);
}

} // namespace lowrank
