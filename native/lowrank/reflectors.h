// The reflectors of bulge chasing, kept as the back-transformation applies them: four neighbouring
// sweeps at once.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/memory.h"

namespace lowrank {

// Sweep s of a matrix of order n annihilates column s below its second element; the reflector of
// its chase step c acts on the kLength elements from s + 1 + c kLength on, of which at least two
// are left.
class Reflectors {
public:
  static constexpr int64_t kLength = 64;
  static constexpr int64_t kTogether = 4;
  static constexpr int64_t kRows = kLength + kTogether - 1;

  // H_0 H_1 H_2 H_3 = I - V T V' for step c of the sweeps 4 q to 4 q + 3. Row i of V belongs to
  // element 4 q + 1 + c kLength + i, so column l begins at row l. Sweeps that have no such step
  // have zeros.
  struct Quad {
    float v[kRows + 1][kTogether]; // the last row fills the cache line
    float t[kTogether][kTogether]; // upper triangular
  };
  static_assert(sizeof(Quad) % 64 == 0);

  // All zero.
  Reflectors(const Context& context, int64_t n);

  // Completes T from its diagonal, the scales of the reflectors.
  void join(Team& team);

  static int64_t sweeps(int64_t n) { return n > 2 ? n - 2 : 0; }
  static int64_t steps(int64_t n, int64_t sweep) { return sweep + 2 < n ? (n - sweep - 3) / kLength + 1 : 0; }
  static int64_t quads(int64_t n) { return (sweeps(n) + kTogether - 1) / kTogether; }

  Quad& at(int64_t q, int64_t step) const { return data_[offsets_[q] + step]; }
  int64_t stepsOf(int64_t q) const { return offsets_[q + 1] - offsets_[q]; }

  int64_t order() const { return n_; }

  static int64_t bytes(int64_t n);

private:
  const int64_t n_;
  Buffer<int64_t> offsets_;
  Buffer<Quad> data_;
};

} // namespace lowrank
