#include "lowrank/low_rank.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "core/failure.h"
#include "core/norms.h"
#include "lowrank/float_gram.h"
#include "lowrank/judge.h"
#include "lowrank/residual.h"
#include "lowrank/routes.h"

namespace lowrank {
namespace {

// Whether a rank that was chosen by a rounded spectrum is the one of the rule: what it discards is
// no more than allowed, which nothing is where `all` is kept, and with the last value that it keeps
// it would be more.
bool rankDecided(const Candidate& c, const Certificate& certificate, double allowed, bool all) {
  if (!c.lastKept) return true;
  return (all || certificate.error * certificate.error <= allowed) &&
         certificate.leastError * certificate.leastError + *c.lastKept > allowed;
}

// --- what needs no decomposition

// Any route is exact when nothing is kept. s_1 is found by the same means as any other singular
// value.
Certificate zeroApproximation(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                              const MatrixStats& stats) {
  const double energy = stats.energy;
  double spectral = 0;
  if (energy > 0) {
    Request one = request;
    one.rule = {RankRule::fixed, 1, {}};
    for (const RouteEntry* route : planRoutes({w.rows, w.cols, one, true})) {
      Workspace space;
      const auto candidate = route->run(context, w, stats, one, Result{1}, space);
      if (!candidate) continue;
      spectral = candidate->s[0];
      break;
    }
  }
  if (result.dense) std::fill(result.dense, result.dense + w.size(), 0.0f);
  const double norm = std::sqrt(energy);
  return {0, Route::zero, bit(Route::zero), norm, norm, norm, spectral};
}

Certificate identityCopy(ConstMatrix w, const Result& result, double energy) {
  if (result.dense) copyRows(w, result.dense);
  return {std::min(w.rows, w.cols), Route::copy, bit(Route::copy), std::sqrt(energy), 0, 0, 0};
}

// Every orthonormal basis is a singular basis of a zero matrix.
Certificate approximateZeroMatrix(ConstMatrix w, int64_t k, const Result& result) {
  if (result.dense) std::fill(result.dense, result.dense + w.size(), 0.0f);
  if (result.wantsFactors()) {
    std::fill(result.b, result.b + w.rows * k, 0.0f);
    std::fill(result.s, result.s + k, 0.0f);
    for (int64_t i = 0; i < k; i++) {
      for (int64_t j = 0; j < w.cols; j++) result.a[i * w.cols + j] = i == j ? 1.0f : 0.0f;
    }
  }
  return {k, Route::zero, bit(Route::zero), 0, 0, 0, 0};
}

// Approximates a matrix whose entries and their squares stay well within float32. `held` bytes are
// taken already.
Certificate approximateInRange(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                               const MatrixStats& stats, int64_t held) {
  const int64_t limit = context.memory.limit();
  const Problem problem{w.rows, w.cols, request, result.wantsFactors()};
  if (problem.rankGiven() && request.rule.rank == 0) return zeroApproximation(context, w, request, result, stats);
  uint32_t tried = 0;
  int64_t refused = 0;
  for (const RouteEntry* route : planRoutes(problem)) {
    const int64_t bytes = held + route->bytes(problem, result, context.team.size());
    if (limit > 0 && bytes > limit) {
      refused = refused == 0 ? bytes : std::min(refused, bytes);
      continue;
    }
    tried |= bit(route->route);
    Workspace space;
    const auto c = route->run(context, w, stats, request, result, space);
    if (!c) continue;
    if (c->rank == std::min(w.rows, w.cols) && !result.wantsFactors()) {
      Certificate whole = identityCopy(w, result, stats.energy);
      whole.tried |= tried;
      return whole;
    }
    // In place, do not overwrite w before the result has been accepted.
    const bool later = result.dense == w.data;
    const bool all = c->rank == std::min(w.rows, w.cols);
    const double squaredError = result.dense              ? form(context, w, c->product, later ? nullptr : result.dense)
                                : all && result.spanAlone ? 0
                                                          : measure(context, w, c->product.b, c->product.a);
    Certificate certificate = certify(*c, squaredError, stats.energy, w);
    certificate.tried |= tried;
    if (route->route != Route::gesdd && !acceptable(certificate, request.target)) continue;
    if (!rankDecided(*c, certificate, stats.energy * request.rule.tail.high, all)) continue;
    if (!result.dense) certificate.slack = slackOf(certificate.error, certificate.norm, w);
    if (later) form(context, w, c->product, result.dense);
    if (result.wantsFactors()) {
      copyRows(c->product.b, result.b);
      copyRows(c->product.a, result.a);
      if (c->s != result.s) std::copy_n(c->s, c->rank, result.s);
    }
    return certificate;
  }
  // gesdd, the last of every plan, gives a result or throws.
  throw Failure("ERR_MEMORY", "the computation needs " + std::to_string(refused) +
                                  " bytes of native memory, allowed are " + std::to_string(limit));
}

// --- near the ends of float32

// The power of two that brings the largest entry to about one; 0 where its square and sums of
// squares are no trouble.
int scaleOf(float largest) {
  constexpr int kRange = 40;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::abs(exponent) > kRange ? exponent : 0;
}

void scaleTo(float* x, int64_t count, double factor) {
  for (int64_t i = 0; i < count; i++) x[i] = static_cast<float>(x[i] * factor);
}

// Approximates a copy that is scaled without rounding. Scaling back rounds once more, so the result
// is measured again.
Certificate approximateScaled(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                              const MatrixStats& stats, int exponent) {
  const int64_t m = w.rows, n = w.cols, bytes = m * n * static_cast<int64_t>(sizeof(float));
  const double up = std::ldexp(1.0, exponent), down = std::ldexp(1.0, -exponent);
  const Buffer<float> copy(context.memory, m * n);
  copyRows(w, copy.data());
  scaleTo(copy.data(), m * n, down);
  Result scaled = result;
  if (result.dense) scaled.dense = copy.data();
  const MatrixStats scaledStats{stats.energy * down * down, static_cast<float>(stats.largest * down)};
  Certificate c = approximateInRange(context, ConstMatrix(copy.data(), m, n), request, scaled, scaledStats, bytes);

  double squaredError = c.error * up * c.error * up;
  if (result.wantsFactors()) {
    scaleTo(result.b, m * c.rank, up);
    scaleTo(result.s, c.rank, up);
    squaredError = measure(context, w, ConstMatrix(result.b, m, c.rank), ConstMatrix(result.a, c.rank, n));
    if (!std::all_of(result.s, result.s + c.rank, [](float s) { return std::isfinite(s); })) squaredError = INFINITY;
  }
  if (result.dense) {
    scaleTo(copy.data(), m * n, up);
    squaredError = 0;
    for (int64_t i = 0; i < m; i++) squaredError += squaredDistance(w.row(i), copy.data() + i * n, n);
  }
  if (!std::isfinite(squaredError)) {
    throw Failure("ERR_NOT_FINITE", "the approximation holds numbers that are too large for float32: divide the matrix "
                                    "by a power of two first");
  }
  if (result.dense) copyRows(ConstMatrix(copy.data(), m, n), result.dense);
  c.norm = std::sqrt(stats.energy);
  c.error = std::sqrt(squaredError);
  c.leastError *= up;
  c.slack *= up;
  c.spectralError *= up;
  return c;
}

} // namespace

double Certificate::excessBound() const {
  const double largest = error + slack;
  if (largest <= leastError) return 0;
  return leastError > 0 ? largest / leastError - 1 : std::numeric_limits<double>::infinity();
}

Certificate approximate(const Context& context, ConstMatrix w, const Request& request, const Result& result) {
  const MatrixStats stats = matrixStats(w, context.team);
  const bool fixed = request.rule.kind == RankRule::fixed;
  const int64_t k = fixed ? request.rule.rank : -1;
  if (stats.energy == 0) return approximateZeroMatrix(w, fixed ? k : 0, result);
  if (k == std::min(w.rows, w.cols) && !result.wantsFactors()) return identityCopy(w, result, stats.energy);
  const int exponent = scaleOf(stats.largest);
  return exponent == 0 ? approximateInRange(context, w, request, result, stats, 0)
                       : approximateScaled(context, w, request, result, stats, exponent);
}

MemoryNeed approximateBytes(int64_t m, int64_t n, const Request& request, const Result& wanted, int threads) {
  const int64_t r = std::min(m, n);
  const bool fixed = request.rule.kind == RankRule::fixed;
  if (fixed && request.rule.rank == r && !wanted.wantsFactors()) return {0, 0};
  // Rank 0 needs what finding s_1 needs.
  Request effective = request;
  const bool none = fixed && request.rule.rank == 0;
  if (none) effective.rule.rank = 1;
  const Problem problem{m, n, effective, none || wanted.wantsFactors()};
  const auto plan = planRoutes(problem);
  const int64_t planned = plan.front()->bytes(problem, wanted, threads);
  MemoryNeed need{planned, planned};
  // Near the ends of float32 a scaled copy is approximated, in its place.
  Result inCopy = wanted;
  if (!wanted.wantsFactors()) inCopy.dense = nullptr;
  for (const RouteEntry* route : plan) {
    try {
      const int64_t most = std::max(route->bytes(problem, wanted, threads), route->bytes(problem, inCopy, threads));
      need.worst = std::max(need.worst, most + (route->route == Route::gram ? deflationBytes(m, n) : 0));
    } catch (const Failure&) {
      // A workspace that LAPACK cannot address: this hand-over would be refused.
    }
  }
  need.worst += m * n * static_cast<int64_t>(sizeof(float));
  return need;
}

} // namespace lowrank
