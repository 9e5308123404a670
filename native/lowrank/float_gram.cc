#include "lowrank/float_gram.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "blas/gemm.h"
#include "lowrank/coupling.h"
#include "lowrank/factors.h"
#include "lowrank/gain.h"
#include "lowrank/gram_spectrum.h"
#include "lowrank/rank_rule.h"
#include "lowrank/value_error.h"
#include "lowrank/whole_spectrum.h"

namespace lowrank {
namespace {

// The maximum number of directions that are taken out first.
constexpr int64_t kLeading = 32;

// The choice of a rank may rely on a measured eigenvalue less this many couplings.
constexpr double kDeciding = 4;

// A cut of the spectrum at rank k. Its vectors are those of the larger values or, for the
// complement, those of the smaller ones. The neighbour is the nearest vector on the other side.
struct Cut {
  int64_t order, k;
  bool complement;

  int64_t count() const { return complement ? order - k : k; }
  bool neighbour() const { return complement ? k > 0 : k < order; }
  int64_t known() const { return count() + (neighbour() ? 1 : 0); }
  // Positions: of the first known vector in the whole spectrum; among the known ones, of the first
  // vector of the cut, and of the neighbour.
  int64_t first() const { return complement ? order - known() : 0; }
  int64_t own() const { return complement && neighbour() ? 1 : 0; }
  int64_t beyond() const { return complement ? 0 : k; }
};

// w ~ b a from the known vectors of a cut, and what was measured of them.
struct Side {
  Buffer<float> b, a;            // m x known, known x n
  std::vector<double> squares;   // of the singular values, one for each known vector
  std::vector<double> couplings; // one for each vector
  double gain = 0;               // what better vectors could add to the energy

