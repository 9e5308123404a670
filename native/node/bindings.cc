#include "node/bindings.h"

#include <algorithm>
#include <chrono>
#include <iterator>

#include "blas/lapack.h"
#include "core/convert.h"
#include "core/norms.h"
#include "core/simd.h"
#include "lowrank/batch.h"
#include "lowrank/low_rank.h"
#include "lowrank/svd.h"
#include "node/task.h"
#include "train/lora.h"
#include "train/optimizer.h"

namespace lowrank::bindings {
namespace {

FloatFormat readFormat(const Arguments& arguments) {
  const int64_t code = arguments.size("format");
  if (code > static_cast<int64_t>(FloatFormat::bf16)) throw Failure("ERR_ARGUMENT", "format is unknown");
  return static_cast<FloatFormat>(code);
}

int readThreads(const Arguments& arguments) {
  constexpr int64_t kMost = 1024; // OpenBLAS itself stops far below
  const int64_t count = arguments.has("threads") ? arguments.size("threads") : 0;
  return count == 0 ? defaultThreads() : static_cast<int>(std::min(count, kMost));
}

TestHooks readTestHooks(const Arguments& arguments) {
  TestHooks hooks;
  hooks.pretendGesddFails = arguments.flag("pretendGesddFails");
  if (arguments.has("maxDimension")) hooks.maxDimension = arguments.size("maxDimension");
  return hooks;
}

SvdOptions readSvdOptions(const Arguments& arguments) {
  return {arguments.flag("gesvd") ? SvdDriver::gesvd : SvdDriver::gesdd, readTestHooks(arguments)};
}

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

// The number of rows or columns of matrices that are decomposed: not 0, and no size that is computed from the two
// overflows.
int64_t readSide(const Arguments& arguments, const char* name, int64_t other = 1) {
  constexpr int64_t kMostElements = int64_t{1} << 48;
  const int64_t side = arguments.size(name);
  if (side == 0) throw Failure("ERR_SHAPE", std::string(name) + " is 0");
  if (product(side, other) > kMostElements) throw Failure("ERR_MEMORY", "a matrix of this size cannot be addressed");
  return side;
}

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class T> T* offset(T* base, int64_t elements) { return base ? base + elements : nullptr; }

// --- the works: arguments in the constructor, computation in run()

struct ToFloat32 {
  FloatFormat format;
  int64_t count;
  const uint8_t* source;
  float* target;

  explicit ToFloat32(Arguments& arguments)
      : format(readFormat(arguments)), count(arguments.size("count")),
        source(arguments.bytes("source", product(count, bytesPerElement(format)))),
        target(arguments.floats("target", count)) {}
  void run(const Control&) const { lowrank::toFloat32(format, source, target, count); }
};

struct FromFloat32 {
  FloatFormat format;
  int64_t count;
  const float* source;
  uint8_t* target;

  explicit FromFloat32(Arguments& arguments)
      : format(readFormat(arguments)), count(arguments.size("count")), source(arguments.floats("source", count)),
        target(arguments.bytes("target", product(count, bytesPerElement(format)))) {}
  void run(const Control&) const { lowrank::fromFloat32(format, source, target, count); }
};

struct Gemm {
  int64_t batch, m, n, k;
  bool transposeA, transposeB;
  int threads;
  const float* a;
  const float* b;
  float* c;

