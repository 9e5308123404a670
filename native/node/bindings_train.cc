// Low-rank maps and optimizers. The caller owns the work arrays, too.
#include "node/bindings.h"

#include "core/norms.h"
#include "train/lora.h"
#include "train/optimizer.h"

namespace lowrank {
namespace {

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

constexpr Export kExports[] = {
    {"loraForward", callSync<LoraForward>},
    {"loraBackward", callSync<LoraBackward>},
    {"addLowRank", callSync<AddLowRank>},
    {"affine", callSync<Affine>},
    {"dropout", callSync<DropoutWork>},
    {"sgdStep", callSync<SgdStep>},
    {"adamWStep", callSync<AdamWStep>},
    {"sumOfSquares", callSync<SumOfSquares>},
    {"scale", callSync<Scale>},
};

} // namespace

std::span<const Export> trainExports() { return kExports; }

} // namespace lowrank
