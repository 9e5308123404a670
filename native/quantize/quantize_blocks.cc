#include "quantize/quantize_blocks.h"

#include <algorithm>

#include "core/failure.h"
#include "core/norms.h"
#include "quantize/compensated.h"
#include "quantize/scale_search.h"

namespace lowrank {
namespace {

// Every row by itself. `weights` has one number for each input, or is null.
void roundRows(const Context& context, ConstMatrix w, const double* weights, const BlockRequest& request,
               const BlockCodes& result) {
  const BlockFormat& format = request.format;
  const int64_t n = w.cols, blocks = format.blocks(n), width = blocks * format.block;
  const Buffer<float> padded(context.memory, (context.team.size() + 1) * width);
  float* d = padded.data() + context.team.size() * width;
  std::fill_n(d, width, 0.0f);
  for (int64_t j = 0; j < n; j++) d[j] = weights ? static_cast<float>(weights[j]) : 1.0f;
  context.team.run([&](int part) {
    float* x = padded.data() + part * width;
    std::fill_n(x, width, 0.0f);
    for (int64_t i = part; i < w.rows; i += context.team.size()) {
      if (context.control.cancelled()) return;
      std::copy_n(w.row(i), n, x);
      for (int64_t b = 0; b < blocks; b++) {
        const float* numbers = x + b * format.block;
        const BlockScale scale = request.rounding == Rounding::spanning
                                     ? spanningScale(numbers, format.block, format)
                                     : bestScale(numbers, d + b * format.block, format);
        const int64_t at = i * blocks + b;
        result.scales[at] = scale.scale;
        result.zeros[at] = scale.zero;
        uint8_t* codes = result.codes + at * format.block;
        const int64_t count = std::min(format.block, n - b * format.block);
        for (int64_t j = 0; j < count; j++) codes[j] = nearestCode(numbers[j], scale, format);
        std::fill(codes + count, codes + format.block, uint8_t{0});
      }
    }
  });
  context.control.check();
}

// Codes of `bits` from the lowest bits of a byte on; `rest` stands where there are none.
void pack(const uint8_t* codes, int64_t count, int bits, uint8_t rest, uint8_t* packed, int64_t bytes) {
  std::fill_n(packed, bytes, uint8_t{0});
  for (int64_t i = 0; i * bits < bytes * 8; i++) {
    const int64_t at = i * bits;
    const unsigned shifted = static_cast<unsigned>(i < count ? codes[i] : rest) << (at % 8);
    packed[at / 8] |= static_cast<uint8_t>(shifted);
  }
}

} // namespace

void requireMoments(const BlockRequest& request, const Moments* moments) {
  if (moments && moments->kind == Moments::outputs) {
    throw Failure("ERR_ARGUMENT", "moments of the outputs do not weigh the numbers of a row");
  }
  if (request.rounding == Rounding::compensated && !(moments && moments->kind == Moments::inputs)) {
    throw Failure("ERR_ARGUMENT", "compensated rounding needs the moments of all inputs");
  }
}

void quantizeBlocks(const Context& context, ConstMatrix w, const Moments* moments, const BlockRequest& request,
                    const BlockCodes& result) {
  requireFinite(w, context.team);
  requireMoments(request, moments);
  if (request.rounding == Rounding::compensated) {
    return roundCompensated(context, w, moments->values, request, result);
  }
  if (!moments) return roundRows(context, w, nullptr, request, result);
  const Buffer<double> diagonal(context.memory, w.cols);
  const int64_t stride = moments->kind == Moments::inputs ? w.cols + 1 : 1;
  for (int64_t j = 0; j < w.cols; j++) diagonal[j] = std::max(moments->values[j * stride], 0.0);
  roundRows(context, w, diagonal.data(), request, result);
}

void dequantizeBlocks(const Context& context, const BlockCodes& codes, const BlockFormat& format, int64_t m, int64_t n,
                      float* w) {
  const int64_t blocks = format.blocks(n);
  context.team.ranges(m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      for (int64_t b = 0; b < blocks; b++) {
        const int64_t at = i * blocks + b, first = b * format.block, count = std::min(format.block, n - first);
        const uint8_t* from = codes.codes + at * format.block;
        float* to = w + i * n + first;
        const float scale = codes.scales[at];
        const int zero = codes.zeros[at];
        for (int64_t j = 0; j < count; j++) to[j] = static_cast<float>(from[j] - zero) * scale;
      }
    }
  });
}

void packBlocks(const Context& context, const BlockCodes& codes, const BlockFormat& format, int64_t m, int64_t n,
                uint8_t* packed, uint8_t* zeros) {
  const int64_t blocks = format.blocks(n), bytes = format.bytesOfBlock(), zeroBytes = format.bytesOfZeros(n);
  context.team.ranges(m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * blocks; i < end * blocks; i++) {
      pack(codes.codes + i * format.block, format.block, format.bits, 0, packed + i * bytes, bytes);
    }
    if (!zeros) return;
    for (int64_t i = begin; i < end; i++) {
      pack(codes.zeros + i * blocks, blocks, format.bits, static_cast<uint8_t>(format.middle()), zeros + i * zeroBytes,
           zeroBytes);
    }
  });
}

} // namespace lowrank
