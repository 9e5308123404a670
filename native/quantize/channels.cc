#include "quantize/channels.h"

#include <algorithm>
#include <cmath>

#include "core/convert.h"
#include "core/norms.h"

namespace lowrank {
namespace {

constexpr float kMostCode = 127;
// 255 times this fits into 16 bits.
constexpr float kMostPair = 128;
// Half a unit for the rounding of each of two codes.
constexpr float kRoundings = 1;
constexpr float kMostHalf = 65504;

// The smallest number of float16 that is at least as large, for numbers that are not negative.
float halfFrom(float value) {
  if (value >= kMostHalf) return kMostHalf;
  uint8_t bytes[2];
  float rounded;
  fromFloat32(FloatFormat::f16, &value, bytes, 1);
  toFloat32(FloatFormat::f16, bytes, &rounded, 1);
  if (rounded >= value) return rounded;
  if (++bytes[0] == 0) bytes[1]++;
  toFloat32(FloatFormat::f16, bytes, &rounded, 1);
  return rounded;
}

} // namespace

void quantizeChannels(const Context& context, ConstMatrix w, int8_t* codes, float* scales) {
  requireFinite(w, context.team);
  const int64_t m = w.rows, n = w.cols;
  context.team.ranges(m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const float* row = w.row(i);
      float single = 0, pair = 0;
      for (int64_t j = 0; j < n; j++) {
        const float size = std::abs(row[j]);
        single = std::max(single, size);
        if (j % 2 == 1) pair = std::max(pair, size + std::abs(row[j - 1]));
      }
      const float scale = halfFrom(std::max(single / kMostCode, pair / (kMostPair - kRoundings)));
      scales[i] = scale;
      for (int64_t j = 0; j < n; j++) {
        const float code = scale > 0 ? std::round(row[j] / scale) : 0;
        codes[j * m + i] = static_cast<int8_t>(std::clamp(code, -kMostCode, kMostCode));
      }
    }
  });
}

} // namespace lowrank
