// Every function of the native core with small and odd sizes, on arrays allocated to the last byte,
// its results checked: what AddressSanitizer, UndefinedBehaviorSanitizer and valgrind watch.
// `--quick` leaves out the larger matrices.

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "blas/gemm.h"
#include "blas/lapack.h"
#include "blas/lease.h"
#include "blas/skinny.h"
#include "core/convert.h"
#include "core/digest.h"
#include "core/norms.h"
#include "lowrank/approximate_batch.h"
#include "lowrank/batch.h"
#include "lowrank/cholesky.h"
#include "lowrank/factors.h"
#include "lowrank/gram.h"
#include "lowrank/krylov.h"
#include "lowrank/low_rank.h"
#include "lowrank/orthonormal.h"
#include "lowrank/routes.h"
#include "lowrank/singular_values.h"
#include "lowrank/svd.h"
#include "lowrank/tridiagonal.h"
#include "lowrank/two_stage.h"
#include "lowrank/weighted.h"
#include "support.h"
#include "train/lora.h"
#include "train/optimizer.h"

using namespace lowrank;
using namespace drive;

namespace {

constexpr int kMethods = static_cast<int>(std::size(kMethodNames));

bool quick = false;
int64_t calls = 0;

void nothingHeld(const char* after) { require(MemoryLedger::processNow() == 0, after, MemoryLedger::processNow()); }

// --- singular value decomposition

void oneSvd(int64_t m, int64_t n, SvdOptions options, int threads) {
  const int64_t r = std::min(m, n);
  const Floats w = gaussian(m * n, m * 131 + n);
  Floats u(m * r), s(r), vt(r * n), alone(r);
  MemoryLedger ledger;
  Team team(threads);
  const Lease lease(threads);
  const Control control;
  const Context context{ledger, control, team};
  thinSvd(context, ConstMatrix(w.data(), m, n), s.data(), u.data(), vt.data(), options);
  thinSvd(context, ConstMatrix(w.data(), m, n), alone.data(), nullptr, nullptr, options);
  calls += 2;
  Floats us = u;
  scaleColumns(Matrix(us.data(), m, r), s.data());
  require(distance(product(us, vt, m, r, n).data(), w.data(), m * n) <= 1e-4 * norm(w), "U S Vt is not W", m, n);
  require(distance(s.data(), alone.data(), r) <= 1e-4 * norm(w), "the singular values alone differ", m, n);
}

void svds() {
  const int64_t sizes[][2] = {{1, 1},   {1, 5},   {5, 1},  {2, 2},  {3, 7},  {7, 3},
                              {17, 16}, {33, 31}, {1, 90}, {90, 1}, {65, 40}};
  for (const auto& [m, n] : sizes) {
    oneSvd(m, n, {}, 1);
    oneSvd(m, n, {SvdDriver::gesvd}, 1);
    oneSvd(m, n, {SvdDriver::gesdd, {.pretendGesddFails = true}}, 2);
  }
  if (!quick) oneSvd(150, 131, {}, 2);
  nothingHeld("svd keeps memory");
}

// --- the best approximation, by every route

uint32_t reached = 0;

struct Kind {
  const char* name;
  Floats (*make)(int64_t m, int64_t n);
};

Floats decaying(int64_t m, int64_t n) {
  const int64_t r = std::min(m, n);
  Floats b = gaussian(m * r, 1);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < r; j++) b[i * r + j] *= std::pow(0.8f, static_cast<float>(j));
  }
  return product(b, gaussian(r * n, 2), m, r, n);
}
Floats normalNumbers(int64_t m, int64_t n) { return gaussian(m * n, 3); }
Floats ofLowRank(int64_t m, int64_t n) {
  const int64_t r = std::max<int64_t>(1, std::min(m, n) / 3);
  return product(gaussian(m * r, 4), gaussian(r * n, 5), m, r, n);
}
Floats zeros(int64_t m, int64_t n) { return Floats(m * n); }
Floats repeated(int64_t m, int64_t n) {
  Floats w(m * n);
  for (int64_t i = 0; i < std::min(m, n); i++) w[i * n + i] = i % 2 ? 1.0f : 2.0f;
  return w;
}
Floats scaled(int64_t m, int64_t n, float by) {
  Floats w = gaussian(m * n, 6);
  for (float& value : w) value *= by;
  return w;
}
Floats huge(int64_t m, int64_t n) { return scaled(m, n, 1e30f); }
Floats tiny(int64_t m, int64_t n) { return scaled(m, n, 1e-30f); }
Floats graded(int64_t m, int64_t n) {
  Floats w = gaussian(m * n, 7);
  for (int64_t i = 0; i < m * n; i++) w[i] *= std::pow(0.2f, static_cast<float>(i / n));
  return w;
}

