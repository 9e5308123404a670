// The vector instructions that our own kernels use. OpenBLAS chooses its kernels by itself.
#pragma once

namespace lowrank {

// In ascending order on each architecture. `generic` is whatever the compiler makes of vectors of four floats on other
// processors.
enum class Simd { generic, sse2, neon, avx2, avx512 };

inline constexpr Simd kSimdPaths[] = {Simd::generic, Simd::sse2, Simd::neon, Simd::avx2, Simd::avx512};

// The widest that this processor has, or the one that LOWRANK_SIMD in the environment names. Read once. Throws
// ERR_ARGUMENT where LOWRANK_SIMD names none or one that this processor lacks.
Simd simd();

bool supported(Simd simd);
const char* nameOf(Simd simd);

} // namespace lowrank
