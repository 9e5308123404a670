// Converts between the float formats of checkpoints and float32. Conversions to 16 bits round to
// nearest, ties to even, as IEEE 754 and PyTorch do. Sources and targets need no alignment, because
// checkpoints promise none.
#pragma once

#include <cstdint>

namespace lowrank {

enum class FloatFormat { f64, f32, f16, bf16 };
// The names that JavaScript sees; each index is a code.
inline constexpr const char* kFloatFormatNames[] = {"F64", "F32", "F16", "BF16"};

int64_t bytesPerElement(FloatFormat format);
void toFloat32(FloatFormat from, const uint8_t* source, float* target, int64_t count);
void fromFloat32(FloatFormat to, const float* source, uint8_t* target, int64_t count);

} // namespace lowrank
