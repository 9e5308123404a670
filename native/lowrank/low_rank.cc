#include "lowrank/low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "blas/lapack.h"
#include "core/digest.h"
#include "core/failure.h"
#include "core/norms.h"
#include "core/random.h"
#include "lowrank/factors.h"
#include "lowrank/gain.h"
#include "lowrank/gram.h"
#include "lowrank/krylov.h"
#include "lowrank/residual.h"
#include "lowrank/routes.h"

namespace lowrank {
namespace {

constexpr double kEpsilon = 1.0 / (1 << 23);

// An error that exceeds the smallest possible by no more than this share of |w|_F is rounding, whatever the target
// says: storing What in float32 alone costs a third of an epsilon.
constexpr double kRoundingFloor = 8 * kEpsilon;

// w ~ sign * b a [+ w], the outcome of one route, before it is judged.
struct Candidate {
  Route route;
  int64_t rank; // of the approximation
  Product product;
  const float* s;
  double spectralError;
  double gain; // how much more energy an approximation of the same rank could hold at most, rounding included
  double tail = std::numeric_limits<double>::infinity(); // |w - w_k|_F^2 by the spectrum, to `gain`, where it is known
};

uint32_t bit(Route route) { return 1u << static_cast<int>(route); }

// What a route computes in, kept alive until the candidate has been used.
struct Storage {
  Buffer<float> b, a, s, u, vt;
};

// The smallest k with sum_{i >= k} s_i^2 <= tail * energy, summed from the small end. Sums are exact, so that a share
// that is met exactly counts as met; the margin is that of `Exact` itself.
template <class Squares> int64_t rankForTail(int64_t count, Exact energy, Exact tail, const Squares& squares) {
  constexpr double kMargin = 0x1p-90;
  const Exact allowed = energy.times(tail);
  Exact discarded;
  int64_t k = count;
  while (k > 0) {
    discarded.add(std::max(static_cast<double>(squares(k - 1)), 0.0));
    if (discarded.minus(allowed) > kMargin * energy.high) break;
    k--;
  }
  return k;
}

// --- the routes: each gives a candidate, or nothing where it cannot reach the target

std::optional<Candidate> byKrylov(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                                  Survey survey, Storage& storage) {
  const int64_t m = w.rows, n = w.cols, k = request.rule.rank;
  // The start depends on every number of w: nobody can make a matrix that is orthogonal to it.
  const Digest digest = blake3(w.data, static_cast<size_t>(m * n) * sizeof(float), context.memory, context.team);
  const uint64_t seed = randomBits(request.seed, (uint64_t{digest[1]} << 32) | digest[0]);
  Krylov krylov(context, w, survey, krylovDimension(m, n, k, request), seed);
  if (krylov.run(k, request.target) != KrylovEnd::converged) return std::nullopt;
  float *b = result.b, *a = result.a, *s = result.s;
  if (!result.wantsFactors()) {
    storage.b = Buffer<float>(context.memory, m * k);
    storage.a = Buffer<float>(context.memory, k * n);
    storage.s = Buffer<float>(context.memory, k);
    b = storage.b.data(), a = storage.a.data(), s = storage.s.data();
  }
  krylov.factors(b, a, s);
  return Candidate{Route::krylov,        k, {Matrix(b, m, k), Matrix(a, k, n)}, s, krylov.nextSingularValue(),
                   krylov.possibleGain()};
}

// The k largest by the Gram matrix; or, for the complement, the r - k smallest, to be taken away.
template <class T>
std::optional<Candidate> byGram(const Context& context, ConstMatrix w, const Request& request, Survey survey,
                                Route route, Storage& storage) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  const bool complement = route == Route::complement, chosen = request.rule.kind == RankRule::byTail;
  const int64_t columns = chosen ? r : complement ? r - request.rule.rank : request.rule.rank;
  const Gram<T> gram(context, w, columns, complement);
  if (!gram.converged()) return std::nullopt;
  storage.b = Buffer<float>(context.memory, m * columns);
  storage.a = Buffer<float>(context.memory, columns * n);
  storage.s = Buffer<float>(context.memory, columns);
  gram.factors(storage.b.data(), storage.a.data(), storage.s.data());
  const int64_t k = chosen ? rankForTail(r, exactSquares(w, context.team), request.rule.tail,
                                         [&](int64_t i) { return gram.squaredValues()[i]; })
                           : request.rule.rank;
  const int64_t used = complement ? columns : k;
  const double kept = gram.sumOfSquares(used), tail = complement ? kept : survey.energy - kept;
  const bool enough = gram.knowsNextSingularValue() && gram.gain() <= 2 * request.target * tail;
  if (std::is_same_v<T, float> && !enough) return std::nullopt;
  Candidate c{route,
              k,
              {Matrix(storage.b.data(), m, columns).colRange(0, used), Matrix(storage.a.data(), used, n), complement},
              storage.s.data(),
              chosen ? (k < r ? storage.s[k] : 0) : gram.nextSingularValue(),
              gram.gain()};
  // The eigenvalues of float64 are better known than the energy of rounded factors; those of float32 are not.
  if (std::is_same_v<T, double>) {
    c.gain = gram.noise();
    c.tail = tail;
  }
  return c;
}

Candidate bySvd(const Context& context, ConstMatrix w, const Request& request, Storage& storage) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  storage.u = Buffer<float>(context.memory, m * r);
  storage.s = Buffer<float>(context.memory, r);
  storage.vt = Buffer<float>(context.memory, r * n);
  const float* s = storage.s.data();
  const SvdDriver driver = thinSvd(context, w, storage.s.data(), storage.u.data(), storage.vt.data(), request.svd);
  context.progress(0.9);
  context.control.check();
  const auto square = [s](int64_t i) { return static_cast<double>(s[i]) * s[i]; };
  const int64_t k = request.rule.kind == RankRule::fixed
                        ? request.rule.rank
                        : rankForTail(r, exactSquares(w, context.team), request.rule.tail, square);
  const Matrix u(storage.u.data(), m, r), vt(storage.vt.data(), r, n), b = u.colRange(0, k);
  const double error = backwardError(context, w, u, s, vt);
  scaleColumns(b, s);
  // The singular vectors are those of a matrix within `error` of w, of which the k best hold the most.
  double gain = error * error;
  for (int64_t i = 0; i < k && k < r; i++) gain += gainAcross(2 * s[i] * error, square(i) - square(k));
  return {driver == SvdDriver::gesdd ? Route::gesdd : Route::gesvd,
          k,
          {b, Matrix(vt.data, k, n)},
          s,
          k < r ? s[k] : 0.0,
          gain};
}

