#include "train/optimizer.h"

#include <algorithm>
#include <cmath>

#include "blas/lease.h"
#include "core/simd.h"
#include "core/threads.h"

namespace lowrank {
namespace {

// Below this many elements a further thread costs more than it saves.
constexpr int64_t kElementsPerThread = 1 << 20;
// A cache line of floats.
constexpr int64_t kGrain = 16;

template <class Work> void inParallel(int64_t count, int threads, const Work& work) {
  const int64_t useful = std::clamp<int64_t>(count / kElementsPerThread, 1, threads);
  const Lease lease(static_cast<int>(useful));
  Team team(static_cast<int>(useful));
  team.ranges(count, kGrain, work);
}

// The constants of one step, in float32.
struct AdamWRates {
  float keep, beta1, beta2, rest1, rest2, rate, correction, epsilon;

  explicit AdamWRates(const AdamW& adam)
      : keep(static_cast<float>(1 - adam.rate * adam.weightDecay)), beta1(static_cast<float>(adam.beta1)),
        beta2(static_cast<float>(adam.beta2)), rest1(static_cast<float>(1 - adam.beta1)),
        rest2(static_cast<float>(1 - adam.beta2)),
        rate(static_cast<float>(adam.rate / (1 - std::pow(adam.beta1, static_cast<double>(adam.step))))),
        correction(static_cast<float>(1 / std::sqrt(1 - std::pow(adam.beta2, static_cast<double>(adam.step))))),
        epsilon(static_cast<float>(adam.epsilon)) {}
};

inline __attribute__((always_inline)) void adamW(const AdamWRates& rates, int64_t count, float* __restrict p,
                                                 const float* __restrict g, float* __restrict mean,
                                                 float* __restrict square) {
  const AdamWRates c = rates;
  for (int64_t i = 0; i < count; i++) {
    mean[i] += c.rest1 * (g[i] - mean[i]);
    square[i] = c.beta2 * square[i] + c.rest2 * g[i] * g[i];
    p[i] = c.keep * p[i] - c.rate * mean[i] / (std::sqrt(square[i]) * c.correction + c.epsilon);
  }
}

// The same loop, compiled for each width of vectors.
#if defined(__x86_64__)
__attribute__((target("avx512f,fma"))) void adamWAvx512(const AdamWRates& rates, int64_t count, float* p,
                                                        const float* g, float* mean, float* square) {
  adamW(rates, count, p, g, mean, square);
}
__attribute__((target("avx2,fma"))) void adamWAvx2(const AdamWRates& rates, int64_t count, float* p, const float* g,
                                                   float* mean, float* square) {
  adamW(rates, count, p, g, mean, square);
}
#endif
void adamWPlain(const AdamWRates& rates, int64_t count, float* p, const float* g, float* mean, float* square) {
  adamW(rates, count, p, g, mean, square);
}

using AdamWLoop = void (*)(const AdamWRates&, int64_t, float*, const float*, float*, float*);

AdamWLoop choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return adamWAvx512;
  if (simd() == Simd::avx2) return adamWAvx2;
#endif
  return adamWPlain;
}

void sgd(const Sgd& sgd, int64_t count, float* __restrict p, const float* __restrict gradient) {
  const auto [rate, decay, momentum, dampening, nesterov, first] = sgd;
  for (int64_t i = 0; i < count; i++) p[i] -= rate * (gradient[i] + decay * p[i]);
}

void sgdWithMomentum(const Sgd& sgd, int64_t count, float* __restrict p, const float* __restrict gradient,
                     float* __restrict velocity) {
  const auto [rate, decay, momentum, dampening, nesterov, first] = sgd;
  const float past = first ? 0 : momentum, present = first ? 1 : 1 - dampening;
  const float ofGradient = nesterov ? 1 : 0, ofVelocity = nesterov ? momentum : 1;
  for (int64_t i = 0; i < count; i++) {
    const float g = gradient[i] + decay * p[i];
    velocity[i] = past * velocity[i] + present * g;
    p[i] -= rate * (ofGradient * g + ofVelocity * velocity[i]);
  }
}

} // namespace

void sgdStep(const Sgd& step, int64_t count, float* p, const float* gradient, float* velocity, int threads) {
  inParallel(count, threads, [&](int64_t begin, int64_t end) {
    if (velocity) {
      sgdWithMomentum(step, end - begin, p + begin, gradient + begin, velocity + begin);
    } else {
      sgd(step, end - begin, p + begin, gradient + begin);
    }
  });
}

void adamWStep(const AdamW& adam, int64_t count, float* p, const float* gradient, float* mean, float* square,
               int threads) {
  static const AdamWLoop loop = choose();
  const AdamWRates rates(adam);
  inParallel(count, threads, [&](int64_t begin, int64_t end) {
    loop(rates, end - begin, p + begin, gradient + begin, mean + begin, square + begin);
  });
}

void scale(int64_t count, float* x, float factor) {
  for (int64_t i = 0; i < count; i++) x[i] *= factor;
}

} // namespace lowrank