  explicit Gemm(Arguments& arguments)
      : batch(arguments.size("batch")), m(arguments.size("m")), n(arguments.size("n")), k(arguments.size("k")),
        transposeA(arguments.flag("transposeA")), transposeB(arguments.flag("transposeB")),
        threads(readThreads(arguments)), a(arguments.floats("a", product(batch, product(m, k)))),
        b(arguments.floats("b", product(batch, product(k, n)))),
        c(arguments.floats("c", product(batch, product(m, n)))) {}
  void run(const Control& control) const {
    if (m == 0 || n == 0) return; // any number of products
    MemoryLedger ledger;
    // One product is OpenBLAS' own to share out; several go side by side.
    Batch(batch, m, n, threads, k).run(ledger, control, [this](const Context& context, int64_t i) {
      const WideBlas wide(context.team.size());
      blas::gemm(transposeA, transposeB, m, n, k, 1, a + i * m * k, transposeA ? m : k, b + i * k * n,
                 transposeB ? k : n, 0, c + i * m * n, n);
    });
  }
};

struct Svd {
  int64_t batch, m, n, r;
  int threads;
  SvdOptions options;
  const float* w;
  float* s;
  float* u;
  float* vt;
  double* out;

  explicit Svd(Arguments& arguments)
      : batch(arguments.size("batch")), m(readSide(arguments, "m")), n(readSide(arguments, "n", m)), r(std::min(m, n)),
        threads(readThreads(arguments)), options(readSvdOptions(arguments)),
        w(arguments.floats("w", product(batch, product(m, n)))), s(arguments.floats("s", product(batch, r))),
        u(arguments.has("u") ? arguments.floats("u", product(batch, product(m, r))) : nullptr),
        vt(arguments.has("u") ? arguments.floats("vt", product(batch, product(r, n))) : nullptr),
        out(arguments.doubles("out", batch)) {}
  void run(const Control& control) const {
    MemoryLedger ledger;
    Batch(batch, m, n, threads).run(ledger, control, [this](const Context& context, int64_t i) {
      const SvdDriver driver = thinSvd(context, ConstMatrix(w + i * m * n, m, n), s + i * r, offset(u, i * m * r),
                                       offset(vt, i * r * n), options);
      out[i] = static_cast<double>(driver);
    });
  }
};

struct Approximate {
  // The fields of one certificate in `out`, in the order of the contract.
  static constexpr int64_t kFields = 9;

  int64_t batch, m, n, capacity;
  int threads;
  int64_t limit;
  Request request;
  float* w;
  float* b;
  float* a;
  float* s;
  float* dense;
  double* out;

  explicit Approximate(Arguments& arguments)
      : batch(arguments.size("batch")), m(readSide(arguments, "m")), n(readSide(arguments, "n", m)),
        capacity(arguments.has("b") ? arguments.size("capacity") : std::min(m, n)), threads(readThreads(arguments)),
        limit(arguments.has("maxMemory") ? arguments.size("maxMemory") : 0),
        request(readRequest(arguments, std::min(m, n))), w(arguments.floats("w", product(batch, product(m, n)))),
        b(arguments.has("b") ? arguments.floats("b", product(batch, product(m, capacity))) : nullptr),
        a(b ? arguments.floats("a", product(batch, product(capacity, n))) : nullptr),
        s(b ? arguments.floats("s", product(batch, capacity)) : nullptr),
        dense(arguments.has("dense") ? arguments.floats("dense", product(batch, product(m, n))) : nullptr),
        out(arguments.doubles("out", product(batch, kFields))) {
    const int64_t needed = request.rule.kind == RankRule::fixed ? request.rule.rank : std::min(m, n);
    if (b && capacity < needed) throw Failure("ERR_SHAPE", "capacity is smaller than the rank");
  }
  void run(const Control& control) const {
    MemoryLedger ledger(limit);
    Batch(batch, m, n, threads).run(ledger, control, [&](const Context& context, int64_t i) {
      const double begin = seconds();
      const Result result{capacity, offset(b, i * m * capacity), offset(a, i * capacity * n), offset(s, i * capacity),
                          offset(dense, i * m * n)};
      const Certificate c = lowrank::approximate(context, ConstMatrix(w + i * m * n, m, n), request, result);
      double* o = out + i * kFields;
      o[0] = static_cast<double>(c.rank);
      o[1] = static_cast<double>(c.route);
      o[2] = c.norm;
      o[3] = c.error;
      o[4] = c.spectralError;
      o[5] = c.excessBound();
      o[6] = static_cast<double>(c.tried);
      o[7] = seconds() - begin;
      o[8] = static_cast<double>(ledger.peak());
    });
  }
};

// --- low-rank maps and their training; the caller owns the work arrays too

struct OrthonormaliseRows {
  int64_t k, n;
  float* a;