const Kind kinds[] = {{"decaying", decaying}, {"normal", normalNumbers}, {"low rank", ofLowRank},
                      {"zero", zeros},        {"repeated", repeated},    {"huge", huge},
                      {"tiny", tiny},         {"graded", graded}};

Certificate approximation(const Floats& w, int64_t m, int64_t n, const Request& request, bool factors, bool dense,
                          bool inPlace, int threads) {
  const int64_t r = std::min(m, n);
  const int64_t capacity = request.rule.kind == RankRule::fixed ? request.rule.rank : r;
  Floats copy = w, b(factors ? m * capacity : 0), a(factors ? capacity * n : 0), s(factors ? capacity : 0),
         out(dense && !inPlace ? m * n : 0);
  // An empty vector has no address, and a rank of 0 still has factors.
  float none;
  Result result{capacity};
  if (factors) {
    result.b = capacity ? b.data() : &none;
    result.a = capacity ? a.data() : &none;
    result.s = capacity ? s.data() : &none;
  }
  if (dense) result.dense = inPlace ? copy.data() : out.data();
  MemoryLedger ledger;
  Team team(threads);
  const Lease lease(threads);
  const Control control;
  const Certificate c = approximate({ledger, control, team}, ConstMatrix(copy.data(), m, n), request, result);
  calls++;
  reached |= c.tried | 1u << static_cast<int>(c.route);
  const double scale = norm(w);
  if (dense) {
    const double error = distance(result.dense, w.data(), m * n);
    require(std::abs(error - c.error) <= 1e-5 * scale, "the dense result's error is not the certified one", m, n,
            c.rank);
  }
  if (factors) {
    b.resize(m * c.rank), a.resize(c.rank * n);
    const double error = distance(product(b, a, m, c.rank, n).data(), w.data(), m * n);
    require(std::abs(error - c.error) <= 1e-4 * scale, "the factors' error is not the certified one", m, n, c.rank);
  }
  require(ledger.now() == 0, "approximate keeps memory", m, n);
  return c;
}

void approximations() {
  const int64_t sizes[][2] = {{1, 1}, {1, 9}, {9, 1}, {5, 8}, {31, 17}, {40, 67}};
  for (const auto& [m, n] : sizes) {
    const int64_t r = std::min(m, n);
    for (const Kind& kind : kinds) {
      const Floats w = kind.make(m, n);
      int64_t ranks[] = {0, 1, r / 2, r - 1, r};
      for (const int64_t rank : ranks) {
        for (int method = 0; method < kMethods; method++) {
          Request request;
          request.rule = {RankRule::fixed, rank, {}};
          request.method = static_cast<Method>(method);
          const int way = static_cast<int>((rank + method) % 4);
          approximation(w, m, n, request, way != 1, way != 0, way == 2, 1 + way % 2);
        }
      }
      for (const double tail : {0.0, 0.05, 1.0, -1.0, std::nan("")}) {
        Request request;
        request.rule = {RankRule::byTail, 0, {tail, 0}};
        approximation(w, m, n, request, true, true, false, 2);
      }
    }
  }
  // Where the planner itself takes each of the larger routes.
  struct Large {
    int64_t m, n, rank;
    Method method;
    int kind;
    bool factors;
  };
  const Large large[] = {
      {210, 200, 4, Method::krylov, 0, true},       {200, 260, 4, Method::automatic, 0, false},
      {230, 200, 150, Method::automatic, 1, false}, {230, 200, 150, Method::automatic, 7, false},
      {128, 100, 20, Method::gram, 0, true},        {200, 210, 3, Method::krylov, 4, true},
      {260, 200, 30, Method::krylov, 1, false},
  };
  for (const auto& [m, n, rank, method, kind, factors] : large) {
    Request request;
    request.rule = {RankRule::fixed, rank, {}};
    request.method = method;
    approximation(kinds[kind].make(m, n), m, n, request, factors, !factors, false, 2);
    if (quick) continue;
    approximation(kinds[kind].make(m, n), m, n, request, !factors, true, true, 3);
  }
  Request fallen;
  fallen.rule = {RankRule::fixed, 3, {}};
  fallen.method = Method::exact;
  fallen.hooks.pretendGesddFails = true;
  approximation(kinds[1].make(12, 10), 12, 10, fallen, true, true, false, 1);
  for (size_t route = 0; route < routeTable().size(); route++) {
    require(reached & (1u << route), "a route was never taken", static_cast<int64_t>(route));
  }
  nothingHeld("approximate keeps memory");
}

// --- weighted by moments: of all inputs, of inputs within a subspace, of none

