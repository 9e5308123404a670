#include "lowrank/routes.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "core/digest.h"
#include "core/random.h"
#include "lowrank/factors.h"
#include "lowrank/float_gram.h"
#include "lowrank/gain.h"
#include "lowrank/gram.h"
#include "lowrank/krylov.h"
#include "lowrank/rank_rule.h"
#include "lowrank/singular_values.h"
#include "lowrank/svd.h"
#include "lowrank/tridiagonal_form.h"

namespace lowrank {
namespace {

// --- planning

// A cost model in floating-point operations at the rate of gemm, from measurements on two cores at
// orders 256 to 4096. Only the order of the routes depends on it, never a result.
constexpr double kPass = 2;          // of block Lanczos, over gemm: panels, probes, orthogonalisation
constexpr double kStep = 1.5e6;      // and besides, for each dimension of the subspace
constexpr double kReduction = 2.2;   // tridiagonal form, over gemm: half of it is matrix times vector
constexpr double kChase = 2048;      // from a band to tridiagonal form, for each element of the matrix
constexpr double kReflector = 0.7e6; // and besides, for each row
constexpr double kValue = 500;       // all eigenvalues of a tridiagonal matrix, for each of its elements
constexpr double kVector = 1200;     // for each element of an eigenvector
constexpr double kCoupling = 230;    // measuring what vectors are coupled by, for each element of w
constexpr double kLapack = 6;        // a LAPACK eigenproblem in float64 over ours in float32

// Matrices with a smaller side than this are not worth a Krylov subspace: its blocks of 30 would
// soon fill them.
constexpr int64_t kLeastKrylov = 192;

// Beyond this share of the smaller side a subspace is no smaller problem.
constexpr double kLargestShare = 0.6;

// Below this order float64 costs next to nothing, and the Gram matrix in float32 is not worth what
// it loses.
constexpr int64_t kLeastFloat32 = 12;

bool automatic(const Problem& p) { return p.request.method == Method::automatic; }

// The largest subspace that a Krylov search is allowed.
int64_t krylovDimension(const Problem& p) {
  const int64_t s = p.shorter(), k = p.request.rule.rank;
  if (p.request.hooks.maxDimension > 0) return std::min(p.request.hooks.maxDimension, s);
  const int64_t enough = 4 * k + 480;
  if (p.request.method == Method::krylov) return std::min(enough, s);
  return std::min(enough, static_cast<int64_t>(kLargestShare * static_cast<double>(s)));
}

// In two stages the reduction is a product of matrices and a chase along the band, and vectors are
// transformed back twice.
double eigenproblem(double order, double vectors, Stages stages) {
  const bool two = stages == Stages::two;
  const double reduction = two ? order * 4 / 3 + kChase : kReduction * order * 4 / 3;
  const double back = two ? 4 * order : 2 * order;
  return order * (order * (reduction + kValue) + kReflector + vectors * (kVector + back));
}

// Of a search that ends at dimension d, from when it has reached another one.
double krylovCostTo(const Problem& p, double d, double reached) {
  const auto m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.request.rule.rank);
  const double s = std::min(m, n);
  return (kPass * 4 * m * n + kStep) * (d - reached) + 2 * s * (d * d - reached * reached) +
         eigenproblem(d, k, Stages::one) + 2 * (m + n) * d * k;
}

double krylovCost(const Problem& p) { return krylovCostTo(p, Krylov::likelyDimension(p.request.rule.rank), 0); }

// What forming the result costs any route is left out. Of a dense result the smaller part is
// computed.
double gramCost(const Problem& p) {
  const auto m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.request.rule.rank);
  const double s = std::min(m, n), vectors = p.factors ? k : std::min(k, s - k);
  return m * n * (s + kCoupling + 2 * vectors) + eigenproblem(s, vectors, stagesFor(p.shorter(), p.request.hooks));
}

double gram64Cost(const Problem& p) { return kLapack * gramCost(p); }

// Not modelled: the last resort.
double svdCost(const Problem&) { return std::numeric_limits<double>::infinity(); }

bool krylovPossible(const Problem& p) {
  if (!p.rankGiven()) return false;
  if (!automatic(p)) return p.request.method == Method::krylov;
  return p.shorter() >= kLeastKrylov &&
         static_cast<double>(krylovDimension(p)) >= Krylov::likelyDimension(p.request.rule.rank) &&
         krylovCost(p) < gramCost(p);
}

// Taking away the smaller part forms the product alone: its factors are those of what was taken
// away.
bool complementPossible(const Problem& p) {
  return p.rankGiven() && automatic(p) && !p.factors && 2 * p.request.rule.rank > p.shorter();
}

bool gramPossible(const Problem& p) {
  if (p.request.method == Method::exact) return false;
  return p.shorter() >= kLeastFloat32 || p.request.method == Method::gram;
}

bool gram64Possible(const Problem& p) { return p.request.method != Method::exact && !complementPossible(p); }

