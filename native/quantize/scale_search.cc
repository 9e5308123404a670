#include "quantize/scale_search.h"

#include <algorithm>
#include <cmath>

#include "core/convert.h"
#include "core/lanes.h"
#include "core/simd.h"

namespace lowrank {
namespace {

// One over a scale, and a zero point, to try.
struct Candidate {
  float inverse;
  float zero;
};

using Search = void (*)(const float*, const float*, int64_t, const Candidate*, int64_t, float, Candidate&, float&);

#define PATH_FILE "quantize/scale_search_path.h"
#include "core/each_path.h"

Search choose() {
#if defined(__x86_64__)
  if (simd() == Simd::avx512) return avx512::search;
  if (simd() == Simd::avx2) return avx2::search;
#endif
  return narrow::search;
}

struct Range {
  float low, high;
};

Range rangeOf(const float* w, int64_t count) {
  Range range{0, 0};
  for (int64_t i = 0; i < count; i++) {
    range.low = std::min(range.low, w[i]);
    range.high = std::max(range.high, w[i]);
  }
  return range;
}

// Numbers of a block with a smaller scale count as 0: one over it has to be finite.
constexpr float kLeast = 0x1p-100f;
constexpr float kMostHalf = 65504;

// Scales to try, of either sign where the codes are not symmetric about the middle, and zero points
// for each.
constexpr int64_t kScales = 20;
constexpr int64_t kMostZeros = 8;

} // namespace

float storable(float scale, const BlockFormat& format) {
  if (!(std::abs(scale) >= kLeast)) return 0 * scale;
  if (!format.half) return scale;
  scale = std::clamp(scale, -kMostHalf, kMostHalf);
  uint8_t bytes[2];
  float rounded;
  fromFloat32(FloatFormat::f16, &scale, bytes, 1);
  toFloat32(FloatFormat::f16, bytes, &rounded, 1);
  return rounded;
}

BlockScale spanningScale(const float* w, int64_t count, const BlockFormat& format) {
  const Range range = rangeOf(w, count);
  if (format.symmetric) {
    const float extreme = std::abs(range.high) > std::abs(range.low) ? range.high : range.low;
    return {storable(extreme / static_cast<float>(-format.middle()), format), static_cast<uint8_t>(format.middle())};
  }
  const auto top = static_cast<float>(format.top());
  const float scale = (range.high - range.low) / top;
  const float zero = scale == 0 ? 0 : -range.low / scale;
  return {storable(scale, format), static_cast<uint8_t>(std::clamp(std::round(zero), 0.0f, top))};
}

BlockScale bestScale(const float* w, const float* weights, const BlockFormat& format) {
  static const Search search = choose();
  const BlockScale spanning = spanningScale(w, format.block, format);
  if (spanning.scale == 0) return spanning;
  // The fewer codes there are, the more it pays to cut off the largest numbers.
  const float step = 4.0f / static_cast<float>(format.top() + 1), least = 1 - 0.6f * step, most = 1 + 1.2f * step;
  const auto top = static_cast<float>(format.top());
  Candidate candidates[kScales * kMostZeros];
  int64_t count = 0;
  for (int64_t i = 0; i < kScales; i++) {
    const float share = least + (most - least) * static_cast<float>(i) / static_cast<float>(kScales - 1);
    const float inverse = share / spanning.scale;
    if (format.symmetric) {
      const auto middle = static_cast<float>(format.middle());
      candidates[count++] = {inverse, middle};
      candidates[count++] = {-inverse, middle};
      continue;
    }
    const Range range = rangeOf(w, format.block);
    // From all of the low end to all of the high end.
    const float last = std::round(-range.low * inverse), first = std::round(top - range.high * inverse);
    const float from = std::clamp(std::min(first, last), 0.0f, top), to = std::clamp(std::max(first, last), 0.0f, top);
    const auto zeros = std::min<int64_t>(kMostZeros, static_cast<int64_t>(to - from) + 1);
    for (int64_t j = 0; j < zeros; j++) {
      const float zero =
          zeros == 1 ? from : from + std::round((to - from) * static_cast<float>(j) / static_cast<float>(zeros - 1));
      candidates[count++] = {inverse, zero};
    }
  }
  Candidate best{1 / spanning.scale, static_cast<float>(spanning.zero)};
  float scale = spanning.scale;
  search(w, weights, format.block, candidates, count, top, best, scale);
  const float stored = storable(scale, format);
  if (stored == 0) return spanning;
  return {stored, static_cast<uint8_t>(best.zero)};
}

uint8_t nearestCode(float w, const BlockScale& scale, const BlockFormat& format) {
  if (scale.scale == 0) return scale.zero;
  const float code = std::round(w * (1 / scale.scale) + static_cast<float>(scale.zero));
  // Targets may have overflowed to infinities, and so to what is no number.
  return code > 0 ? static_cast<uint8_t>(std::min(code, static_cast<float>(format.top()))) : uint8_t{0};
}

} // namespace lowrank
