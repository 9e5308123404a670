// Weights as numbers of a few bits, and what their errors do.
#include "node/bindings.h"

#include <cmath>
#include <iterator>
#include <optional>

#include "lowrank/batch.h"
#include "quantize/channels.h"
#include "quantize/quantize_blocks.h"
#include "quantize/weighted_squares.h"

namespace lowrank {
namespace {

BlockRequest readBlockRequest(const Arguments& arguments) {
  const int64_t bits = arguments.size("bits"), block = arguments.size("block"), rounding = arguments.size("rounding");
  if (bits != 2 && bits != 4 && bits != 8) throw Failure("ERR_ARGUMENT", "bits are not 2, 4 or 8");
  // A multiple of every width of vector registers.
  if (block < 16 || block > 4096 || block % 16 != 0) throw Failure("ERR_ARGUMENT", "block is no multiple of 16");
  if (rounding >= static_cast<int64_t>(std::size(kRoundingNames))) throw Failure("ERR_ARGUMENT", "rounding is unknown");
  const double damping = arguments.number("damping");
  if (!(damping > 0 && std::isfinite(damping))) throw Failure("ERR_ARGUMENT", "damping is not above 0");
  return {{static_cast<int>(bits), block, arguments.flag("symmetric"), arguments.flag("half")},
          static_cast<Rounding>(rounding),
          damping,
          static_cast<int>(std::min<int64_t>(arguments.size("sweeps"), 1000))};
}

struct QuantizeBlocks {
  int64_t m, n;
  int threads;
  BlockRequest request;
  const float* w;
  std::optional<Moments> moments;
  uint8_t* codes;
  float* scales;
  uint8_t* zeros;
  float* dense;

  explicit QuantizeBlocks(Arguments& arguments)
      : m(readSide(arguments, "m")), n(readSide(arguments, "n", m)), threads(readThreads(arguments)),
        request(readBlockRequest(arguments)), w(arguments.floats("w", product(m, n))),
        moments(readMoments(arguments, m, n)),
        codes(arguments.bytes("codes", product(m, request.format.bytesOfCodes(n)))),
        scales(arguments.floats("scales", product(m, request.format.blocks(n)))),
        zeros(request.format.symmetric ? nullptr
                                       : arguments.bytes("zeros", product(m, request.format.bytesOfZeros(n)))),
        dense(arguments.has("dense") ? arguments.floats("dense", product(m, n)) : nullptr) {
    requireMoments(request, moments ? &*moments : nullptr);
  }
  void run(const Control& control) const {
    MemoryLedger ledger;
    const BlockFormat& format = request.format;
    Batch(1, m, n, threads).run(ledger, control, [&](const Context& context, int64_t) {
      const int64_t blocks = m * format.blocks(n);
      const Buffer<uint8_t> unpacked(ledger, blocks * format.block), points(ledger, blocks);
      const BlockCodes result{unpacked.data(), scales, points.data()};
      quantizeBlocks(context, ConstMatrix(w, m, n), moments ? &*moments : nullptr, request, result);
      packBlocks(context, result, format, m, n, codes, zeros);
      if (dense) dequantizeBlocks(context, result, format, m, n, dense);
    });
  }
};

struct QuantizeChannels {
  int64_t m, n;
  int threads;
  const float* w;
  uint8_t* codes;
  float* scales;

  explicit QuantizeChannels(Arguments& arguments)
      : m(readSide(arguments, "m")), n(readSide(arguments, "n", m)), threads(readThreads(arguments)),
        w(arguments.floats("w", product(m, n))), codes(arguments.bytes("codes", product(n, m))),
        scales(arguments.floats("scales", m)) {}
  void run(const Control& control) const {
    MemoryLedger ledger;
    Batch(1, m, n, threads).run(ledger, control, [&](const Context& context, int64_t) {
      quantizeChannels(context, ConstMatrix(w, m, n), reinterpret_cast<int8_t*>(codes), scales);
    });
  }
};

struct WeightedSquares {
  int64_t m, n;
  int threads;
  const float* e;
  std::optional<Moments> moments;
  double* out;

  explicit WeightedSquares(Arguments& arguments)
      : m(readSide(arguments, "m")), n(readSide(arguments, "n", m)), threads(readThreads(arguments)),
        e(arguments.floats("e", product(m, n))), moments(readMoments(arguments, m, n)),
        out(arguments.doubles("out", 1)) {}
  void run(const Control& control) const {
    MemoryLedger ledger;
    Batch(1, m, n, threads).run(ledger, control, [&](const Context& context, int64_t) {
      out[0] = weightedSquares(context, ConstMatrix(e, m, n), moments ? &*moments : nullptr);
    });
  }
};

constexpr Export kExports[] = {
    {"quantizeBlocksAsync", callAsync<QuantizeBlocks>},
    {"quantizeChannelsAsync", callAsync<QuantizeChannels>},
    {"weightedSquaresAsync", callAsync<WeightedSquares>},
};

} // namespace

std::span<const Export> quantizeExports() { return kExports; }

} // namespace lowrank