bool svdPossible(const Problem&) { return true; }

// --- memory: from the forming of the factors to the measured result

int64_t keptRank(const Problem& p) { return p.rankGiven() ? p.request.rule.rank : p.shorter(); }

int64_t formingBytes(const Problem& p, const Result& wanted, int threads, bool complement) {
  if (wanted.wantsFactors() && wanted.dense == nullptr) return measureBytes(p.m, p.n, keptRank(p), threads);
  const bool inPlace = !wanted.wantsFactors() && wanted.dense == nullptr;
  return formBytes(p.m, p.n, inPlace || complement, threads);
}

int64_t krylovBytes(const Problem& p, const Result& wanted, int threads) {
  const int64_t k = keptRank(p), factors = 4 * (p.m + p.n + 1) * k;
  const int64_t own = std::max(Krylov::bytes(p.m, p.n, k, krylovDimension(p), threads),
                               blake3Bytes(p.m * p.n * static_cast<int64_t>(sizeof(float))));
  return (wanted.wantsFactors() ? 0 : factors) + std::max(own, formingBytes(p, wanted, threads, false));
}

template <bool complement> int64_t gramBytes(const Problem& p, const Result& wanted, int threads) {
  const int64_t columns = complement ? p.shorter() - keptRank(p) : keptRank(p), factors = 4 * (p.m + p.n + 1) * columns;
  return std::max(Gram::bytes(p.m, p.n, columns, complement), factors + formingBytes(p, wanted, threads, complement));
}

int64_t floatGramRouteBytes(const Problem& p, const Result& wanted, int threads) {
  const int64_t k = keptRank(p), r = p.shorter();
  const bool complement = p.rankGiven() && !p.factors && 2 * k > r;
  const int64_t known = std::min((complement ? r - k : k) + 1, r);
  const int64_t turning = p.m < p.n && p.factors ? moveSingularValuesBytes(known, p.n) : 0;
  return std::max(floatGramBytes(p, threads),
                  4 * (p.m + p.n + 1) * known + std::max(formingBytes(p, wanted, threads, complement), turning));
}

int64_t svdBytes(const Problem& p, const Result& wanted, int threads) {
  const int64_t m = p.m, n = p.n, r = p.shorter();
  const int64_t forming = formingBytes(p, wanted, threads, false);
  const int64_t solving =
      4 * (m * r + r + r * n) + std::max({thinSvdBytes(m, n, true), forming, backwardErrorBytes(m, n, threads)});
  return p.rankGiven() ? solving : std::max(squaredSingularValuesBytes(m, n, threads), 8 * r + solving);
}

// --- running: each route gives a candidate, or nothing where it cannot reach the target

std::optional<Candidate> runKrylov(const Context& context, ConstMatrix w, const MatrixStats& stats,
                                   const Request& request, const Result& result, Workspace& space) {
  const int64_t m = w.rows, n = w.cols, k = request.rule.rank;
  // The start depends on every number of w: nobody can make a matrix that is orthogonal to it.
  const Digest digest = blake3(w.data, static_cast<size_t>(m * n) * sizeof(float), context.memory, context.team);
  const uint64_t seed = randomBits(request.seed, (uint64_t{digest[1]} << 32) | digest[0]);
  const Problem problem{m, n, request, result.wantsFactors()};
  Krylov krylov(context, w, stats, krylovDimension(problem), seed);
  const int64_t limit = context.memory.limit();
  const bool other =
      automatic(problem) &&
      (limit == 0 || context.memory.now() + floatGramRouteBytes(problem, result, context.team.size()) <= limit);
  const auto worthwhile = [&](int64_t reached, double likely) {
    return !other || (likely <= static_cast<double>(krylovDimension(problem)) &&
                      krylovCostTo(problem, likely, static_cast<double>(reached)) < gramCost(problem));
  };
  if (krylov.run(k, request.target, worthwhile) != KrylovEnd::converged) return std::nullopt;
  float *b = result.b, *a = result.a, *s = result.s;
  if (!result.wantsFactors()) {
    space.b = Buffer<float>(context.memory, m * k);
    space.a = Buffer<float>(context.memory, k * n);
    space.s = Buffer<float>(context.memory, k);
    b = space.b.data(), a = space.a.data(), s = space.s.data();
  }
  krylov.factors(b, a, s);
  return Candidate{Route::krylov,
                   k,
                   {Matrix(b, m, k), Matrix(a, k, n)},
                   s,
                   krylov.nextSingularValue(),
                   krylov.possibleGain(ConstMatrix(b, m, k), ConstMatrix(a, k, n))};
}