  double strongest() const { return couplings.empty() ? 0 : *std::max_element(couplings.begin(), couplings.end()); }
};

std::optional<Side> sideOf(const Context& context, ConstMatrix w, const GramSpectrum& spectrum, const Cut& cut) {
  const int64_t m = w.rows, n = w.cols, known = cut.known(), own = cut.own(), count = cut.count();
  Team& team = context.team;
  Side side;
  side.b = Buffer<float>(context.memory, m * known);
  side.a = Buffer<float>(context.memory, known * n);
  const Matrix b(side.b.data(), m, known), a(side.a.data(), known, n);
  if (m >= n) {
    if (!spectrum.vectors(cut.first(), cut.first() + known, a.data)) return std::nullopt;
    gemm(team, false, true, m, known, n, 1, w.data, w.stride, a.data, n, b.data, known);
    side.squares = squaredLengths(context.team, b, true);
    side.couplings = couplings(context, w, a.rowRange(own, own + count), b.colRange(own, own + count));
  } else {
    const Buffer<float> vectors(context.memory, known * m);
    if (!spectrum.vectors(cut.first(), cut.first() + known, vectors.data())) return std::nullopt;
    gemm(team, false, false, known, n, m, 1, vectors.data(), m, w.data, w.stride, a.data, n);
    side.squares = squaredLengths(context.team, a, false);
    side.couplings =
        couplings(context, w, ConstMatrix(vectors.data() + own * m, count, m), a.rowRange(own, own + count));
    transpose(team, ConstMatrix(vectors.data(), known, m), b);
  }
  if (!cut.neighbour()) return side;
  const double across = side.squares[static_cast<size_t>(cut.beyond())];
  for (int64_t i = 0; i < count; i++) {
    const double gap = side.squares[static_cast<size_t>(own + i)] - across;
    side.gain += gainAcross(side.couplings[static_cast<size_t>(i)], cut.complement ? -gap : gap);
  }
  return side;
}

// Returns how many of the leading directions have to be taken out to make the couplings smaller by
// the square root of `factor`; 0 if that is too many. Couplings are of the size of the rounding of
// the largest value that is left.
int64_t leadingCount(const GramSpectrum& spectrum, double factor) {
  const double largest = spectrum.squaredValue(0) * std::sqrt(factor);
  for (int64_t i = 1; i <= kLeading && i < spectrum.order() / 2; i++) {
    if (spectrum.squaredValue(i) <= largest) return i;
  }
  return 0;
}

// Computes the spectrum again with its first `count` directions taken out of w. Returns false if
// there is no room for that, or if the directions are not orthogonal.
bool deflate(const Context& context, ConstMatrix w, std::optional<GramSpectrum>& spectrum, int64_t count) {
  const int64_t order = spectrum->order(), limit = context.memory.limit();
  const int64_t more = GramSpectrum::leadingBytes(w.rows, w.cols, count, order);
  if (limit > 0 &&
      context.memory.now() + more + GramSpectrum::bytes(order, spectrum->stages(), context.team.size()) > limit)
    return false;
  Buffer<float> leading(context.memory, count * order);
  if (!spectrum->vectors(0, count, leading.data())) return false;
  const int64_t longer = std::max(w.rows, w.cols);
  const Buffer<float> images(context.memory, count * longer);
  gemm(context.team, false, w.rows >= w.cols, count, longer, order, 1, leading.data(), order, w.data, w.stride,
       images.data(), longer);
  std::vector<double> squares = squaredLengths(context.team, ConstMatrix(images.data(), count, longer), false);
  const Stages stages = spectrum->stages();
  spectrum.reset();
  spectrum.emplace(context, w, stages, std::move(leading), std::move(squares));
  return true;
}

// Whether the reported values are accurate to kValueError of the largest. Rounding couples a vector
// with those of its own side as much as with the others.
bool valuesKnown(const Cut& cut, const Side& side, double largest, bool all) {
  if (cut.count() == 0) return true;
  const double whole = std::sqrt(static_cast<double>(cut.order) / static_cast<double>(cut.order - cut.count()));
  const auto known = [&](int64_t vector, int64_t coupling) {
    const double value = std::sqrt(largest * side.squares[static_cast<size_t>(vector)]);
    return side.couplings[static_cast<size_t>(coupling)] * whole <= 2 * kValueError * value;
  };
  const int64_t last = cut.count() - 1;
  if (!(cut.complement ? known(cut.own(), 0) : known(cut.beyond(), last))) return false;
  for (int64_t i = 0; all && i <= last; i++) {
    if (!known(cut.own() + i, i)) return false;
  }
  return true;
}

// All components: no vector is left that could be better than another.
std::optional<Candidate> wholeCandidate(const Context& context, ConstMatrix w, double energy, const Request& request,
                                        const Result& result, std::optional<GramSpectrum>& spectrum, Workspace& space) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  auto found = wholeSpectrum(context, w, request.hooks, spectrum, result.spanAlone);
  // Together they hold the energy of w, or the vectors are not orthonormal.
  const auto held = [&] { return std::accumulate(found->squares.begin(), found->squares.end(), 0.0); };
  if (!found || !(std::abs(held() - energy) <= kValueError * energy)) return std::nullopt;
  context.progress(0.8);
  space.s = Buffer<float>(context.memory, r);
  for (int64_t i = 0; i < r; i++) {
    space.s[i] = static_cast<float>(std::sqrt(found->squares[static_cast<size_t>(i)]));
    if (i > 0) space.s[i] = std::min(space.s[i], space.s[i - 1]);
  }
  space.b = std::move(found->b);
  space.a = std::move(found->a);
  const Matrix b(space.b.data(), m, r), a(space.a.data(), r, n);
  if (m < n && !result.spanAlone) moveSingularValues(context, w, b, a, space.s.data());
  Candidate candidate{Route::gram, r, {b, a}, space.s.data(), 0, 0};
  if (request.rule.kind == RankRule::byTail) {
    const double last = std::max(space.s[r - 1] - found->doubt, 0.0);
    candidate.lastKept = last * last;
  }
  return candidate;
}

} // namespace

