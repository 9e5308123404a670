// A linear map in low-rank form, y = scale (x A) B with A: dim x r and B: r x dimOut, and its
// gradients. The caller owns all arrays, work arrays included, so a training step allocates
// nothing.
#pragma once

#include <cstdint>

namespace lowrank {

struct LowRankMap {
  int64_t rows; // of x
  int64_t dim;
  int64_t dimOut;
  int64_t r;
  float scale;
  const float* a;
  const float* b;
  int threads;
};

// An array to overwrite, or to add to.
struct Target {
  float* data;
  bool add;
};

// y [+]= scale h B with h = x A (rows x r), which the backward pass needs again.
void lowRankForward(const LowRankMap& map, const float* x, float* h, Target y);

// For G = dL/dy, with the work array gradH = scale G B' (rows x r):
// dL/dA = x' gradH, dL/dB = scale h' G, dL/dx = gradH A'.
void lowRankBackward(const LowRankMap& map, const float* x, const float* h, const float* gradY, float* gradH,
                     Target gradA, Target gradB, Target gradX);

// w (dim x dimOut) += scale A B
void addLowRank(const LowRankMap& map, float* w);

// y (rows x dimOut) = x W + bias; `bias` may be null.
void affine(int64_t rows, int64_t dim, int64_t dimOut, const float* x, const float* w, const float* bias, float* y,
            int threads);

// Sets each element to zero with the given probability and divides the others by 1 - probability.
// Element i uses element `offset + i` of the seed's random stream.
struct Dropout {
  double probability;
  uint64_t seed;
  uint64_t offset;
};
void dropout(const Dropout& dropout, int64_t count, const float* source, Target target);

} // namespace lowrank