void weighted() {
  const int64_t sizes[][2] = {{1, 1}, {1, 9}, {9, 1}, {31, 17}, {40, 67}, {130, 70}};
  for (const auto& [m, n] : sizes) {
    const Floats w = normalNumbers(m, n);
    const int64_t r = std::min(m, n);
    for (const int64_t count : {2 * n, n / 3, int64_t{0}}) {
      const Floats x = gaussian(count * n, 11);
      std::vector<double> inputs(n * n), diagonal(n), outputs(m * m);
      Floats y(count * m);
      for (int64_t row = 0; row < count; row++) {
        for (int64_t i = 0; i < m * n; i++) y[row * m + i / n] += x[row * n + i % n] * w[i];
      }
      for (int64_t row = 0; row < count; row++) {
        for (int64_t i = 0; i < n * n; i++) inputs[i] += static_cast<double>(x[row * n + i / n]) * x[row * n + i % n];
        for (int64_t i = 0; i < m * m; i++) outputs[i] += static_cast<double>(y[row * m + i / m]) * y[row * m + i % m];
      }
      for (int64_t i = 0; i < n; i++) diagonal[i] = inputs[i * n + i];
      const Moments all[] = {
          {Moments::inputs, inputs.data()}, {Moments::diagonal, diagonal.data()}, {Moments::outputs, outputs.data()}};
      for (const Moments& moments : all) {
        for (const int64_t rank : {int64_t{0}, r / 2, r, int64_t{-1}}) {
          Request request;
          request.rule = rank < 0 ? RankRule{RankRule::byTail, 0, {0.1, 0}} : RankRule{RankRule::fixed, rank, {}};
          Floats b(m * r + 1), a(r * n + 1), s(r + 1);
          Result result{r};
          result.b = b.data(), result.a = a.data(), result.s = s.data();
          MemoryLedger ledger;
          Team team(2);
          const Lease lease(2);
          const Control control;
          const Certificate c =
              approximateWeighted({ledger, control, team}, ConstMatrix(w.data(), m, n), moments, request, result);
          calls++;
          require(rank < 0 || c.rank == rank, "a weighted approximation of another rank", m, n, rank);
          require(c.error <= c.norm * 1.001, "the weighted error is larger than the norm", m, n, c.rank);
          require(ledger.now() == 0, "a weighted approximation keeps memory", m, n);
        }
      }
    }
  }
  nothingHeld("approximateWeighted keeps memory");
}

// --- refusals, after which nothing may be left

void refusals() {
  Team team(2);
  const Lease lease(2);
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    for (const int64_t at : {int64_t{0}, int64_t{59}, int64_t{119}}) {
      Floats w = gaussian(120, 9);
      w[at] = bad;
      for (int method = 0; method < kMethods; method++) {
        Request request;
        request.rule = {RankRule::fixed, 2, {}};
        request.method = static_cast<Method>(method);
        MemoryLedger ledger;
        const Control control;
        Floats dense(120);
        Result result{2};
        result.dense = dense.data();
        const char* code =
            codeOf([&] { approximate({ledger, control, team}, ConstMatrix(w.data(), 12, 10), request, result); });
        require(std::string(code) == "ERR_NOT_FINITE", "a matrix that is not finite was taken", at, method);
        calls++;
      }
    }
  }
  const Floats w = gaussian(70 * 60, 10);
  for (int method = 0; method < kMethods; method++) {
    Request request;
    request.rule = {RankRule::fixed, 5, {}};
    request.method = static_cast<Method>(method);
    Floats dense(70 * 60);
    Result result{5};
    result.dense = dense.data();
    int32_t shared[2] = {1, 0};
    const Control stopped(shared);
    MemoryLedger ledger, small(1000);
    const Control control;
    const char* aborted =
        codeOf([&] { approximate({ledger, stopped, team}, ConstMatrix(w.data(), 70, 60), request, result); });
    require(std::string(aborted) == "ABORTED", "a job that was cancelled goes on", method);
    const char* refused =
        codeOf([&] { approximate({small, control, team}, ConstMatrix(w.data(), 70, 60), request, result); });
    require(std::string(refused) == "ERR_MEMORY", "a limit is passed over", method);
    calls += 2;
  }
  nothingHeld("a refusal keeps memory");
}

// --- products

