// Finds the environment that holds every library to the vector instructions of a processor path.

/**
 * OpenBLAS' kernels with the instructions of each path of lowrank; undefined if OpenBLAS selects
 * one itself.
 *
 * @type {Record<string, string | undefined>}
 */
const CORETYPES = { sse2: 'Nehalem', avx2: 'Haswell', avx512: 'SkylakeX', neon: undefined, generic: undefined };

/** The variables of PyTorch and MKL, which have fewer paths. @type {Record<string, NodeJS.ProcessEnv>} */
const OTHERS = {
  sse2: { ATEN_CPU_CAPABILITY: 'default', MKL_ENABLE_INSTRUCTIONS: 'SSE4_2' },
  avx2: { ATEN_CPU_CAPABILITY: 'avx2', MKL_ENABLE_INSTRUCTIONS: 'AVX2' },
};

/**
 * Returns the variables for a path.
 *
 * @param {string} path a value of LOWRANK_SIMD
 * @returns {NodeJS.ProcessEnv}
 */
export function heldTo(path) {
  if (!(path in CORETYPES))
    throw new Error(`unknown path ${path}: expected one of ${Object.keys(CORETYPES).join(', ')}`);
  const coretype = CORETYPES[path];
  return { LOWRANK_SIMD: path, ...(coretype && { OPENBLAS_CORETYPE: coretype }), ...OTHERS[path] };
}
