// The scale and the zero point of one block.
#pragma once

#include <cstdint>

#include "quantize/block_format.h"

namespace lowrank {

struct BlockScale {
  float scale;
  uint8_t zero;
};

// That with which the largest number of the block is met: what MatMulNBits' own quantiser takes.
BlockScale spanningScale(const float* w, int64_t count, const BlockFormat& format);

// That with the smallest sum of weights[i] (w[i] - rounded w[i])^2 among a few dozen. Both arrays
// are padded with zeros to whole blocks.
BlockScale bestScale(const float* w, const float* weights, const BlockFormat& format);

// The nearest code: halves go away from zero.
uint8_t nearestCode(float w, const BlockScale& scale, const BlockFormat& format);

// A float32 rounded to float16, where the format wants that.
float storable(float scale, const BlockFormat& format);

} // namespace lowrank
