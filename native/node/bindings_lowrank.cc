// Best low-rank approximations and their memory estimates.
#include "node/bindings.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <optional>

#include "lowrank/approximate_batch.h"
#include "lowrank/batch.h"
#include "lowrank/interpolative.h"
#include "lowrank/low_rank.h"
#include "lowrank/moments.h"
#include "lowrank/weighted.h"

namespace lowrank {
namespace {

Request readRequest(const Arguments& arguments, int64_t r) {
  Request request;
  request.hooks = readTestHooks(arguments);
  if (arguments.has("tail")) {
    const double rest = arguments.has("tailRest") ? arguments.number("tailRest") : 0;
    request.rule = {RankRule::byTail, 0, {arguments.number("tail"), rest}};
  } else {
    request.rule = {RankRule::fixed, arguments.size("rank"), {}};
    if (request.rule.rank > r) throw Failure("ERR_ARGUMENT", "rank is larger than the matrix");
  }
  const int64_t method = arguments.size("method");
  if (method >= static_cast<int64_t>(std::size(kMethodNames))) throw Failure("ERR_ARGUMENT", "method is unknown");
  request.method = static_cast<Method>(method);
  if (arguments.has("seed")) request.seed = static_cast<uint64_t>(arguments.size("seed"));
  if (arguments.has("target")) request.target = arguments.number("target");
  return request;
}

// A certificate and what was measured around it.
struct Measured {
  const Certificate& certificate;
  double seconds;
  int64_t peakBytes;
};

struct Field {
  const char* name;
  double (*read)(const Measured&);
};

// The numbers of a certificate, in the order in which they are written.
constexpr Field kFields[] = {
    {"rank", [](const Measured& m) { return static_cast<double>(m.certificate.rank); }},
    {"route", [](const Measured& m) { return static_cast<double>(m.certificate.route); }},
    {"norm", [](const Measured& m) { return m.certificate.norm; }},
    {"error", [](const Measured& m) { return m.certificate.error; }},
    {"spectralError", [](const Measured& m) { return m.certificate.spectralError; }},
    {"excessBound", [](const Measured& m) { return m.certificate.excessBound(); }},
    {"tried", [](const Measured& m) { return static_cast<double>(m.certificate.tried); }},
    {"seconds", [](const Measured& m) { return m.seconds; }},
    {"bytes", [](const Measured& m) { return static_cast<double>(m.peakBytes); }},
};
constexpr int64_t kFieldCount = std::size(kFields);

struct Approximate {
  int64_t batch, m, n, capacity;
  int threads;
  int alongside;
  int64_t limit;
  Request request;
  float* w;
  float* b;
  float* a;
  float* s;
  float* dense;
  std::optional<Moments> moments;
  double* out;

