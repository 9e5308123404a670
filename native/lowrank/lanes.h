// Approximates small matrices side by side, one in each lane of the vector registers. On a small
// matrix LAPACK spends most of its time in overhead. Here all matrices take the same steps at once:
// the Gram matrix, its reduction to tridiagonal form, the eigenvectors that are needed, and the
// approximation. All of that is in float32, except the eigenvectors of the tridiagonal matrix and
// what is measured. The result of a lane depends neither on the matrices beside it nor on the
// number of lanes.
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
  // Whether `count` matrices of this shape and request are worked on in lanes: small matrices at a
  // given rank, the product alone, and enough of them to fill the narrowest registers.
  static bool possible(const Problem& problem, int64_t count);

  // Plans for `count` matrices, shared out among `threads` threads.
  Lanes(const Problem& problem, int64_t count, int threads);

  // Matrices that are worked on at once.
  int64_t width() const { return width_; }
  // Native bytes that they take together.
  int64_t bytes() const;

  // Approximates up to width() matrices: the i-th is compact at w[i], and dense[i] may be the same
  // array. A lane whose result misses the target gets no certificate, and its output stays as it
  // was.
  void approximate(const Context& context, std::span<const float* const> w, std::span<float* const> dense,
                   std::span<std::optional<Certificate>> certificates) const;

private:
  const Problem problem_;
  int64_t width_;
};

} // namespace lowrank
