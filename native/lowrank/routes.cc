#include "lowrank/routes.h"

#include <algorithm>

#include "lowrank/krylov.h"

namespace lowrank {
namespace {

// A cost model in floating-point operations at the rate of gemm; each factor is how much slower than gemm its part
// runs, as measured with OpenBLAS on two cores at orders 256 to 4096. Only the order of the routes hangs on it, never a
// result.
constexpr double kTridiagonal = 8;      // half of it is matrix times vector, bound by memory
constexpr double kSmallTridiagonal = 4; // while the matrix stays in cache
constexpr double kPass = 1.15;          // the two probes in 32 columns, and the ends of panels

// Matrices with a smaller side than this are not worth a Krylov subspace: its blocks of 30 would soon fill them.
constexpr int64_t kLeastKrylov = 192;

// Beyond this share of the smaller side a subspace is no smaller problem.
constexpr double kLargestShare = 0.6;

// Below this order float64 costs next to nothing, and the Gram matrix in float32 is not worth what it loses.
constexpr int64_t kLeastFloat32 = 1024;

// Below this order, LAPACK's SVD takes no longer for many of the singular vectors than the Gram matrix does.
constexpr int64_t kLeastGram = 512;

double tridiagonal(double order) {
  const double flops = order * order * order * 4 / 3;
  return flops * (order > 1500 ? kTridiagonal : kSmallTridiagonal);
}

double krylovCost(double m, double n, double k) {
  const double d = Krylov::likelyDimension(static_cast<int64_t>(k)), s = std::min(m, n);
  return kPass * 4 * m * n * d + 2 * s * d * d + tridiagonal(d) + 2 * (m + n) * d * k;
}

double gramCost(double m, double n, double k) {
  const double s = std::min(m, n);
  return m * n * s + tridiagonal(s) + 2 * s * s * k + 2 * m * n * k;
}

} // namespace

int64_t krylovDimension(int64_t m, int64_t n, int64_t k, const Request& request) {
  const int64_t s = std::min(m, n);
  if (request.maxDimension > 0) return std::min(request.maxDimension, s);
  const int64_t enough = 4 * k + 480;
  if (request.method == Method::krylov) return std::min(enough, s);
  return std::min(enough, static_cast<int64_t>(kLargestShare * static_cast<double>(s)));
}

std::vector<Route> plan(int64_t m, int64_t n, int64_t k, const Request& request, bool factors) {
  const int64_t s = std::min(m, n);
  if (request.method == Method::exact) return {Route::gesdd};
  // Where the rank hangs on the spectrum, all of it is needed.
  if (k < 0) return {Route::gram64, Route::gesdd};
  std::vector<Route> routes;
  const auto rows = static_cast<double>(m), cols = static_cast<double>(n), rank = static_cast<double>(k);
  const bool room =
      s >= kLeastKrylov && static_cast<double>(krylovDimension(m, n, k, request)) >= Krylov::likelyDimension(k);
  const bool cheaper = room && krylovCost(rows, cols, rank) < gramCost(rows, cols, rank);
  const bool asked = request.method == Method::krylov;
  if (asked || (request.method == Method::automatic && cheaper)) routes.push_back(Route::krylov);
  if (s < kLeastGram && 4 * k > s && (factors || 2 * k <= s) && request.method == Method::automatic) {
    return {Route::gesdd};
  }
  if (2 * k > s && !factors && request.method == Method::automatic) {
    routes.push_back(Route::complement);
  } else {
    if (s >= kLeastFloat32 || request.method == Method::gram) routes.push_back(Route::gram);
    routes.push_back(Route::gram64);
  }
  routes.push_back(Route::gesdd);
  return routes;
}

} // namespace lowrank
