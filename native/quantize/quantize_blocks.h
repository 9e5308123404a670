// Rounds a matrix to codes of a few bits in blocks along its inputs.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/matrix_view.h"
#include "lowrank/weighted.h"
#include "quantize/block_format.h"

namespace lowrank {

// How codes are chosen: `spanning` scales meet the largest number of a block, and every number is
// rounded by itself, as MatMulNBits' own quantiser does; `nearest` chooses the scales with the
// smallest error; `compensated` lets the numbers that follow make up for the error of each, by the
// second moments of all inputs.
enum class Rounding { spanning, nearest, compensated };
// The names that JavaScript sees; each index is a code.
inline constexpr const char* kRoundingNames[] = {"spanning", "nearest", "compensated"};

struct BlockRequest {
  BlockFormat format;
  Rounding rounding;
  double damping; // added to the moments of each input, as a share of their mean
  int sweeps;     // of `compensated`, over all codes again
};

// Throws ERR_ARGUMENT for moments that do not serve the rounding, or lack where it needs some.
void requireMoments(const BlockRequest& request, const Moments* moments);

// Moments of the inputs, which `compensated` needs, or their diagonal weigh the error. Throws
// ERR_NOT_FINITE, and as `requireMoments`.
void quantizeBlocks(const Context& context, ConstMatrix w, const Moments* moments, const BlockRequest& request,
                    const BlockCodes& result);

// The numbers that the codes stand for, m x n.
void dequantizeBlocks(const Context& context, const BlockCodes& codes, const BlockFormat& format, int64_t m, int64_t n,
                      float* w);

// Packs codes, m x bytesOfCodes(n), and zero points, m x bytesOfZeros(n), or none.
void packBlocks(const Context& context, const BlockCodes& codes, const BlockFormat& format, int64_t m, int64_t n,
                uint8_t* packed, uint8_t* zeros);

} // namespace lowrank