// The k largest by the Gram matrix; or, for the complement, the r - k smallest, to be taken away.
template <bool complement>
std::optional<Candidate> runGram(const Context& context, ConstMatrix w, const MatrixStats& stats,
                                 const Request& request, const Result&, Workspace& space) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  const bool chosen = request.rule.kind == RankRule::byTail;
  const int64_t columns = chosen ? r : complement ? r - request.rule.rank : request.rule.rank;
  const Gram gram(context, w, columns, complement);
  if (!gram.converged()) return std::nullopt;
  space.b = Buffer<float>(context.memory, m * columns);
  space.a = Buffer<float>(context.memory, columns * n);
  space.s = Buffer<float>(context.memory, columns);
  gram.factors(space.b.data(), space.a.data(), space.s.data());
  const int64_t k = chosen ? rankForTail(r, exactSquares(w, context.team), request.rule.tail,
                                         [&](int64_t i) { return gram.squaredValues()[i]; })
                           : request.rule.rank;
  const int64_t used = complement ? columns : k;
  const double kept = gram.sumOfSquares(used);
  // The eigenvalues of float64 are better known than the energy of rounded factors.
  return Candidate{complement ? Route::complement : Route::gram64,
                   k,
                   {Matrix(space.b.data(), m, columns).colRange(0, used), Matrix(space.a.data(), used, n), complement},
                   space.s.data(),
                   chosen ? (k < r ? space.s[k] : 0) : gram.nextSingularValue(),
                   gram.noise(),
                   complement ? kept : stats.energy - kept};
}

std::optional<Candidate> runSvd(const Context& context, ConstMatrix w, const MatrixStats&, const Request& request,
                                const Result&, Workspace& space) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  // Float32 knows the values too little to choose a rank by.
  std::optional<Buffer<double>> squares;
  if (request.rule.kind == RankRule::byTail) squares = squaredSingularValues(context, w);
  space.u = Buffer<float>(context.memory, m * r);
  space.s = Buffer<float>(context.memory, r);
  space.vt = Buffer<float>(context.memory, r * n);
  const float* s = space.s.data();
  const SvdDriver driver =
      thinSvd(context, w, space.s.data(), space.u.data(), space.vt.data(), {SvdDriver::gesdd, request.hooks});
  context.progress(0.9);
  context.control.check();
  const auto square = [s](int64_t i) { return static_cast<double>(s[i]) * s[i]; };
  const int64_t k = request.rule.kind == RankRule::fixed
                        ? request.rule.rank
                        : rankForTail(r, exactSquares(w, context.team), request.rule.tail,
                                      [&](int64_t i) { return squares ? (*squares)[i] : square(i); });
  const Matrix u(space.u.data(), m, r), vt(space.vt.data(), r, n), b = u.colRange(0, k);
  const double error = backwardError(context, w, u, s, vt);
  scaleColumns(b, s);
  // The singular vectors are those of a matrix within `error` of w, of which the k best hold the
  // most.
  double gain = error * error;
  for (int64_t i = 0; i < k && k < r; i++) gain += gainAcross(2 * s[i] * error, square(i) - square(k));
  return Candidate{driver == SvdDriver::gesdd ? Route::gesdd : Route::gesvd, k,   {b, Matrix(vt.data, k, n)}, s,
                   k < r ? imageLength(context, w, false, vt.row(k)) : 0.0,  gain};
}

// --- the table

constexpr RouteEntry kRoutes[] = {
    {.route = Route::copy, .name = "copy"},
    {.route = Route::zero, .name = "zero"},
    {Route::krylov, "krylov", Method::krylov, krylovPossible, krylovCost, krylovBytes, runKrylov},
    {Route::gram, "gram", Method::gram, gramPossible, gramCost, floatGramRouteBytes, runFloatGram},
    {Route::gram64, "gram64", {}, gram64Possible, gram64Cost, gramBytes<false>, runGram<false>},
    {Route::complement, "complement", {}, complementPossible, gram64Cost, gramBytes<true>, runGram<true>},
    {Route::gesdd, "gesdd", Method::exact, svdPossible, svdCost, svdBytes, runSvd},
    {.route = Route::gesvd, .name = "gesvd"},
};

constexpr bool inOrder() {
  for (size_t i = 0; i < std::size(kRoutes); i++) {
    if (kRoutes[i].route != static_cast<Route>(i)) return false;
  }
  return true;
}
static_assert(inOrder(), "row r of the table is that of route r");

} // namespace

std::span<const RouteEntry> routeTable() { return kRoutes; }

std::vector<const RouteEntry*> planRoutes(const Problem& p) {
  std::vector<std::pair<double, const RouteEntry*>> possible;
  for (const RouteEntry& entry : kRoutes) {
    if (entry.possible == nullptr || !entry.possible(p)) continue;
    const bool asked = entry.askedBy && *entry.askedBy == p.request.method;
    possible.emplace_back(asked ? -1 : entry.cost(p), &entry);
  }
  std::stable_sort(possible.begin(), possible.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
  std::vector<const RouteEntry*> plan;
  for (const auto& [cost, entry] : possible) {
    plan.push_back(entry);
    // It never hands over.
    if (entry->route == Route::gesdd) break;
  }
  return plan;
}

} // namespace lowrank