std::optional<Candidate> along(Route route, const Context& context, ConstMatrix w, const Request& request,
                               const Result& result, Survey survey, Storage& storage) {
  switch (route) {
  case Route::krylov:
    return byKrylov(context, w, request, result, survey, storage);
  case Route::gram:
    return byGram<float>(context, w, request, survey, route, storage);
  case Route::gram64:
  case Route::complement:
    return byGram<double>(context, w, request, survey, route, storage);
  default:
    return bySvd(context, w, request, storage);
  }
}

// --- judging

// Of the terms of a sum in float32 no more are added one after the other than this allows for, even where all their
// roundings agree, as those of equal terms do: 384 in gemm, half a unit in the last place each, half of the time.
constexpr double kAgreeing = 64 * kEpsilon;

// What rounding a product of factors to float32 adds to an error: across it at random, and along it as far as roundings
// agree. Of a structured matrix, whose entries repeat, no more than one in a row or column is independent.
double slackOf(double error, double norm, ConstMatrix w) {
  const double rounded = 2 * kEpsilon * norm, independent = static_cast<double>(w.rows + w.cols);
  return std::hypot(error, rounded) - error + rounded * std::min(1.0, 4 / std::sqrt(independent));
}

// The smallest error of any approximation of the rank, from below: its square is at least this.
double leastSquared(const Candidate& c, double error, double norm, ConstMatrix w) {
  if (c.rank == 0) return error * error;
  // Where the spectrum does not tell, rounding may have lowered the error that was measured.
  // Where the spectrum does not tell, rounding may have made the error larger than the smallest, and hidden that.
  if (std::isfinite(c.tail)) return std::max(std::min(error * error, c.tail) - c.gain, 0.0);
  const double measured = std::max(error - slackOf(error, norm, w), 0.0), rounded = kAgreeing * norm;
  return std::max(measured * measured - rounded * rounded - c.gain, 0.0);
}

