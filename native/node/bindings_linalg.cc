// Conversions, products, singular value decompositions and orthonormal bases.
#include "node/bindings.h"

#include "blas/lapack.h"
#include "core/convert.h"
#include "core/memory.h"
#include "lowrank/batch.h"
#include "lowrank/orthonormal.h"
#include "lowrank/singular_values.h"
#include "lowrank/svd.h"

namespace lowrank {
namespace {

// Each Work reads its arguments in its constructor and computes in run(), see task.h.

FloatFormat readFormat(const Arguments& arguments) {
  const int64_t code = arguments.size("format");
  if (code >= static_cast<int64_t>(std::size(kFloatFormatNames))) throw Failure("ERR_ARGUMENT", "format is unknown");
  return static_cast<FloatFormat>(code);
}

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
    if (m == 0 || n == 0) return; // nothing to compute, and `batch` may be huge
    MemoryLedger ledger;
    // OpenBLAS parallelises a single product; several run side by side.
    Batch(batch, m, n, threads, k).run(ledger, control, [this](const Context& context, int64_t i) {
      const WideBlas wide(context.team);
      blas::gemm(transposeA, transposeB, m, n, k, 1, a + i * m * k, transposeA ? m : k, b + i * k * n,
                 transposeB ? k : n, 0, c + i * m * n, n);
    });
  }
};

struct Svd {
  int64_t batch, m, n, r;
  int threads;
  int alongside;
  bool gram;
  SvdOptions options;
  const float* w;
  float* s;
  float* u;
  float* vt;
  double* out;

  explicit Svd(Arguments& arguments)
      : batch(arguments.size("batch")), m(readSide(arguments, "m")), n(readSide(arguments, "n", m)), r(std::min(m, n)),
        threads(readThreads(arguments)), alongside(readCores(arguments)), gram(arguments.flag("gram")),
        options{arguments.flag("gesvd") ? SvdDriver::gesvd : SvdDriver::gesdd, readTestHooks(arguments)},
        w(arguments.floats("w", product(batch, product(m, n)))), s(arguments.floats("s", product(batch, r))),
        u(arguments.has("u") ? arguments.floats("u", product(batch, product(m, r))) : nullptr),
        vt(arguments.has("u") ? arguments.floats("vt", product(batch, product(r, n))) : nullptr),
        out(arguments.doubles("out", batch)) {
    if (u && gram) throw Failure("ERR_ARGUMENT", "gram finds no vectors");
  }
  void run(const Control& control) const {
    MemoryLedger ledger;
    Batch(batch, m, n, threads).alongside(alongside).run(ledger, control, [this](const Context& context, int64_t i) {
      const ConstMatrix matrix(w + i * m * n, m, n);
      if (gram) return singularValues(context, matrix, s + i * r);
      const SvdDriver driver =
          thinSvd(context, matrix, s + i * r, offset(u, i * m * r), offset(vt, i * r * n), options);
      out[i] = static_cast<double>(driver);
    });
  }
};

struct OrthonormaliseRows {
  int64_t k, n;
  float* a;

  explicit OrthonormaliseRows(Arguments& arguments)
      : k(arguments.size("k")), n(arguments.size("n")), a(arguments.floats("a", product(k, n))) {
    if (k > n) throw Failure("ERR_SHAPE", "more rows than columns");
  }
  void run(const Control& control) const {
    MemoryLedger ledger;
    const Lease lease(1);
    Team team(1);
    orthonormaliseRows({ledger, control, team}, k, n, a);
  }
};

constexpr Export kExports[] = {
    {"toFloat32", callSync<ToFloat32>},
    {"fromFloat32", callSync<FromFloat32>},
    {"gemm", callSync<Gemm>},
    {"gemmAsync", callAsync<Gemm>},
    {"svd", callSync<Svd>},
    {"svdAsync", callAsync<Svd>},
    {"orthonormaliseRows", callSync<OrthonormaliseRows>},
};

} // namespace

std::span<const Export> linalgExports() { return kExports; }

} // namespace lowrank
