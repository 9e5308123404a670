// Which environment holds every library to the vector instructions of a processor path.

/** OpenBLAS' kernels with the instructions of each path of lowrank's; undefined where it chooses by itself. */
const CORETYPES = { sse2: 'Nehalem', avx2: 'Haswell', avx512: 'SkylakeX', neon: undefined, generic: undefined };

/** What PyTorch and MKL are told, which know fewer paths. */
const OTHERS = {
  sse2: { ATEN_CPU_CAPABILITY: 'default', MKL_ENABLE_INSTRUCTIONS: 'SSE4_2' },
  avx2: { ATEN_CPU_CAPABILITY: 'avx2', MKL_ENABLE_INSTRUCTIONS: 'AVX2' },
};

/** @param {string} path of LOWRANK_SIMD */
export function heldTo(path) {
  if (!(path in CORETYPES)) throw new Error(`${path} is none of ${Object.keys(CORETYPES).join(', ')}`);
  const coretype = CORETYPES[path];
  return { LOWRANK_SIMD: path, ...(coretype && { OPENBLAS_CORETYPE: coretype }), ...OTHERS[path] };
}