std::optional<Candidate> runFloatGram(const Context& context, ConstMatrix w, const MatrixStats& stats,
                                      const Request& request, const Result& result, Workspace& space) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  const bool chosen = request.rule.kind == RankRule::byTail, factors = result.wantsFactors();
  std::optional<GramSpectrum> spectrum(std::in_place, context, w, stagesFor(r, request.hooks));
  context.progress(0.4);
  std::optional<Side> found;
  Cut cut{r, request.rule.rank, false};
  for (bool deflated = false;; deflated = true) {
    context.control.check();
    if (chosen) {
      cut.k = rankForTail(r, exactSquares(w, context.team), request.rule.tail,
                          [&](int64_t i) { return spectrum->squaredValue(i); });
    }
    if (cut.k == r)
      return factors ? wholeCandidate(context, w, stats.energy, request, result, spectrum, space) : std::nullopt;
    cut.complement = !factors && 2 * cut.k > r;
    found = sideOf(context, w, *spectrum, cut);
    if (!found) return std::nullopt;
    double onSide = 0;
    for (int64_t i = 0; i < cut.count(); i++) onSide += found->squares[static_cast<size_t>(cut.own() + i)];
    const double allowed = 2 * request.target * (cut.complement ? onSide : stats.energy - onSide);
    if (found->gain <= allowed && valuesKnown(cut, *found, spectrum->squaredValue(0), factors)) break;
    const int64_t count =
        deflated || !(found->gain > allowed) ? 0 : leadingCount(*spectrum, allowed / (4 * found->gain));
    found.reset();
    if (count == 0 || !deflate(context, w, spectrum, count)) return std::nullopt;
  }
  spectrum.reset();
  context.progress(0.8);

  Side& side = *found;
  const int64_t known = cut.known(), own = cut.own(), count = cut.count();
  space.s = Buffer<float>(context.memory, std::max<int64_t>(count, 1));
  for (int64_t i = 0; i < count; i++) {
    const double square = side.squares[static_cast<size_t>(own + i)];
    space.s[i] = static_cast<float>(std::sqrt(square));
    if (i > 0) space.s[i] = std::min(space.s[i], space.s[i - 1]);
  }
  space.b = std::move(side.b);
  space.a = std::move(side.a);
  const Matrix b = Matrix(space.b.data(), m, known).colRange(own, own + count);
  const Matrix a = Matrix(space.a.data(), known, n).rowRange(own, own + count);
  if (m < n && factors) moveSingularValues(context, w, b, a, space.s.data());
  const double next =
      cut.neighbour() ? std::sqrt(side.squares[static_cast<size_t>(cut.complement ? own : cut.beyond())]) : 0;
  Candidate candidate{Route::gram, cut.k, {b, a, cut.complement}, space.s.data(), next, side.gain};
  if (chosen && cut.k > 0) {
    const double last = cut.complement ? side.squares[0] : side.squares[static_cast<size_t>(cut.k - 1)];
    candidate.lastKept = last - kDeciding * side.strongest();
  }
  return candidate;
}

int64_t deflationBytes(int64_t m, int64_t n) {
  const int64_t r = std::min(m, n);
  return GramSpectrum::leadingBytes(m, n, std::min(kLeading, r / 2), r);
}

int64_t floatGramBytes(const Problem& p, int threads) {
  const int64_t m = p.m, n = p.n, r = p.shorter(), k = p.rankGiven() ? p.request.rule.rank : r;
  const int64_t count = p.factors || 2 * k <= r ? k : r - k, known = std::min(count + 1, r);
  const Stages stages = stagesFor(r, p.request.hooks);
  const int64_t side = 4 * (m + n) * known + 16 * known + (m < n ? 4 * m * known : 0);
  const int64_t whole = p.factors && k == r ? wholeSpectrumBytes(m, n, stages, threads) : 0;
  const int64_t measuring =
      std::max(GramSpectrum::vectorsBytes(r, stages, known, threads), couplingsBytes(m, n, count));
  return std::max(
      {whole, GramSpectrum::bytes(r, stages, threads), GramSpectrum::heldBytes(r, stages) + side + measuring});
}

} // namespace lowrank
