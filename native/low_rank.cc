#include "low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>

#include "failure.h"
#include "gram.h"
#include "krylov.h"
#include "norms.h"
#include "plan.h"
#include "products.h"

namespace lowrank {
namespace {

constexpr double kEpsilon = 1.0 / (1 << 23);

// The product is formed and compared a panel at a time: large enough for gemm's full rate, small enough to stay in
// cache.
constexpr int64_t kPanelElements = int64_t{1} << 19;

// An error that exceeds the smallest possible by no more than this share of |w|_F is rounding, whatever the target
// says: storing What in float32 alone costs a third of an epsilon.
constexpr double kRoundingFloor = 8 * kEpsilon;

// w ~ sign * b a [+ w], the outcome of one route, before it is judged.
struct Candidate {
  Route route;
  int64_t rank;    // of the approximation
  bool complement; // b a is what has to be taken away from w
  Matrix b;        // m x columns, may be a column range of something wider
  Matrix a;        // columns x n
  const float* s;
  double spectralError;
  double possibleGain; // how much more energy than this an approximation of the same rank could hold
};

// What a route computes in, kept alive until the candidate has been used.
struct Storage {
  Buffer<float> b, a, s, u, vt;
};

int64_t panelRows(int64_t m, int64_t n) { return std::clamp<int64_t>(kPanelElements / n, 1, m); }

// The smallest k with sum_{i >= k} s_i^2 <= tail * sum s_i^2, summed from the small end.
int64_t rankForTail(const float* s, int64_t count, double tail) {
  const double allowed = tail * squares(s, count);
  double discarded = 0;
  int64_t k = count;
  while (k > 0) {
    discarded += static_cast<double>(s[k - 1]) * s[k - 1];
    if (discarded > allowed) break;
    k--;
  }
  return k;
}

// Forms the approximation, into `dense` when given, and measures |w - What|_F^2.
double form(const Context& context, ConstMatrix w, const Candidate& c, float* dense) {
  const int64_t m = w.rows, n = w.cols, height = panelRows(m, n);
  const int parts = context.team.size();
  const bool scratchNeeded = dense == nullptr || dense == w.data || c.complement;
  Buffer<float> scratch(context.memory, scratchNeeded ? parts * height * n : 0);
  Buffer<double> perRow(context.memory, m);
  context.team.run([&](int part) {
    for (int64_t begin = m * part / parts; begin < m * (part + 1) / parts; begin += height) {
      if (context.control.cancelled()) return;
      const int64_t rows = std::min(height, m * (part + 1) / parts - begin);
      float* panel = scratchNeeded ? scratch.data() + part * height * n : dense + begin * n;
      if (c.a.rows == 0) {
        std::fill(panel, panel + rows * n, 0.0f);
      } else {
        multiplyRows(c.b.rowRange(begin, begin + rows), c.a, panel);
      }
      for (int64_t i = 0; i < rows; i++) {
        const float* original = w.row(begin + i);
        float* row = panel + i * n;
        if (c.complement) {
          for (int64_t j = 0; j < n; j++) row[j] = original[j] - row[j];
        }
        perRow[begin + i] = squaredDistance(original, row, n);
      }
      if (dense && scratchNeeded) std::memcpy(dense + begin * n, panel, static_cast<size_t>(rows * n) * sizeof(float));
    }
  });
  context.control.check();
  double error = 0;
  for (int64_t i = 0; i < m; i++) error += perRow[i];
  return error;
}

// --- the routes: each gives a candidate, or nothing where it cannot reach the target

std::optional<Candidate> byKrylov(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                                  Survey survey, Storage& storage) {
  const int64_t m = w.rows, n = w.cols, k = request.rule.rank;
  Krylov krylov(context, w, survey, krylovDimension(m, n, k, request), request.seed);
  if (krylov.run(k, request.target) != KrylovEnd::converged) return std::nullopt;
  float *b = result.b, *a = result.a, *s = result.s;
  if (!result.wantsFactors()) {
    storage.b = Buffer<float>(context.memory, m * k);
    storage.a = Buffer<float>(context.memory, k * n);
    storage.s = Buffer<float>(context.memory, k);
    b = storage.b.data(), a = storage.a.data(), s = storage.s.data();
  }
  krylov.factors(b, a, s);
  return Candidate{Route::krylov,        k, false, Matrix(b, m, k), Matrix(a, k, n), s, krylov.nextSingularValue(),
                   krylov.possibleGain()};
}

// The k largest by the Gram matrix; or, for the complement, the r - k smallest, to be taken away.
template <class T>
std::optional<Candidate> byGram(const Context& context, ConstMatrix w, const Request& request, Survey survey,
                                Route route, Storage& storage) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  const bool complement = route == Route::complement, chosen = request.rule.kind == RankRule::byTail;
  if (!Gram<T>::inRange(survey.largest)) return std::nullopt;
  const int64_t columns = chosen ? r : complement ? r - request.rule.rank : request.rule.rank;
  const Gram<T> gram(context, w, columns, complement);
  if (!gram.converged()) return std::nullopt;
  storage.b = Buffer<float>(context.memory, m * columns);
  storage.a = Buffer<float>(context.memory, columns * n);
  storage.s = Buffer<float>(context.memory, columns);
  gram.factors(storage.b.data(), storage.a.data(), storage.s.data());
  const int64_t k = chosen ? rankForTail(storage.s.data(), r, request.rule.tail) : request.rule.rank;
  const int64_t used = complement ? columns : k;
  double kept = 0;
  for (int64_t i = 0; i < used; i++) kept += static_cast<double>(storage.s[i]) * storage.s[i];
  const double tail = complement ? kept : survey.energy - kept;
  if (std::is_same_v<T, float> && gram.noise() > 2 * request.target * tail) return std::nullopt;
  const double next = chosen ? (k < r ? storage.s[k] : 0) : gram.nextSingularValue();
  return Candidate{route,
                   k,
                   complement,
                   Matrix(storage.b.data(), m, columns).colRange(0, used),
                   Matrix(storage.a.data(), used, n),
                   storage.s.data(),
                   next,
                   gram.noise()};
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
  const int64_t k = request.rule.kind == RankRule::fixed ? request.rule.rank : rankForTail(s, r, request.rule.tail);
  const Matrix b = Matrix(storage.u.data(), m, r).colRange(0, k);
  scaleColumns(b, s);
  const double noise = 2 * kEpsilon * s[0] * s[0] * std::sqrt(static_cast<double>(k));
  return {driver == SvdDriver::gesdd ? Route::gesdd : Route::gesvd,
          k,
          false,
          b,
          Matrix(storage.vt.data(), k, n),
          s,
          k < r ? s[k] : 0.0,
          noise};
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

double excess(double error, double gain) {
  if (error <= 0) return 0;
  return gain < error ? std::sqrt(error / (error - gain)) - 1 : std::numeric_limits<double>::infinity();
}

bool acceptable(double error, double gain, double energy, double target) {
  if (excess(error, gain) <= target) return true;
  const double smallest = std::sqrt(std::max(error - gain, 0.0));
  return std::sqrt(error) - smallest <= kRoundingFloor * std::sqrt(energy);
}

// --- what needs no decomposition

// No route at all can be off when nothing is kept; s_1 is found by the same means as any other singular value.
Certificate nothing(const Context& context, ConstMatrix w, const Request& request, const Result& result,
                    Survey survey) {
  const double energy = survey.energy;
  double spectral = 0;
  if (energy > 0) {
    Request one = request;
    one.rule = {RankRule::fixed, 1, 0};
    for (const Route route : plan(w.rows, w.cols, 1, one, true)) {
      Storage storage;
      const auto candidate = along(route, context, w, one, Result{1}, survey, storage);
      if (!candidate) continue;
      spectral = candidate->s[0];
      break;
    }
  }
  if (result.dense) std::fill(result.dense, result.dense + w.size(), 0.0f);
  return {0, Route::zero, 1u << static_cast<int>(Route::zero), std::sqrt(energy), std::sqrt(energy), 0, spectral};
}

Certificate everything(ConstMatrix w, const Result& result, double energy) {
  if (result.dense) copyRows(w, result.dense);
  return {std::min(w.rows, w.cols), Route::copy, 1u << static_cast<int>(Route::copy), std::sqrt(energy), 0, 0, 0};
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
  return {k, Route::zero, 1u << static_cast<int>(Route::zero), 0, 0, 0, 0};
}

// What a route takes at its peak, from the formation of its factors to the measured result.
int64_t routeBytes(Route route, int64_t m, int64_t n, const Request& request, const Result& wanted, int threads) {
  const int64_t r = std::min(m, n), k = request.rule.kind == RankRule::fixed ? request.rule.rank : r;
  const int64_t columns = route == Route::complement ? r - k : k;
  const bool scratch = wanted.dense == nullptr || route == Route::complement;
  const int64_t forming = 8 * m + (scratch ? 4 * threads * panelRows(m, n) * n : 0);
  const int64_t product = 4 * (m + n + 1) * columns;
  switch (route) {
  case Route::krylov: {
    const int64_t own = Krylov::bytes(m, n, k, krylovDimension(m, n, k, request), threads);
    return (wanted.wantsFactors() ? 0 : product) + std::max(own, forming);
  }
  case Route::gram:
    return std::max(Gram<float>::bytes(m, n, columns, false), product + forming);
  case Route::gram64:
  case Route::complement:
    return std::max(Gram<double>::bytes(m, n, columns, route == Route::complement), product + forming);
  default:
    return 4 * (m * r + r + r * n) + std::max(thinSvdBytes(m, n, true), forming);
  }
}

} // namespace

Certificate approximate(const Context& context, ConstMatrix w, const Request& request, const Result& result) {
  const Survey seen = survey(w, context.team);
  const double energy = seen.energy;
  const bool fixed = request.rule.kind == RankRule::fixed;
  const int64_t k = fixed ? request.rule.rank : -1;
  if (energy == 0) return ofZeroMatrix(w, fixed ? k : 0, result);
  if (k == 0) return nothing(context, w, request, result, seen);
  if (k == std::min(w.rows, w.cols) && !result.wantsFactors()) return everything(w, result, energy);

  uint32_t tried = 0;
  int64_t refused = 0;
  for (const Route route : plan(w.rows, w.cols, k, request, result.wantsFactors())) {
    const int64_t bytes = routeBytes(route, w.rows, w.cols, request, result, context.team.size());
    if (context.memory.limit() > 0 && bytes > context.memory.limit()) {
      refused = refused == 0 ? bytes : std::min(refused, bytes);
      continue;
    }
    tried |= 1u << static_cast<int>(route);
    Storage storage;
    const auto c = along(route, context, w, request, result, seen, storage);
    if (!c) continue;
    // In place, nothing may be overwritten before the result is known to be good.
    const bool later = result.dense == w.data;
    const double error = form(context, w, *c, later ? nullptr : result.dense);
    if (route != Route::gesdd && !acceptable(error, c->possibleGain, energy, request.target)) continue;
    if (later) form(context, w, *c, result.dense);
    if (result.wantsFactors()) {
      copyRows(c->b, result.b);
      copyRows(c->a, result.a);
      if (c->s != result.s) std::copy_n(c->s, c->rank, result.s);
    }
    tried |= 1u << static_cast<int>(c->route);
    return {c->rank,         c->route, tried, std::sqrt(energy), std::sqrt(error), excess(error, c->possibleGain),
            c->spectralError};
  }
  // gesdd, the last of every plan, gives a result or throws.
  throw Failure("ERR_MEMORY", "the computation needs " + std::to_string(refused) +
                                  " bytes of native memory, allowed are " + std::to_string(context.memory.limit()));
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