void products() {
  for (const int64_t m : {1, 2, 5, 16, 33}) {
    for (const int64_t k : {1, 3, 17}) {
      for (const int64_t n : {1, 2, 31}) {
        const Floats a = gaussian(m * k, 11), b = gaussian(k * n, 12), expected = product(a, b, m, k, n);
        for (int threads = 1; threads <= 3; threads++) {
          Floats c(m * n);
          Team team(threads);
          gemm(team, false, false, m, n, k, 1, a.data(), k, b.data(), n, c.data(), n);
          require(distance(c.data(), expected.data(), m * n) <= 1e-4, "gemm", m, k, n);
          calls++;
        }
        const Floats skinny = gaussian(k * kSkinny, 13), wanted = product(a, skinny, m, k, kSkinny);
        Floats c(m * kSkinny);
        skinnyProduct(m, k, {a.data(), k, 1}, skinny.data(), c.data(), Update::assign);
        skinnyProduct(m, k, {a.data(), k, 1}, skinny.data(), c.data(), Update::add);
        skinnyProduct(m, k, {a.data(), k, 1}, skinny.data(), c.data(), Update::subtract);
        require(distance(c.data(), wanted.data(), m * kSkinny) <= 1e-4, "skinnyProduct", m, k);
        calls += 3;
      }
    }
  }
}

// Factorisations that a team shares, with blocks that are not full.
void factorisations() {
  for (const int threads : {1, 3}) {
    MemoryLedger ledger;
    const Control control;
    Team team(threads);
    const Context context{ledger, control, team};
    for (const int64_t k : {1, 2, 7, 33, 130}) {
      for (const int64_t n : {k, k + 1, 2 * k + 5}) {
        Floats a = gaussian(k * n, 14);
        orthonormaliseRows(context, k, n, a.data());
        require(std::abs(norm(a) - std::sqrt(double(k))) <= 1e-4, "orthonormaliseRows", k, n);
        calls++;
      }
    }
    for (const int64_t n : {1, 2, 65, 131}) {
      for (const int64_t rank : {n, (n + 1) / 2}) {
        const Floats x = gaussian(n * rank, 15);
        std::vector<double> c(static_cast<size_t>(n * n)), left, work(static_cast<size_t>(n));
        for (int64_t i = 0; i < n; i++) {
          for (int64_t j = 0; j < n; j++) {
            for (int64_t l = 0; l < rank; l++)
              c[i * n + j] += static_cast<double>(x[i * rank + l]) * x[j * rank + l];
          }
        }
        left = c;
        std::vector<int64_t> pivots(static_cast<size_t>(n));
        const double tolerance = 1e-9 * static_cast<double>(n);
        const int64_t found = choleskyPivoted(context, n, left.data(), pivots.data(), tolerance, work.data());
        double worst = 0;
        for (int64_t i = 0; i < n; i++) {
          for (int64_t j = 0; j <= i; j++) {
            double sum = 0;
            for (int64_t l = 0; l <= std::min(j, found - 1); l++) sum += left[i * n + l] * left[j * n + l];
            worst = std::max(worst, std::abs(sum - c[pivots[i] * n + pivots[j]]));
          }
        }
        require(found == rank && worst <= 1e-6 * static_cast<double>(n), "choleskyPivoted", n, rank);
        left = c;
        const bool positive = cholesky(context, n, left.data());
        require(positive || rank < n, "cholesky", n, rank);
        calls += 2;
      }
    }
  }
}

// --- eigenvalues and eigenvectors of tridiagonal matrices

struct Tridiagonals {
  const char* name;
  int64_t n;
  float (*diagonal)(int64_t i);
  float (*offDiagonal)(int64_t i);
};

float random(int64_t i, uint64_t seed) { return randomNormal(seed, static_cast<uint64_t>(i)); }

const Tridiagonals tridiagonalKinds[] = {
    {"one", 1, [](int64_t) { return 3.0f; }, [](int64_t) { return 0.0f; }},
    {"two", 2, [](int64_t) { return 3.0f; }, [](int64_t) { return 1.0f; }},
    {"zero", 20, [](int64_t) { return 0.0f; }, [](int64_t) { return 0.0f; }},
    {"identity", 70, [](int64_t) { return 1.0f; }, [](int64_t) { return 0.0f; }},
    {"repeated", 70, [](int64_t i) { return float(i % 3); }, [](int64_t i) { return i % 5 ? 0.0f : 0.5f; }},
    {"laplacian", 131, [](int64_t) { return 2.0f; }, [](int64_t) { return -1.0f; }},
    {"Wilkinson", 21, [](int64_t i) { return std::abs(float(i) - 10); }, [](int64_t) { return 1.0f; }},
    {"glued Wilkinson", 105, [](int64_t i) { return std::abs(float(i % 21) - 10); },
     [](int64_t i) { return i % 21 == 20 ? 1e-4f : 1.0f; }},
    {"outlier", 90, [](int64_t i) { return i == 7 ? 1e6f : random(i, 1); }, [](int64_t i) { return random(i, 2); }},
    {"graded", 90, [](int64_t i) { return std::pow(0.8f, float(i)); },
     [](int64_t i) { return 0.3f * std::pow(0.8f, float(i)); }},
    {"huge", 65, [](int64_t i) { return 1e30f * random(i, 3); }, [](int64_t i) { return 1e30f * random(i, 4); }},
    {"tiny", 65, [](int64_t i) { return 1e-30f * random(i, 3); }, [](int64_t i) { return 1e-30f * random(i, 4); }},
};