  explicit OrthonormaliseRows(Arguments& arguments)
      : k(arguments.size("k")), n(arguments.size("n")), a(arguments.floats("a", product(k, n))) {
    if (k > n) throw Failure("ERR_SHAPE", "more rows than columns");
  }
  void run(const Control&) const {
    MemoryLedger ledger;
    const Lease lease(1);
    const Buffer<float> tau(ledger, k), work(ledger, lapack::orthonormaliseWork(k));
    lapack::orthonormaliseRows(k, n, a, tau.data(), work.data());
  }
};

LowRankMap readLowRankMap(Arguments& arguments, int64_t rows) {
  const int64_t dim = arguments.size("dim"), dimOut = arguments.size("dimOut"), r = arguments.size("r");
  return {rows,
          dim,
          dimOut,
          r,
          static_cast<float>(arguments.number("scale")),
          arguments.floats("a", product(dim, r)),
          arguments.floats("b", product(r, dimOut)),
          readThreads(arguments)};
}

Target readTarget(Arguments& arguments, const char* name, const char* add, int64_t count) {
  return {arguments.floats(name, count), arguments.flag(add)};
}

struct LoraForward {
  LowRankMap map;
  const float* x;
  float* h;
  Target y;

  explicit LoraForward(Arguments& arguments)
      : map(readLowRankMap(arguments, arguments.size("rows"))), x(arguments.floats("x", product(map.rows, map.dim))),
        h(arguments.floats("h", product(map.rows, map.r))),
        y(readTarget(arguments, "y", "add", product(map.rows, map.dimOut))) {}
  void run(const Control&) const { lowRankForward(map, x, h, y); }
};

struct LoraBackward {
  LowRankMap map;
  const float* x;
  const float* h;
  const float* gradY;
  float* gradH;
  Target gradA, gradB, gradX;

  explicit LoraBackward(Arguments& arguments)
      : map(readLowRankMap(arguments, arguments.size("rows"))), x(arguments.floats("x", product(map.rows, map.dim))),
        h(arguments.floats("h", product(map.rows, map.r))),
        gradY(arguments.floats("gradY", product(map.rows, map.dimOut))),
        gradH(arguments.floats("gradH", product(map.rows, map.r))),
        gradA(readTarget(arguments, "gradA", "addA", product(map.dim, map.r))),
        gradB(readTarget(arguments, "gradB", "addB", product(map.r, map.dimOut))),
        gradX(readTarget(arguments, "gradX", "addX", product(map.rows, map.dim))) {}
  void run(const Control&) const { lowRankBackward(map, x, h, gradY, gradH, gradA, gradB, gradX); }
};

struct AddLowRank {
  LowRankMap map;
  float* w;

  explicit AddLowRank(Arguments& arguments)
      : map(readLowRankMap(arguments, 0)), w(arguments.floats("w", product(map.dim, map.dimOut))) {}
  void run(const Control&) const { lowrank::addLowRank(map, w); }
};

struct Affine {
  int64_t rows, dim, dimOut;
  int threads;
  const float* x;
  const float* w;
  const float* bias;
  float* y;

  explicit Affine(Arguments& arguments)
      : rows(arguments.size("rows")), dim(arguments.size("dim")), dimOut(arguments.size("dimOut")),
        threads(readThreads(arguments)), x(arguments.floats("x", product(rows, dim))),
        w(arguments.floats("w", product(dim, dimOut))),
        bias(arguments.has("bias") ? arguments.floats("bias", dimOut) : nullptr),
        y(arguments.floats("y", product(rows, dimOut))) {}
  void run(const Control&) const { lowrank::affine(rows, dim, dimOut, x, w, bias, y, threads); }
};

struct DropoutWork {
  Dropout drop;
  int64_t count;
  const float* source;
  Target target;

