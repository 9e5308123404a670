// The spectrum of a matrix w from its Gram matrix w'w or ww', whichever is smaller, in float32: one
// product, the reduction to tridiagonal form (tridiagonal_form.h), all eigenvalues, and the
// eigenvectors that are asked for (tridiagonal.h). Leading directions can be taken out of w first.
// The rounding of the rest is then relative to the largest value that is left.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"
#include "lowrank/tridiagonal.h"
#include "lowrank/tridiagonal_form.h"

namespace lowrank {

class GramSpectrum {
public:
  // Takes the first singular vectors, `leading` (count x min(m, n)), out of w; `squares` are the
  // squares of their singular values. Throws ERR_NOT_FINITE, ERR_NO_CONVERGENCE.
  GramSpectrum(const Context& context, ConstMatrix w, Stages stages, Buffer<float> leading = {},
               std::vector<double> squares = {});

  int64_t order() const { return order_; }
  Stages stages() const { return stages_; }
  // The square of the i-th largest singular value, accurate to the rounding of the largest one that
  // was not taken out.
  double squaredValue(int64_t i) const {
    return i < taken() ? squares_[static_cast<size_t>(i)] : tridiagonal_->value(i - taken());
  }
  // Computes the singular vectors [begin, end) of the smaller side, as rows of length `order`.
  // Returns false if they are not orthogonal.
  bool vectors(int64_t begin, int64_t end, float* rows) const;

  // Native bytes for a matrix of this order: held by the object, at the peak of its construction,
  // and added by `vectors` for `count` of them; and what leading directions add to all of that.
  static int64_t heldBytes(int64_t order, Stages stages);
  static int64_t bytes(int64_t order, Stages stages, int threads);
  static int64_t vectorsBytes(int64_t order, Stages stages, int64_t count, int threads);
  static int64_t leadingBytes(int64_t m, int64_t n, int64_t leading, int64_t count);

private:
  int64_t taken() const { return static_cast<int64_t>(squares_.size()); }
  void product(ConstMatrix w);
  void add(ConstMatrix panel, float beta);
  Buffer<float> deflated(ConstMatrix panel) const;

  const Context& context_;
  const bool tall_;
  const int64_t order_;
  const Stages stages_;
  const int64_t stride_;
  const Buffer<float> leading_;
  const std::vector<double> squares_;
  Buffer<float> gram_; // the upper triangle, as blas/symmetric.h says; then the reflectors
  std::optional<TridiagonalForm> form_;
  std::optional<Tridiagonal> tridiagonal_;
};

} // namespace lowrank