// The values in float64: near those of float32, in sum the trace, and of the Laplacian what theory
// says.
void checkValues(const Context& context, const Tridiagonals& kind, const Floats& d, const Floats& e,
                 const Tridiagonal& other) {
  const int64_t n = kind.n;
  const std::vector<double> d64(d.begin(), d.end()), e64(e.begin(), e.end());
  const Tridiagonal t(context, n, d64.data(), e64.data());
  double scale = 0, trace = 0, sum = 0;
  for (int64_t i = 0; i < n; i++) scale = std::max({scale, std::abs(d64[i]), std::abs(e64[i])});
  for (int64_t i = 0; i < n; i++) {
    trace += d64[i];
    sum += t.value(i);
    require(std::abs(t.value(i) - other.value(i)) <= 4e-6 * scale, "values of two precisions differ", n, i);
    require(i == 0 || t.value(i) <= t.value(i - 1), "values are not sorted", n, i);
    if (std::strcmp(kind.name, "laplacian") != 0) continue;
    const double exact = 2 - 2 * std::cos(double(n - i) * std::acos(-1.0) / double(n + 1));
    require(std::abs(t.value(i) - exact) <= 1e-14 * scale, "a value of the Laplacian is wrong", n, i);
  }
  require(std::abs(sum - trace) <= 1e-14 * double(n) * scale, "values do not sum to the trace", n);
  calls++;
}

void tridiagonals() {
  for (const Tridiagonals& kind : tridiagonalKinds) {
    const int64_t n = kind.n;
    Floats d(n), e(n);
    double scale = 0;
    for (int64_t i = 0; i < n; i++) {
      d[i] = kind.diagonal(i);
      e[i] = i + 1 < n ? kind.offDiagonal(i) : 0;
      scale = std::max({scale, std::abs(double(d[i])), std::abs(double(e[i]))});
    }
    for (const int threads : {1, 3}) {
      MemoryLedger ledger;
      Team team(threads);
      const Lease lease(threads);
      const Control control;
      const Context context{ledger, control, team};
      const Tridiagonal t(context, n, d.data(), e.data());
      checkValues(context, kind, d, e, t);
      for (const auto& [begin, end] : {std::pair<int64_t, int64_t>{0, n}, {0, (n + 1) / 2}, {n / 3, n}}) {
        const int64_t count = end - begin;
        Floats z(count * n), residual(n);
        calls++;
        if (!t.vectors(begin, end, z.data())) {
          // Clusters that float64 cannot tell apart are refused, and nothing else.
          require(std::strstr(kind.name, "Wilkinson") != nullptr, kind.name, n, begin, end);
          continue;
        }
        for (int64_t i = 0; i < count; i++) {
          const float* row = z.data() + i * n;
          double wrong = 0;
          for (int64_t j = 0; j < n; j++) {
            double sum = (d[j] - t.value(begin + i)) * row[j];
            if (j > 0) sum += double(e[j - 1]) * row[j - 1];
            if (j + 1 < n) sum += double(e[j]) * row[j + 1];
            wrong = std::max(wrong, std::abs(sum));
          }
          require(wrong <= 1e-6 * scale, "T z is not lambda z", n, begin + i);
          for (int64_t j = 0; j <= i; j++) {
            double dot = 0;
            for (int64_t l = 0; l < n; l++) dot += double(row[l]) * z[j * n + l];
            require(std::abs(dot - (i == j)) <= 2e-5, "eigenvectors are not orthonormal", n, begin + i, begin + j);
          }
        }
      }
    }
  }
}

// --- the tridiagonal form in two stages: Q T Q' by transforming the unit vectors