bool acceptable(const Certificate& c, double target) {
  return c.excessBound() <= target || c.error - c.leastError <= kRoundingFloor * c.norm;
}

// --- what needs no decomposition

// No route at all can be off when nothing is kept; s_1 is found by the same means as any other singular value.
Certificate nothing(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                    Survey survey) {
  const double energy = survey.energy;
  double spectral = 0;
  if (energy > 0) {
    Request one = request;
    one.rule = {RankRule::fixed, 1, {}};
    for (const Route route : plan(w.rows, w.cols, 1, one, true)) {
      Storage storage;
      const auto candidate = along(route, context, w, one, Result{1}, survey, storage);
      if (!candidate) continue;
      spectral = candidate->s[0];
      break;
    }
  }
  if (result.dense) std::fill(result.dense, result.dense + w.size(), 0.0f);
  const double norm = std::sqrt(energy);
  return {0, Route::zero, bit(Route::zero), norm, norm, norm, spectral};
}

Certificate everything(ConstMatrix w, const Result& result, double energy) {
  if (result.dense) copyRows(w, result.dense);
  return {std::min(w.rows, w.cols), Route::copy, bit(Route::copy), std::sqrt(energy), 0, 0, 0};
}

// Of a zero matrix every orthonormal basis is a singular basis.
Certificate ofZeroMatrix(ConstMatrix w, int64_t k, const Result& result) {
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

// What a route takes at its peak, from the formation of its factors to the measured result.
int64_t routeBytes(Route route, int64_t m, int64_t n, const Request& request, const Result& wanted, int threads) {
  const int64_t r = std::min(m, n), k = request.rule.kind == RankRule::fixed ? request.rule.rank : r;
  const int64_t columns = route == Route::complement ? r - k : k;
  const bool inPlace = !wanted.wantsFactors() && wanted.dense == nullptr;
  const int64_t forming = wanted.wantsFactors() && wanted.dense == nullptr
                              ? measureBytes(m, n, k, threads)
                              : formBytes(m, n, inPlace || route == Route::complement, threads);
  const int64_t product = 4 * (m + n + 1) * columns;
  switch (route) {
  case Route::krylov: {
    const int64_t own = std::max(Krylov::bytes(m, n, k, krylovDimension(m, n, k, request), threads),
                                 blake3Bytes(m * n * static_cast<int64_t>(sizeof(float))));
    return (wanted.wantsFactors() ? 0 : product) + std::max(own, forming);
  }
  case Route::gram:
    return std::max(Gram<float>::bytes(m, n, columns, false), product + forming);
  case Route::gram64:
  case Route::complement:
    return std::max(Gram<double>::bytes(m, n, columns, route == Route::complement), product + forming);
  default:
    return 4 * (m * r + r + r * n) + std::max({thinSvdBytes(m, n, true), forming, backwardErrorBytes(m, n, threads)});
  }
}

// Of a matrix whose entries and their squares stay well within float32. `held` are the bytes that are taken already.
Certificate inRange(const Context& context, ConstMatrix w, const Request& request, const Result& result, Survey seen,
                    int64_t held) {
  const bool fixed = request.rule.kind == RankRule::fixed;
  const int64_t k = fixed ? request.rule.rank : -1, limit = context.memory.limit();
  if (k == 0) return nothing(context, w, request, result, seen);
  uint32_t tried = 0;
  int64_t refused = 0;
  for (const Route route : plan(w.rows, w.cols, k, request, result.wantsFactors())) {
    const int64_t bytes = held + routeBytes(route, w.rows, w.cols, request, result, context.team.size());
    if (limit > 0 && bytes > limit) {
      refused = refused == 0 ? bytes : std::min(refused, bytes);
      continue;
    }
    tried |= bit(route);
    Storage storage;
    const auto c = along(route, context, w, request, result, seen, storage);
    if (!c) continue;
    if (c->rank == std::min(w.rows, w.cols) && !result.wantsFactors()) {
      Certificate whole = everything(w, result, seen.energy);
      whole.tried |= tried;
      return whole;
    }
    // In place, nothing may be overwritten before the result is known to be good.
    const bool later = result.dense == w.data;
    const double squaredError = result.dense ? form(context, w, c->product, later ? nullptr : result.dense)
                                             : measure(context, w, c->product.b, c->product.a);
    Certificate certificate{
        c->rank, c->route, tried | bit(c->route), std::sqrt(seen.energy), std::sqrt(squaredError), 0, c->spectralError};
    certificate.leastError = std::sqrt(leastSquared(*c, certificate.error, certificate.norm, w));
    if (route != Route::gesdd && !acceptable(certificate, request.target)) continue;
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

// The power of two that brings the largest entry to about one; 0 where its square and sums of squares are no trouble.
int scaleOf(float largest) {
  constexpr int kRange = 40;
  int exponent = 0;
  std::frexp(largest, &exponent);
  return std::abs(exponent) > kRange ? exponent : 0;
}

void scaleTo(float* x, int64_t count, double factor) {
  for (int64_t i = 0; i < count; i++) x[i] = static_cast<float>(x[i] * factor);
}

// The copy is scaled without rounding. What comes back is rounded once more, so it is measured again.
Certificate outOfRange(const Context& context, ConstMatrix w, const Request& request, const Result& result, Survey seen,
                       int exponent) {
  const int64_t m = w.rows, n = w.cols, bytes = m * n * static_cast<int64_t>(sizeof(float));
  const double up = std::ldexp(1.0, exponent), down = std::ldexp(1.0, -exponent);
  const Buffer<float> copy(context.memory, m * n);
  copyRows(w, copy.data());
  scaleTo(copy.data(), m * n, down);
  Result scaled = result;
  if (result.dense) scaled.dense = copy.data();
  const Survey survey{seen.energy * down * down, static_cast<float>(seen.largest * down)};
  Certificate c = inRange(context, ConstMatrix(copy.data(), m, n), request, scaled, survey, bytes);

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
  c.norm = std::sqrt(seen.energy);
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
  const Survey seen = survey(w, context.team);
  const bool fixed = request.rule.kind == RankRule::fixed;
  const int64_t k = fixed ? request.rule.rank : -1;
  if (seen.energy == 0) return ofZeroMatrix(w, fixed ? k : 0, result);
  if (k == std::min(w.rows, w.cols) && !result.wantsFactors()) return everything(w, result, seen.energy);
  const int exponent = scaleOf(seen.largest);
  return exponent == 0 ? inRange(context, w, request, result, seen, 0)
                       : outOfRange(context, w, request, result, seen, exponent);
}

MemoryNeed approximateBytes(int64_t m, int64_t n, const Request& request, const Result& wanted, int threads) {
  const int64_t r = std::min(m, n);
  const bool fixed = request.rule.kind == RankRule::fixed;
  if (fixed && request.rule.rank == r && !wanted.wantsFactors()) return {0, 0};
  // Rank 0 takes what finding s_1 takes.
  Request effective = request;
  const bool none = fixed && request.rule.rank == 0;
  if (none) effective.rule.rank = 1;
  const auto routes = plan(m, n, fixed ? effective.rule.rank : -1, effective, none || wanted.wantsFactors());
  const int64_t planned = routeBytes(routes.front(), m, n, effective, wanted, threads);
  MemoryNeed need{planned, planned};
  for (const Route route : routes) {
    try {
      need.worst = std::max(need.worst, routeBytes(route, m, n, effective, wanted, threads));
    } catch (const Failure&) {
      // A workspace that LAPACK cannot address: this hand-over would be refused.
    }
  }
  return need;
}

} // namespace lowrank
