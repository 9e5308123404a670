// Small matrices side by side, one in each lane of the vector registers. LAPACK spends most of its time on a small
// matrix with its overhead; here all of them take the same steps at once: the Gram matrix, its reduction to tridiagonal
// form, the eigenvectors that are needed, and the approximation, all in float32 but for the vectors of the tridiagonal
// matrix and what is measured. What a lane computes depends neither on the matrices beside it nor on the number of
// lanes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/context.h"
#include "lowrank/request.h"
#include "lowrank/routes.h"

namespace lowrank {

class Lanes {
public:
  // Whether `count` matrices of this shape and request are worked on in lanes: a given rank of small
  // matrices, the product alone, and enough of them to fill the narrowest registers.
  static bool possible(const Problem& problem, int64_t count);

  // Plans for `count` matrices, shared out among `threads` threads.
  Lanes(const Problem& problem, int64_t count, int threads);

  // Matrices that are worked on at once.
  int64_t width() const { return width_; }
  // Native bytes that they take together.
  int64_t bytes() const;

  // Approximates up to width() matrices: the i-th lies compact at w[i], and dense[i] may be the same. A lane whose
  // result does not reach the target gets no certificate, and its output is left as it was.
  void approximate(const Context& context, std::span<const float* const> w, std::span<float* const> dense,
                   std::span<std::optional<Certificate>> certificates) const;

private:
  const Problem problem_;
  int64_t width_;
};

} // namespace lowrank