void twoStages() {
  std::vector<int64_t> orders = {1, 2, 3, 4, 63, 64, 65, 66, 129, 150};
  if (!quick) orders.insert(orders.end(), {127, 128, 193});
  for (const int64_t n : orders) {
    for (const Kind& kind : kinds) {
      if (kind.make == huge || kind.make == tiny) continue; // their squares leave float32
      const Floats w = kind.make(n, n);
      Floats transposed(n * n);
      for (int64_t i = 0; i < n * n; i++) transposed[i] = w[i % n * n + i / n];
      const Floats a = product(transposed, w, n, n, n);
      Floats first;
      for (const int threads : {1, 3}) {
        const int64_t stride = n + 5;
        Floats given(n * stride, std::nanf("")), d(n), e(n), q(n * n);
        for (int64_t i = 0; i < n; i++) std::copy(&a[i * n] + i, &a[i * n] + n, &given[i * stride + i]);
        MemoryLedger ledger;
        Team team(threads);
        const Lease lease(threads);
        const Control control;
        {
          const Context context{ledger, control, team};
          const TwoStage stages(context, n, given.data(), stride);
          d.assign(stages.diagonal(), stages.diagonal() + n);
          e.assign(stages.offDiagonal(), stages.offDiagonal() + n - 1);
          for (int64_t i = 0; i < n; i++) q[i * n + i] = 1;
          stages.transformBack(n, q.data());
        }
        require(ledger.peak() <=
                    std::max(TwoStage::bytes(n), TwoStage::heldBytes(n) + TwoStage::transformBytes(n, threads)),
                "two stages take more than they say", n, threads);
        Floats tq(n * n), qt(n * n);
        for (int64_t i = 0; i < n; i++) {
          for (int64_t j = 0; j < n; j++) {
            tq[i * n + j] = d[i] * q[i * n + j] + (i > 0 ? e[i - 1] * q[(i - 1) * n + j] : 0) +
                            (i + 1 < n ? e[i] * q[(i + 1) * n + j] : 0);
            qt[j * n + i] = q[i * n + j];
          }
        }
        require(distance(product(qt, tq, n, n, n).data(), a.data(), n * n) <= 1e-5 * norm(a), "Q T Q' is not A", n);
        require(std::abs(norm(q) - std::sqrt(double(n))) <= 1e-4, "Q is not orthogonal", n);
        if (first.empty()) first = q;
        require(q == first, "two stages depend on the number of threads", n);
        calls++;
      }
    }
  }
  // In float64 there is T alone: it has the trace and the norm of A.
  for (const int64_t n : orders) {
    const Floats w = gaussian(n * n, n);
    std::vector<double> a(n * n), d(n), e(n);
    double trace = 0, squared = 0, traceOfT = 0, squaredOfT = 0;
    for (int64_t i = 0; i < n; i++) {
      for (int64_t j = i; j < n; j++) {
        a[i * n + j] = w[i * n + j];
        squared += (i == j ? 1 : 2) * a[i * n + j] * a[i * n + j];
      }
      trace += a[i * n + i];
    }
    MemoryLedger ledger;
    Team team(3);
    const Lease lease(3);
    const Control control;
    tridiagonaliseOverBand({ledger, control, team}, n, a.data(), n, d.data(), e.data());
    for (int64_t i = 0; i < n; i++) {
      traceOfT += d[i];
      squaredOfT += d[i] * d[i] + (i + 1 < n ? 2 * e[i] * e[i] : 0);
    }
    require(std::abs(traceOfT - trace) <= 1e-12 * std::sqrt(squared) * n, "T has another trace", n);
    require(std::abs(squaredOfT - squared) <= 1e-12 * squared, "T has another norm", n);
    calls++;
  }
  nothingHeld("two stages keep memory");
}

// --- digests, by test vectors of BLAKE3: bytes 0, 1, ..., 250, 0, ...

void digests() {
  const struct {
    size_t bytes;
    uint32_t first;
  } vectors[] = {{0, 0xb94913af},    {1, 0xdfde3a2d},    {64, 0x4171ed4e},    {1023, 0x70891010},
                 {1025, 0xae7802d0}, {3072, 0xffb08cb9}, {31744, 0x0e96b662}, {100000, 0xee233cd9}};
  for (const auto& [bytes, first] : vectors) {
    for (const int threads : {1, 2, 3}) {
      std::vector<uint8_t> data(bytes);
      for (size_t i = 0; i < bytes; i++) data[i] = static_cast<uint8_t>(i % 251);
      MemoryLedger ledger;
      Team team(threads);
      require(blake3(data.data(), bytes, ledger, team)[0] == first, "blake3", static_cast<int64_t>(bytes), threads);
      require(ledger.peak() <= blake3Bytes(static_cast<int64_t>(bytes)), "blake3 takes more than it says");
      calls++;
    }
  }
}

// --- float formats, at any alignment

