// Weights as whole numbers of a few bits, in blocks of inputs that share a scale: the format of
// ONNX Runtime's MatMulNBits. A weight is (code - zero) scale.
#pragma once

#include <cstdint>

namespace lowrank {

struct BlockFormat {
  int bits;       // of a code: 2, 4 or 8
  int64_t block;  // inputs that share a scale
  bool symmetric; // the zero point is the middle of all codes; otherwise each block has its own
  bool half;      // scales are representable in float16

  int top() const { return (1 << bits) - 1; } // the largest code
  int middle() const { return 1 << (bits - 1); }
  int64_t blocks(int64_t n) const { return (n + block - 1) / block; }
  // Codes are packed from the lowest bits of a byte on, in blocks of whole bytes; zeros fill the
  // last block.
  int64_t bytesOfBlock() const { return block * bits / 8; }
  int64_t bytesOfCodes(int64_t n) const { return blocks(n) * bytesOfBlock(); }
  int64_t bytesOfZeros(int64_t n) const { return (blocks(n) * bits + 7) / 8; }
};

// A matrix of m rows in such a format, not packed: a byte for each code, m x blocks x block; for
// each block a scale and a zero point, m x blocks.
struct BlockCodes {
  uint8_t* codes;
  float* scales;
  uint8_t* zeros;
};

} // namespace lowrank
