// The routes to the best approximation, as a table with one row per route. Planning, memory
// estimates, execution and the names that JavaScript sees all read it. A new method is a file of
// its own, a Route, and a row.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/context.h"
#include "core/matrix_view.h"
#include "core/memory.h"
#include "core/norms.h"
#include "lowrank/request.h"
#include "lowrank/residual.h"

namespace lowrank {

// What planning needs to know.
struct Problem {
  int64_t m, n;
  const Request& request;
  bool factors; // wanted, not only their product

  int64_t shorter() const { return m < n ? m : n; }
  bool rankGiven() const { return request.rule.kind == RankRule::fixed; }
};

// w ~ sign * b a [+ w], the outcome of one route, before it is judged.
struct Candidate {
  Route route;
  int64_t rank; // of the approximation
  Product product;
  const float* s;
  double spectralError;
  double gain; // how much more energy an approximation of the same rank could hold at most, rounding included
  double tail = std::numeric_limits<double>::infinity(); // |w - w_k|_F^2 by the spectrum, to `gain`, where it is known
  // s_k^2 at least, where the rank was chosen by a spectrum that is not good enough to decide it:
  // whether what the choice discards is as much as the rule allows is measured then.
  std::optional<double> lastKept = std::nullopt;
};

// The buffers behind a candidate: they must outlive it.
struct Workspace {
  Buffer<float> b, a, s, u, vt;
};

// The functions are null for routes that are never planned: `copy` and `zero` need no
// decomposition, `gesvd` is what gesdd falls back on.
struct RouteEntry {
  Route route;
  const char* name;
  // The method that tries this route before all cheaper ones.
  std::optional<Method> askedBy = std::nullopt;
  // Whether the route can solve the problem and is worth trying at all.
  bool (*possible)(const Problem&) = nullptr;
  // Decides the order: floating-point operations at the rate of gemm.
  double (*cost)(const Problem&) = nullptr;
  // Native bytes at the peak, an upper bound. Throws ERR_MEMORY where LAPACK cannot address its
  // workspace.
  int64_t (*bytes)(const Problem&, const Result& wanted, int threads) = nullptr;
  // Returns nothing where the route cannot reach the target. The candidate may lie in `result` or
  // in the workspace.
  std::optional<Candidate> (*run)(const Context&, ConstMatrix w, const MatrixStats&, const Request&, const Result&,
                                  Workspace&) = nullptr;
};

// Row r is that of route r.
std::span<const RouteEntry> routeTable();

// The routes to try, in order: the one that was asked for, then the others from the cheapest on in
// case it does not reach the target. Ends with gesdd, whose result is always accepted.
std::vector<const RouteEntry*> planRoutes(const Problem& problem);

} // namespace lowrank
