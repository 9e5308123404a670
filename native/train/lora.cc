#include "train/lora.h"

#include <algorithm>
#include <cmath>

#include "blas/lapack.h"
#include "blas/lease.h"
#include "core/random.h"

namespace lowrank {
namespace {

// Below about 96^3 multiplications per thread, handing work over costs more than it saves.
constexpr double kWorkPerThread = 96.0 * 96.0 * 96.0;

int width(double multiplications, int threads) {
  return static_cast<int>(std::clamp(multiplications / kWorkPerThread, 1.0, static_cast<double>(threads)));
}

// c [+]= alpha op(a) op(b), all compact. Vectors take gemv or ger, because gemm would pack the
// matrix first.
void multiply(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k, float alpha, const float* a,
              const float* b, Target c) {
  const float beta = c.add ? 1 : 0;
  if (k == 0) {
    if (!c.add) std::fill_n(c.data, m * n, 0.0f);
  } else if (n == 1) {
    blas::gemv(transposeA, transposeA ? k : m, transposeA ? m : k, alpha, a, transposeA ? m : k, b, beta, c.data);
  } else if (m == 1) {
    blas::gemv(!transposeB, transposeB ? n : k, transposeB ? k : n, alpha, b, transposeB ? k : n, a, beta, c.data);
  } else if (k == 1) {
    if (!c.add) std::fill_n(c.data, m * n, 0.0f);
    blas::ger(m, n, alpha, a, b, c.data, n);
  } else {
    blas::gemm(transposeA, transposeB, m, n, k, alpha, a, transposeA ? m : k, b, transposeB ? k : n, beta, c.data, n);
  }
}

double work(const LowRankMap& map) {
  return static_cast<double>(map.rows) * static_cast<double>(map.r) * static_cast<double>(map.dim + map.dimOut);
}

} // namespace

void lowRankForward(const LowRankMap& map, const float* x, float* h, Target y) {
  const auto& [rows, dim, dimOut, r, scale, a, b, threads] = map;
  const int wide = width(work(map), threads);
  const Lease lease(wide);
  const WideBlas blas(wide);
  multiply(false, false, rows, r, dim, 1, x, a, {h, false});
  multiply(false, false, rows, dimOut, r, scale, h, b, y);
}

void lowRankBackward(const LowRankMap& map, const float* x, const float* h, const float* gradY, float* gradH,
                     Target gradA, Target gradB, Target gradX) {
  const auto& [rows, dim, dimOut, r, scale, a, b, threads] = map;
  const int wide = width(2 * work(map), threads);
  const Lease lease(wide);
  const WideBlas blas(wide);
  multiply(false, true, rows, r, dimOut, scale, gradY, b, {gradH, false});
  multiply(true, false, r, dimOut, rows, scale, h, gradY, gradB);
  multiply(true, false, dim, r, rows, 1, x, gradH, gradA);
  multiply(false, true, rows, dim, r, 1, gradH, a, gradX);
}

void addLowRank(const LowRankMap& map, float* w) {
  const auto& [rows, dim, dimOut, r, scale, a, b, threads] = map;
  const int wide = width(static_cast<double>(dim) * static_cast<double>(dimOut) * static_cast<double>(r), threads);
  const Lease lease(wide);
  const WideBlas blas(wide);
  multiply(false, false, dim, dimOut, r, scale, a, b, {w, true});
}

void affine(int64_t rows, int64_t dim, int64_t dimOut, const float* x, const float* w, const float* bias, float* y,
            int threads) {
  if (dimOut == 0) return; // nothing to compute, and `rows` may be huge
  const int wide = width(static_cast<double>(rows) * static_cast<double>(dim) * static_cast<double>(dimOut), threads);
  const Lease lease(wide);
  const WideBlas blas(wide);
  for (int64_t i = 0; bias && i < rows; i++) std::copy_n(bias, dimOut, y + i * dimOut);
  multiply(false, false, rows, dimOut, dim, 1, x, w, {y, bias != nullptr});
}

void dropout(const Dropout& dropout, int64_t count, const float* source, Target target) {
  const auto threshold = static_cast<uint64_t>(std::ldexp(dropout.probability, 32));
  const auto factor = static_cast<float>(1 / (1 - dropout.probability));
  for (int64_t i = 0; i < count; i++) {
    const bool kept = randomBits(dropout.seed, dropout.offset + static_cast<uint64_t>(i)) >> 32 >= threshold;
    const float value = kept ? source[i] * factor : 0;
    target.data[i] = target.add ? target.data[i] + value : value;
  }
}

} // namespace lowrank
