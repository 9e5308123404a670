#include "low_rank.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "lapack.h"
#include "norms.h"

namespace lowrank {
namespace {

// The product is formed and compared a panel at a time: large enough for gemm's full rate, small enough to stay in
// cache.
constexpr int64_t kPanelElements = int64_t{1} << 20;

// w ~ b a, where b may have a stride (a column range of something wider).
struct Factors {
  Matrix b;
  Matrix a;
  const float* s;
  int64_t rank;
  double spectralError;
  Route route;
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

void scaleColumns(Matrix u, const float* s) {
  for (int64_t i = 0; i < u.rows; i++) {
    for (int64_t j = 0; j < u.cols; j++) u.row(i)[j] *= s[j];
  }
}

void copyRows(ConstMatrix from, float* to) {
  for (int64_t i = 0; i < from.rows; i++) {
    std::memcpy(to + i * from.cols, from.row(i), static_cast<size_t>(from.cols) * sizeof(float));
  }
}

// Forms b a, into `dense` when wanted, and measures |w - b a|_F.
double rebuild(const Context& context, ConstMatrix w, const Factors& f, float* dense) {
  const int64_t m = w.rows, n = w.cols, height = panelRows(m, n);
  const bool overwrites = dense == w.data;
  Buffer<float> scratch(context.memory, dense && !overwrites ? 0 : height * n);
  double error = 0;
  for (int64_t begin = 0; begin < m; begin += height) {
    context.control.check();
    const int64_t rows = std::min(height, m - begin);
    float* panel = scratch.size() > 0 ? scratch.data() : dense + begin * n;
    blas::gemm(false, false, rows, n, f.rank, 1, f.b.row(begin), f.b.stride, f.a.data, f.a.stride, 0, panel, n);
    error += squaredDistance(w.rowRange(begin, begin + rows), ConstMatrix(panel, rows, n), context.team);
    if (overwrites) std::memcpy(dense + begin * n, panel, static_cast<size_t>(rows * n) * sizeof(float));
  }
  return std::sqrt(error);
}

Certificate finish(const Context& context, ConstMatrix w, const Factors& f, const Result& result) {
  if (result.b) copyRows(f.b, result.b);
  if (result.a) copyRows(f.a, result.a);
  if (result.s) std::memcpy(result.s, f.s, static_cast<size_t>(f.rank) * sizeof(float));
  const double norm = std::sqrt(squares(w, context.team));
  return {f.rank, f.route, norm, rebuild(context, w, f, result.dense), f.spectralError};
}

Certificate exact(const Context& context, ConstMatrix w, const Request& request, const Result& result) {
  const int64_t m = w.rows, n = w.cols, r = std::min(m, n);
  Buffer<float> u(context.memory, m * r), s(context.memory, r), vt(context.memory, r * n);
  const SvdDriver driver = thinSvd(context, w, s.data(), u.data(), vt.data(), request.svd);
  context.progress(0.9);
  context.control.check();
  const int64_t k =
      request.rule.kind == RankRule::fixed ? request.rule.rank : rankForTail(s.data(), r, request.rule.tail);
  const Matrix b = Matrix(u.data(), m, r).colRange(0, k);
  scaleColumns(b, s.data());
  const Route route = driver == SvdDriver::gesdd ? Route::gesdd : Route::gesvd;
  return finish(context, w, {b, Matrix(vt.data(), k, n), s.data(), k, k < r ? s[k] : 0.0, route}, result);
}

Certificate zero(const Context& context, ConstMatrix w, const Request& request, const Result& result) {
  Buffer<float> s(context.memory, std::min(w.rows, w.cols));
  thinSvd(context, w, s.data(), nullptr, nullptr, request.svd);
  const double norm = std::sqrt(squares(w, context.team));
  const double spectral = s[0];
  if (result.dense) std::fill(result.dense, result.dense + w.size(), 0.0f);
  return {0, Route::zero, norm, norm, spectral};
}

Certificate copy(const Context& context, ConstMatrix w, const Result& result) {
  requireFinite(w, context.team);
  if (result.dense && result.dense != w.data) copyRows(w, result.dense);
  return {std::min(w.rows, w.cols), Route::copy, std::sqrt(squares(w, context.team)), 0, 0};
}

bool wantsFactors(const Result& result) { return result.b || result.a || result.s; }

} // namespace

Certificate approximate(const Context& context, ConstMatrix w, const Request& request, const Result& result) {
  const bool fixed = request.rule.kind == RankRule::fixed;
  if (fixed && request.rule.rank == 0) return zero(context, w, request, result);
  if (fixed && request.rule.rank == std::min(w.rows, w.cols) && !wantsFactors(result)) return copy(context, w, result);
  return exact(context, w, request, result);
}

int64_t approximateBytes(int64_t m, int64_t n, const Request& request, bool factors, bool dense) {
  const int64_t r = std::min(m, n), k = request.rule.rank;
  const bool fixed = request.rule.kind == RankRule::fixed;
  if (fixed && k == 0) return 4 * r + thinSvdBytes(m, n, false);
  if (fixed && k == r && !factors) return 0;
  const int64_t held = 4 * (m * r + r + r * n);
  const int64_t panel = dense ? 0 : 4 * panelRows(m, n) * n;
  return held + std::max(thinSvdBytes(m, n, true), panel);
}

} // namespace lowrank