  explicit DropoutWork(Arguments& arguments)
      : drop{arguments.number("probability"), static_cast<uint64_t>(arguments.size("seed")),
             static_cast<uint64_t>(arguments.size("offset"))},
        count(arguments.size("count")), source(arguments.floats("source", count)),
        target(readTarget(arguments, "target", "add", count)) {
    if (!(drop.probability >= 0 && drop.probability < 1)) throw Failure("ERR_ARGUMENT", "probability is out of range");
  }
  void run(const Control&) const { lowrank::dropout(drop, count, source, target); }
};

struct SgdStep {
  Sgd sgd;
  int64_t count;
  int threads;
  float* p;
  const float* gradient;
  float* velocity;

  explicit SgdStep(Arguments& arguments)
      : sgd{static_cast<float>(arguments.number("rate")),
            static_cast<float>(arguments.number("weightDecay")),
            static_cast<float>(arguments.number("momentum")),
            static_cast<float>(arguments.number("dampening")),
            arguments.flag("nesterov"),
            arguments.flag("first")},
        count(arguments.size("count")), threads(readThreads(arguments)), p(arguments.floats("p", count)),
        gradient(arguments.floats("gradient", count)),
        velocity(arguments.has("velocity") ? arguments.floats("velocity", count) : nullptr) {}
  void run(const Control&) const { lowrank::sgdStep(sgd, count, p, gradient, velocity, threads); }
};

struct AdamWStep {
  AdamW adam;
  int64_t count;
  int threads;
  float* p;
  const float* gradient;
  float* mean;
  float* square;

  explicit AdamWStep(Arguments& arguments)
      : adam{arguments.number("rate"),  arguments.number("weightDecay"), arguments.number("beta1"),
             arguments.number("beta2"), arguments.number("epsilon"),     arguments.size("step")},
        count(arguments.size("count")), threads(readThreads(arguments)), p(arguments.floats("p", count)),
        gradient(arguments.floats("gradient", count)), mean(arguments.floats("mean", count)),
        square(arguments.floats("square", count)) {}
  void run(const Control&) const { lowrank::adamWStep(adam, count, p, gradient, mean, square, threads); }
};

struct SumOfSquares {
  int64_t count;
  const float* x;
  double* out;

  explicit SumOfSquares(Arguments& arguments)
      : count(arguments.size("count")), x(arguments.floats("x", count)), out(arguments.doubles("out", 1)) {}
  void run(const Control&) const { out[0] = squares(x, count); }
};

struct Scale {
  int64_t count;
  float* x;
  float factor;

  explicit Scale(Arguments& arguments)
      : count(arguments.size("count")), x(arguments.floats("x", count)),
        factor(static_cast<float>(arguments.number("factor"))) {}
  void run(const Control&) const { lowrank::scale(count, x, factor); }
};

// For the plain functions: the same treatment of errors as the works have.
template <class Function> Napi::Value guarded(const Napi::CallbackInfo& info, const Function& function) {
  Napi::Value value = info.Env().Undefined();
  const Outcome outcome = Outcome::of([&] {
    Arguments arguments(info);
    value = function(arguments);
  });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  return value;
}

} // namespace

Napi::Value info(const Napi::CallbackInfo& info) {
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("openblas", blas::version());
  object.Set("kernel", blas::kernel());
  object.Set("threads", defaultThreads());
  const Outcome outcome = Outcome::of([&] { object.Set("simd", nameOf(simd())); });
  if (!outcome.code.empty()) throw outcome.error(info.Env());
  const Napi::Array paths = Napi::Array::New(info.Env());
  for (const Simd path : kSimdPaths) {
    if (supported(path)) paths.Set(paths.Length(), nameOf(path));
  }
  object.Set("simdPaths", paths);
  return object;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const Napi::Object object = Napi::Object::New(info.Env());
  object.Set("now", static_cast<double>(MemoryLedger::processNow()));
  object.Set("peak", static_cast<double>(MemoryLedger::processPeak()));
  return object;
}

Napi::Value resetPeak(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(MemoryLedger::resetProcessPeak()));
}