void conversions() {
  const FloatFormat formats[] = {FloatFormat::f64, FloatFormat::f32, FloatFormat::f16, FloatFormat::bf16};
  for (const FloatFormat format : formats) {
    for (const int64_t count : {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 101}) {
      for (int64_t shift = 0; shift < 8; shift++) {
        const Floats x = gaussian(count, 15);
        std::vector<uint8_t> bytes(shift + count * bytesPerElement(format));
        Floats back(count);
        fromFloat32(format, x.data(), bytes.data() + shift, count);
        toFloat32(format, bytes.data() + shift, back.data(), count);
        require(distance(x.data(), back.data(), count) <= 0.01 * norm(x) + 1e-30, "conversion", count, shift);
        calls += 2;
      }
    }
  }
  // Every half there is, and the numbers that no 16 bits can hold.
  for (const FloatFormat format : {FloatFormat::f16, FloatFormat::bf16}) {
    std::vector<uint16_t> all(65536), back(65536);
    for (size_t i = 0; i < all.size(); i++) all[i] = static_cast<uint16_t>(i);
    Floats wide(all.size());
    toFloat32(format, reinterpret_cast<const uint8_t*>(all.data()), wide.data(), 65536);
    fromFloat32(format, wide.data(), reinterpret_cast<uint8_t*>(back.data()), 65536);
    for (size_t i = 0; i < all.size(); i++)
      require(std::isnan(wide[i]) || all[i] == back[i], "a half does not return", i);
    const float extremes[] = {3.4e38f, -3.4e38f, 1e-45f, HUGE_VALF, -HUGE_VALF, std::nanf(""), 0.0f, -0.0f};
    uint8_t narrow[2 * std::size(extremes)];
    fromFloat32(format, extremes, narrow, std::size(extremes));
    calls += 3;
  }
  const double far[] = {1e300, -1e300, 1e-300, HUGE_VAL, std::nan("")};
  float near[5];
  toFloat32(FloatFormat::f64, reinterpret_cast<const uint8_t*>(far), near, 5);
}

// --- LoRA and optimizers

void loras() {
  const int64_t sizes[] = {0, 1, 2, 5, 17};
  for (const int64_t rows : sizes) {
    for (const int64_t dim : {1, 3, 33}) {
      for (const int64_t dimOut : {1, 4, 31}) {
        for (const int64_t r : {0, 1, 2, 7}) {
          for (const bool add : {false, true}) {
            const Floats x = gaussian(rows * dim, 20), a = gaussian(dim * r, 21), b = gaussian(r * dimOut, 22);
            Floats h(rows * r), y(rows * dimOut), gradH(rows * r), gradA(dim * r), gradB(r * dimOut), gradX(rows * dim),
                w(dim * dimOut), bias = gaussian(dimOut, 23);
            const LowRankMap map{rows, dim, dimOut, r, 0.5f, a.data(), b.data(), 1 + static_cast<int>(r % 3)};
            lowRankForward(map, x.data(), h.data(), {y.data(), add});
            addLowRank(map, w.data());
            require(distance(product(x, w, rows, dim, dimOut).data(), y.data(), rows * dimOut) <= 1e-3, "forward", rows,
                    dim, r);
            lowRankBackward(map, x.data(), h.data(), y.data(), gradH.data(), {gradA.data(), add}, {gradB.data(), add},
                            {gradX.data(), add});
            affine(rows, dim, dimOut, x.data(), w.data(), add ? bias.data() : nullptr, y.data(), 2);
            Floats kept(rows * dim);
            dropout({0.3, 7, 3}, rows * dim, x.data(), {kept.data(), add});
            calls += 5;
          }
        }
      }
    }
  }
}

void optimizers() {
  // The last is long enough for two threads.
  std::vector<int64_t> counts = {0, 1, 3, 8, 15, 16, 17, 33, 101};
  if (!quick) counts.push_back((int64_t{2} << 20) + 13);
  for (const int64_t count : counts) {
    const Floats gradient = gaussian(count, 30);
    Floats p = gaussian(count, 31), velocity(count), mean(count), square(count);
    const Floats before = p;
    for (const bool nesterov : {false, true}) {
      sgdStep({0.1f, 0.01f, 0.9f, nesterov ? 0.0f : 0.1f, nesterov, true}, count, p.data(), gradient.data(),
              velocity.data(), 2);
      sgdStep({0.1f, 0.01f, 0.9f, 0, nesterov, false}, count, p.data(), gradient.data(), velocity.data(), 2);
    }
    sgdStep({0.1f, 0, 0, 0, false, true}, count, p.data(), gradient.data(), nullptr, 2);
    for (int64_t step = 1; step <= 3; step++) {
      adamWStep({1e-3, 0.01, 0.9, 0.999, 1e-8, step}, count, p.data(), gradient.data(), mean.data(), square.data(), 2);
    }
    scale(count, p.data(), 0.5f);
    const double sum = squares(p.data(), count);
    require(std::isfinite(sum) && (count == 0 || distance(p.data(), before.data(), count) > 0), "a step", count);
    calls += 10;
  }
}

// --- batches

void batches() {
  for (const int64_t count : {0, 1, 2, 7}) {
    for (const int threads : {1, 2, 5}) {
      const int64_t m = 90, n = 70;
      const Floats w = gaussian(count * m * n, 40);
      Floats s(count * n);
      int32_t shared[2] = {0, 0};
      const Control control(shared);
      MemoryLedger ledger;
      Batch(count, m, n, threads).run(ledger, control, [&](const Context& context, int64_t i) {
        thinSvd(context, ConstMatrix(w.data() + i * m * n, m, n), s.data() + i * n, nullptr, nullptr);
      });
      require(count == 0 || shared[1] == 1000000, "a batch does not end at 1", shared[1]);
      calls += count;
    }
  }
  nothingHeld("a batch keeps memory");
}

