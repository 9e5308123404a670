// The tridiagonal form of a symmetric matrix, A = Q T Q', in one stage (householder.h) or, from the
// order on where the products of the matrix with one vector leave the cache, in two (two_stage.h).
#pragma once

#include <cstdint>
#include <optional>

#include "core/context.h"
#include "lowrank/householder.h"
#include "lowrank/test_hooks.h"
#include "lowrank/two_stage.h"

namespace lowrank {

enum class Stages { one, two };
Stages stagesFor(int64_t order, const TestHooks& hooks);

class TridiagonalForm {
public:
  // `a` as Householder takes it. It is overwritten by reflectors and has to outlive this.
  TridiagonalForm(const Context& context, int64_t n, float* a, int64_t stride, Stages stages);

  // T: its n diagonal and n - 1 off-diagonal elements.
  const float* diagonal() const { return one_ ? one_->diagonal() : two_->diagonal(); }
  const float* offDiagonal() const { return one_ ? one_->offDiagonal() : two_->offDiagonal(); }

  // From eigenvectors of T to those of A: rows (count x n) <- rows Q'.
  void transformBack(int64_t count, float* rows) const;

  // Native bytes without `a`: what it holds, the peak of its construction, and what `transformBack`
  // adds.
  static int64_t heldBytes(int64_t n, Stages stages);
  static int64_t bytes(int64_t n, Stages stages, int threads);
  static int64_t transformBytes(int64_t n, Stages stages, int threads);

private:
  std::optional<Householder<float>> one_;
  std::optional<TwoStage> two_;
};

// T alone, in float64, of `a`, which is laid out as above and destroyed: d (n) and e (n - 1).
void tridiagonalise(const Context& context, int64_t n, double* a, int64_t stride, double* d, double* e);
// Native bytes without `a`, d and e.
int64_t tridiagonaliseBytes(int64_t n, int threads);

} // namespace lowrank