Napi::Value estimateSvd(const Napi::CallbackInfo& info) {
  return guarded(info, [](Arguments& arguments) -> Napi::Value {
    const int64_t m = readSide(arguments, "m"), n = readSide(arguments, "n", m);
    const Batch batch(arguments.size("batch"), m, n, readThreads(arguments));
    const int64_t bytes = thinSvdBytes(m, n, arguments.flag("vectors"));
    return Napi::Number::New(arguments.env(), static_cast<double>(product(bytes, batch.atOnce())));
  });
}

Napi::Value estimateApproximate(const Napi::CallbackInfo& info) {
  return guarded(info, [](Arguments& arguments) -> Napi::Value {
    const int64_t m = readSide(arguments, "m"), n = readSide(arguments, "n", m);
    const Batch batch(arguments.size("batch"), m, n, readThreads(arguments));
    float wanted = 0; // only whether an output is wanted counts here
    const Result result{0, arguments.flag("factors") ? &wanted : nullptr, nullptr, nullptr,
                        arguments.flag("dense") ? &wanted : nullptr};
    const MemoryNeed need = approximateBytes(m, n, readRequest(arguments, std::min(m, n)), result, batch.threadsEach());
    const Napi::Object object = Napi::Object::New(arguments.env());
    object.Set("planned", static_cast<double>(product(need.planned, batch.atOnce())));
    object.Set("worst", static_cast<double>(product(need.worst, batch.atOnce())));
    return object;
  });
}

Napi::Value toFloat32(const Napi::CallbackInfo& info) { return callSync<ToFloat32>(info); }
Napi::Value fromFloat32(const Napi::CallbackInfo& info) { return callSync<FromFloat32>(info); }
Napi::Value gemm(const Napi::CallbackInfo& info) { return callSync<Gemm>(info); }
Napi::Value gemmAsync(const Napi::CallbackInfo& info) { return callAsync<Gemm>(info); }
Napi::Value svd(const Napi::CallbackInfo& info) { return callSync<Svd>(info); }
Napi::Value svdAsync(const Napi::CallbackInfo& info) { return callAsync<Svd>(info); }
Napi::Value approximate(const Napi::CallbackInfo& info) { return callSync<Approximate>(info); }
Napi::Value approximateAsync(const Napi::CallbackInfo& info) { return callAsync<Approximate>(info); }
Napi::Value orthonormaliseRows(const Napi::CallbackInfo& info) { return callSync<OrthonormaliseRows>(info); }
Napi::Value loraForward(const Napi::CallbackInfo& info) { return callSync<LoraForward>(info); }
Napi::Value loraBackward(const Napi::CallbackInfo& info) { return callSync<LoraBackward>(info); }
Napi::Value addLowRank(const Napi::CallbackInfo& info) { return callSync<AddLowRank>(info); }
Napi::Value affine(const Napi::CallbackInfo& info) { return callSync<Affine>(info); }
Napi::Value dropout(const Napi::CallbackInfo& info) { return callSync<DropoutWork>(info); }
Napi::Value sgdStep(const Napi::CallbackInfo& info) { return callSync<SgdStep>(info); }
Napi::Value adamWStep(const Napi::CallbackInfo& info) { return callSync<AdamWStep>(info); }
Napi::Value sumOfSquares(const Napi::CallbackInfo& info) { return callSync<SumOfSquares>(info); }
Napi::Value scale(const Napi::CallbackInfo& info) { return callSync<Scale>(info); }

} // namespace lowrank::bindings
