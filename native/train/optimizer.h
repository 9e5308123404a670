// Optimizer steps on one parameter, in place, in a single pass over memory.
#pragma once

#include <cstdint>

namespace lowrank {

struct Sgd {
  float rate;
  float weightDecay;
  float momentum;
  float dampening;
  bool nesterov;
  bool first; // the velocity starts here
};
// g = gradient + weightDecay p; v = momentum v + (1 - dampening) g, at the first step v = g; p -=
// rate v, or with Nesterov rate (g + momentum v) (Sutskever et al. 2013, as PyTorch writes it). A
// null `velocity` is plain descent.
void sgdStep(const Sgd& sgd, int64_t count, float* p, const float* gradient, float* velocity, int threads);

struct AdamW {
  double rate;
  double weightDecay;
  double beta1;
  double beta2;
  double epsilon;
  int64_t step; // from 1
};
// Adam (Kingma and Ba 2015, algorithm 1) with decoupled weight decay (Loshchilov and Hutter 2019,
// algorithm 2, the decay times the rate as in PyTorch).
void adamWStep(const AdamW& adam, int64_t count, float* p, const float* gradient, float* mean, float* square,
               int threads);

// x *= factor
void scale(int64_t count, float* x, float factor);

} // namespace lowrank
