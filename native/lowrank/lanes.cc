#include "lowrank/lanes.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/norms.h"
#include "lowrank/gain.h"
#include "lowrank/judge.h"
#include "lowrank/lane_layout.h"
#include "lowrank/lane_paths.h"

namespace lowrank {
namespace {

using lanes::Arrays;
using lanes::Figures;
using lanes::kMostLanes;
using lanes::pathFor;
using lanes::Places;
using lanes::Sizes;

// --- planning

// Beyond this order the arrays of the lanes exceed the cache, and LAPACK's blocks are faster.
constexpr int64_t kMostOrder = 128;
// Fewer matrices leave most of the lanes empty, and are faster one after the other.
constexpr int64_t kFewest = 4;
constexpr int64_t kMostElements = kMostOrder * kMostOrder;

// Scaling back may round a matrix whose largest number is above 2 to this power, or below its
// inverse.
constexpr int kRange = 40;

Sizes sizesOf(const Problem& p) {
  const int64_t k = p.request.rule.rank;
  return {p.m, p.n, k, 2 * k > p.shorter()};
}

// --- judging

// The numbers of one lane.
class LaneNumbers {
public:
  LaneNumbers(const float* memory, int64_t width, int64_t lane) : memory_(memory + lane), width_(width) {}
  double at(int64_t place, int64_t i = 0) const { return memory_[(place + i) * width_]; }

private:
  const float* memory_;
  int64_t width_;
};

// The rounding of the Gram matrix and its reduction, at its statistical size (Higham and Mary
// 2019): a number of units in the last place, in float32, of the largest eigenvalue.
double roundingOf(const Sizes& s, double largest) {
  return kEpsilon * largest * (4 + std::sqrt(static_cast<double>(s.rows())) / 4);
}

// Bounds how much more energy the best approximation could hold (docs/mathematics.md). Infinite if
// the eigenvectors are not those that were asked for.
double gainOf(const Sizes& s, const Places& places, const LaneNumbers& lane) {
  constexpr double kLeast = 0.5; // a vector that loses more than half to those before it is not a new one
  constexpr double kFound = 16;  // roundings allowed between bisection's eigenvalue and the Rayleigh quotient
  const double largest = lane.at(places.reach), rounding = roundingOf(s, largest), found = kFound * kEpsilon * largest;
  double residuals = 0;
  for (int64_t i = 0; i < s.vectors(); i++) {
    const double off = std::abs(lane.at(places.values, i) - lane.at(places.quotients, i));
    // Written so that a NaN fails.
    if (!(lane.at(places.left, i) > kLeast && off < found)) return INFINITY;
    residuals += lane.at(places.residuals, i);
  }
  if (!std::isfinite(residuals)) return INFINITY;
  // No eigenvalue on the other side of the cut is nearer than this.
  const double across = lane.at(places.values, s.across()), doubt = found + std::sqrt(residuals);
  double gain = 0;
  for (int64_t i = s.firstUsed(); i < s.firstUsed() + s.used(); i++) {
    const double coupling = rounding + std::sqrt(lane.at(places.residuals, i));
    gain += gainAcross(coupling, std::abs(lane.at(places.quotients, i) - across) - doubt);
  }
  return gain;
}

// Whether the largest dropped singular value is accurate to a hundred-thousandth of the largest of
// all.
bool knowsSpectralError(const Sizes& s, const Places& places, const LaneNumbers& lane) {
  constexpr double kKnown = 1e-5;
  const double largest = lane.at(places.reach), value = std::max(lane.at(places.values, s.boundary()), 0.0);
  return roundingOf(s, largest) <= 4 * kKnown * std::sqrt(largest * value);
}

// Stores the results for W / scale as those for W. Powers of two do not round.
void store(const Sizes& s, const float* what, int64_t width, const Figures& figures, std::span<float* const> dense) {
  constexpr int64_t kBlock = 16;
  const int64_t step = (s.turned() ? s.stride() : 1) * width;
  for (int64_t i = 0; i < s.m; i++) {
    const float* row = what + i * (s.turned() ? 1 : s.stride()) * width;
    for (int64_t begin = 0; begin < s.n; begin += kBlock) {
      const int64_t end = std::min(begin + kBlock, s.n);
      for (size_t lane = 0; lane < dense.size(); lane++) {
        if (dense[lane] == nullptr) continue;
        for (int64_t j = begin; j < end; j++) dense[lane][i * s.n + j] = row[j * step + lane] * figures.scale[lane];
      }
    }
  }
}

} // namespace

bool Lanes::possible(const Problem& p, int64_t count) {
  const int64_t k = p.request.rule.rank;
  return count >= kFewest && p.rankGiven() && p.request.method == Method::automatic && !p.factors && k > 0 &&
         k < p.shorter() && p.shorter() <= kMostOrder && p.m * p.n <= kMostElements;
}

Lanes::Lanes(const Problem& problem, int64_t count, int threads)
    : problem_(problem), width_(pathFor((count + threads - 1) / threads).width) {}

int64_t Lanes::bytes() const {
  const Sizes sizes = sizesOf(problem_);
  return Places(sizes).end * width_ * static_cast<int64_t>(sizeof(float));
}

void Lanes::approximate(const Context& context, std::span<const float* const> w, std::span<float* const> dense,
                        std::span<std::optional<Certificate>> certificates) const {
  const Sizes sizes = sizesOf(problem_);
  const Places places(sizes);
  const Buffer<float> memory(context.memory, places.end * width_);
  std::array<const float*, kMostLanes> from = {};
  std::copy(w.begin(), w.end(), from.begin());
  Figures figures;
  pathFor(width_).approximate(sizes, from.data(), memory.data(), figures);

  std::array<float*, kMostLanes> to = {};
  for (size_t i = 0; i < w.size(); i++) {
    certificates[i].reset();
    int exponent = 0;
    std::frexp(figures.largest[i], &exponent);
    if (!std::isfinite(figures.energy[i]) || figures.energy[i] == 0 || std::abs(exponent) > kRange) continue;
    const LaneNumbers lane(memory.data(), width_, static_cast<int64_t>(i));
    if (!knowsSpectralError(sizes, places, lane)) continue;
    const double square = static_cast<double>(figures.scale[i]) * figures.scale[i];
    const ConstMatrix matrix(w[i], problem_.m, problem_.n);
    const Candidate candidate{Route::gram,
                              sizes.rank,
                              {Matrix(nullptr, problem_.m, 0), Matrix(nullptr, 0, problem_.n), sizes.complement},
                              nullptr,
                              std::sqrt(figures.boundary[i] * square),
                              gainOf(sizes, places, lane) * square};
    const Certificate c = certify(candidate, figures.squares[i] * square, figures.energy[i], matrix);
    if (!acceptable(c, problem_.request.target)) continue;
    certificates[i] = c;
    to[i] = dense[i];
  }
  store(sizes, Arrays(sizes, memory.data(), width_).g, width_, figures, std::span(to).first(w.size()));
}

} // namespace lowrank