// --- small matrices in lanes

// Batches that fill lanes in part and exactly, with matrices among them that are hard; four copies
// of each have the same bits.
void smallMatrices() {
  const std::pair<int64_t, int64_t> shapes[] = {{2, 2}, {3, 31}, {31, 3}, {17, 16}, {40, 33}, {64, 64}, {128, 128}};
  for (const auto& [m, n] : shapes) {
    if (quick && m * n > 40 * 33) continue;
    const int64_t r = std::min(m, n), size = m * n;
    for (const int64_t rank : {int64_t{1}, r / 2, r - 1}) {
      if (rank < 1 || rank >= r) continue;
      const ApproximationBatch batch{19, m, n, 2, {{RankRule::fixed, rank, {}}}};
      Floats w = gaussian(batch.count * size, 50);
      std::fill_n(w.begin() + 3 * size, size, 0.0f);
      std::fill_n(w.begin() + 5 * size, size, 0.25f);
      for (int64_t i = 0; i < size; i++) w[7 * size + i] = i % (n + 1) == 0 ? 1.0f : 0.0f;
      for (int64_t i = 0; i < size; i++) w[8 * size + i] *= 0x1p-140f;
      const auto run = [&](const ApproximationBatch& part, const float* from, float* to) {
        MemoryLedger ledger;
        const Control control;
        const auto resultOf = [&](int64_t i) { return Result{r, nullptr, nullptr, nullptr, to + i * size}; };
        approximateBatch(ledger, control, part, from, resultOf, [&](int64_t, const Certificate& c, double) {
          require(c.rank == rank || c.norm == 0, "lanes keep another rank", m, n, c.rank);
        });
        require(ledger.peak() <= approximateBatchBytes(part, resultOf(0)).worst, "lanes take more memory", m, n, rank);
        calls += part.count;
      };
      Floats together(w.size()), copies(4 * size), result(4 * size);
      run(batch, w.data(), together.data());
      ApproximationBatch four = batch;
      four.count = 4;
      for (int64_t i = 0; i < batch.count; i++) {
        for (int64_t copy = 0; copy < 4; copy++) std::copy_n(&w[i * size], size, &copies[copy * size]);
        run(four, copies.data(), result.data());
        require(std::memcmp(&together[i * size], result.data(), size * sizeof(float)) == 0, "lanes differ", m, n, rank);
      }
    }
  }
  nothingHeld("lanes keep memory");
}

// --- singular values alone

void values() {
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {1, 9}, {9, 1}, {30, 30}, {70, 40}, {40, 300}, {1040, 1030}};
  for (const auto& [m, n] : shapes) {
    if (quick && m > 1000) continue;
    const Floats w = gaussian(m * n, 60);
    const int64_t r = std::min(m, n);
    Floats own(r), other(r);
    MemoryLedger ledger;
    const Control control;
    Team team(2);
    const Lease lease(2);
    const Context context{ledger, control, team};
    singularValues(context, ConstMatrix(w.data(), m, n), own.data());
    require(ledger.peak() <= squaredSingularValuesBytes(m, n, 2), "values take more than they say", m, n);
    {
      Team few(2, 1);
      Floats beside(r);
      singularValues(Context{ledger, control, few}, ConstMatrix(w.data(), m, n), beside.data());
      require(beside == own, "values depend on the threads of a team", m, n);
    }
    thinSvd(context, ConstMatrix(w.data(), m, n), other.data(), nullptr, nullptr);
    require(distance(own.data(), other.data(), r) <= 1e-5 * norm(other), "other singular values", m, n);
    calls++;
  }
  nothingHeld("singular values keep memory");
}

// A fault on purpose: whoever watches must see it.
int overrun(int64_t by) {
  const Floats x = gaussian(16, 1);
  return squares(x.data(), 15 + by) > 0 ? 0 : 1;
}

} // namespace

int main(int count, char** arguments) {
  for (int i = 1; i < count; i++) {
    quick = quick || std::strcmp(arguments[i], "--quick") == 0;
    if (std::strcmp(arguments[i], "--overrun") == 0) return overrun(count);
  }
  svds();
  approximations();
  weighted();
  refusals();
  products();
  factorisations();
  tridiagonals();
  twoStages();
  digests();
  conversions();
  loras();
  optimizers();
  batches();
  smallMatrices();
  values();
  std::printf("%lld calls\n", static_cast<long long>(calls));
  return 0;
}
