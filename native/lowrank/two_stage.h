// Reduces a large symmetric matrix to tridiagonal form in two stages, A = Q T Q' with Q = Q_1 Q_2:
// first to a band (band_reduction.h), then to T (bulge_chasing.h). This takes more operations than
// one stage: 6 n^2 b for the second stage, and 4 n^2 k instead of 2 n^2 k to transform k vectors
// back. But nearly all of them work in the cache.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/memory.h"
#include "lowrank/band_reduction.h"
#include "lowrank/reflectors.h"

namespace lowrank {

class TwoStage {
public:
  // `a` (n x n, upper triangle given) is destroyed and must outlive this object. BLAS must not be
  // wide (lease.h): the team itself shares the work out, in parts that do not depend on its size.
  TwoStage(const Context& context, int64_t n, float* a, int64_t stride);

  // T: its n diagonal and n - 1 off-diagonal elements.
  const float* diagonal() const { return d_.data(); }
  const float* offDiagonal() const { return e_.data(); }

  // Turns eigenvectors of T into those of A: rows (count x n) <- rows Q'.
  void transformBack(int64_t count, float* rows) const;

  // Native bytes without `a`: held by the object, at the peak of its construction, and added by
  // `transformBack`.
  static int64_t heldBytes(int64_t n);
  static int64_t bytes(int64_t n);
  static int64_t transformBytes(int64_t n, int threads);

private:
  TwoStage(const Context& context, int64_t n, float* a, int64_t stride, Buffer<float> band);

  const Context& context_;
  BandReduction<float> reduction_;
  Reflectors reflectors_;
  Buffer<float> d_, e_;
};

// T alone in float64, of `a` (n x n, its upper triangle given), which is destroyed.
void tridiagonaliseOverBand(const Context& context, int64_t n, double* a, int64_t stride, double* d, double* e);
// Native bytes without `a`, d and e.
int64_t tridiagonaliseOverBandBytes(int64_t n);

} // namespace lowrank
