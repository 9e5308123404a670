// Selects the vector instructions of our own kernels. OpenBLAS selects its kernels by itself.
#pragma once

namespace lowrank {

// In ascending order on each architecture. `generic` is whatever the compiler makes of vectors of
// four floats on other processors.
enum class Simd { generic, sse2, neon, avx2, avx512 };

inline constexpr Simd kSimdPaths[] = {Simd::generic, Simd::sse2, Simd::neon, Simd::avx2, Simd::avx512};

// Returns the widest path that this processor supports, or the one that LOWRANK_SIMD in the
// environment names; read once. Throws ERR_ARGUMENT if LOWRANK_SIMD names an unknown path or one
// that this processor lacks.
Simd simd();

bool supported(Simd simd);
const char* nameOf(Simd simd);

} // namespace lowrank