  explicit Approximate(Arguments& arguments)
      : batch(arguments.size("batch")), m(readSide(arguments, "m")), n(readSide(arguments, "n", m)),
        capacity(arguments.has("b") ? arguments.size("capacity") : std::min(m, n)), threads(readThreads(arguments)),
        alongside(readCores(arguments)), limit(arguments.has("maxMemory") ? arguments.size("maxMemory") : 0),
        request(readRequest(arguments, std::min(m, n))), w(arguments.floats("w", product(batch, product(m, n)))),
        b(arguments.has("b") ? arguments.floats("b", product(batch, product(m, capacity))) : nullptr),
        a(b ? arguments.floats("a", product(batch, product(capacity, n))) : nullptr),
        s(b ? arguments.floats("s", product(batch, capacity)) : nullptr),
        dense(arguments.has("dense") ? arguments.floats("dense", product(batch, product(m, n))) : nullptr),
        moments(readMoments(arguments, m, n)), out(arguments.doubles("out", product(batch, kFieldCount))) {
    if (moments && (batch != 1 || dense || !arguments.has("b"))) {
      throw Failure("ERR_ARGUMENT", "weighted approximations are factors of one matrix");
    }
    const int64_t needed = request.rule.kind == RankRule::fixed ? request.rule.rank : std::min(m, n);
    if (b && capacity < needed) throw Failure("ERR_SHAPE", "capacity is smaller than the rank");
  }
  void run(const Control& control) const {
    MemoryLedger ledger(limit);
    const auto resultOf = [this](int64_t i) {
      return Result{capacity, offset(b, i * m * capacity), offset(a, i * capacity * n), offset(s, i * capacity),
                    offset(dense, i * m * n)};
    };
    const auto report = [&](int64_t i, const Certificate& c, double seconds) {
      const Measured measured{c, seconds, ledger.peak()};
      for (const Field& field : kFields) out[i * kFieldCount + (&field - kFields)] = field.read(measured);
    };
    if (moments) {
      Batch(1, m, n, threads).alongside(alongside).run(ledger, control, [&](const Context& context, int64_t) {
        const auto begin = std::chrono::steady_clock::now();
        const Certificate c = approximateWeighted(context, ConstMatrix(w, m, n), *moments, request, resultOf(0));
        report(0, c, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      });
      return;
    }
    approximateBatch(ledger, control, {batch, m, n, threads, request, alongside}, w, resultOf, report);
  }
};

Napi::Value estimateApproximate(const Napi::CallbackInfo& info) {
  const Napi::Object object = Napi::Object::New(info.Env());
  const Outcome outcome = Outcome::of([&] {
    const Arguments arguments(info);
    const int64_t m = readSide(arguments, "m"), n = readSide(arguments, "n", m);
    const ApproximationBatch batch{arguments.size("batch"), m, n, readThreads(arguments),
                                   readRequest(arguments, std::min(m, n))};
    float wanted = 0; // estimates ask only whether an output is wanted
    const Result result{0, arguments.flag("factors") ? &wanted : nullptr, nullptr, nullptr,
                        arguments.flag("dense") ? &wanted : nullptr};
    const auto kind = readMomentsKind(arguments);
    if (kind && (batch.count != 1 || result.dense)) {
      throw Failure("ERR_ARGUMENT", "weighted approximations are factors of one matrix");
    }
    const MemoryNeed need = kind ? approximateWeightedBytes(m, n, *kind, batch.request, batch.threads)
                                 : approximateBatchBytes(batch, result);
    object.Set("planned", static_cast<double>(need.planned));
    object.Set("worst", static_cast<double>(need.worst));
  });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  return object;
}

struct AccumulateMoments {
  int64_t rows, n;
  bool diagonal;
  int threads;
  const float* x;
  double* sum;
  double* second;

  explicit AccumulateMoments(Arguments& arguments)
      : rows(arguments.size("rows")), n(readSide(arguments, "n")), diagonal(arguments.flag("diagonal")),
        threads(readThreads(arguments)), x(arguments.floats("x", product(rows, n))), sum(arguments.doubles("sum", n)),
        second(arguments.doubles("second", diagonal ? n : product(n, n))) {}
  void run(const Control& control) const {
    if (rows == 0) return;
    MemoryLedger ledger;
    Batch(1, rows, n, threads).run(ledger, control, [this](const Context& context, int64_t) {
      accumulateMoments(context, ConstMatrix(x, rows, n), diagonal, sum, second);
    });
  }
};

struct Interpolate {
  int64_t m, k;
  int threads;
  const float* b;
  int32_t* order;
  float* c;

  explicit Interpolate(Arguments& arguments)
      : m(readSide(arguments, "m")), k(readSide(arguments, "k", m)), threads(readThreads(arguments)),
        b(arguments.floats("b", product(m, k))), order(arguments.integers("order", m)),
        c(arguments.floats("c", product(std::max<int64_t>(m - k, 0), k))) {
    if (k > m) throw Failure("ERR_SHAPE", "more columns than rows");
  }
  void run(const Control& control) const {
    MemoryLedger ledger;
    Batch(1, m, k, threads).run(ledger, control, [this](const Context& context, int64_t) {
      interpolate(context, ConstMatrix(b, m, k), order, c);
    });
  }
};

constexpr Export kExports[] = {
    {"accumulateMoments", callSync<AccumulateMoments>},
    {"accumulateMomentsAsync", callAsync<AccumulateMoments>},
    {"interpolate", callSync<Interpolate>},
    {"interpolateAsync", callAsync<Interpolate>},
    {"estimateApproximate", estimateApproximate},
    {"approximate", callSync<Approximate>},
    {"approximateAsync", callAsync<Approximate>},
};

} // namespace

std::span<const Export> lowRankExports() { return kExports; }

std::vector<const char*> certificateFields() {
  std::vector<const char*> names;
  for (const Field& field : kFields) names.push_back(field.name);
  return names;
}

} // namespace lowrank
