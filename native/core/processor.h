// The vector instructions of the processor that the system lets programs use.
#pragma once

namespace lowrank {

struct Processor {
  bool avx2 = false; // and FMA, which every processor with AVX2 has
  bool avx512f = false;
  bool avx512 = false; // and BW, CD, DQ and VL, as every server since Skylake has
};

// Asked of the processor itself, once. `__builtin_cpu_supports` would ask the compiler's runtime,
// and that of zig 0.17 answers no to everything.
const Processor& processor();

} // namespace lowrank
