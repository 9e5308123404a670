/**
 * Low-rank approximation of model weights: `tensor`, `svd`, `factorize`, `laser`, over LAPACK and OpenBLAS.
 *
 * The exports stand in the order in which data travels: errors, tensors, memory, decompositions, approximations.
 *
 * @module
 */

export type { CallOptions } from './addon/call.js';
export { ArgumentError, CheckpointError, type ErrorCode, LowRankError } from './errors.js';
export { type MatmulOptions, matmul, matmulSync } from './linalg/matmul.js';
export {
  type MatrixRankOptions,
  matrixRank,
  matrixRankSync,
  type Svd,
  type SvdOptions,
  singularValues,
  singularValuesSync,
  svd,
  svdSync,
} from './linalg/svd.js';
export type { ComputeOptions, Method } from './lowrank/approximate.js';
export type { Certificate } from './lowrank/certificate.js';
export { estimateMemory, type MemoryEstimate } from './lowrank/estimate.js';
export { LowRank } from './lowrank/factors.js';
export { factorize, factorizeSync } from './lowrank/factorize.js';
export { type Certified, Laser, type LaserOptions, laser, laserSync } from './lowrank/laser.js';
export { breakEvenRank, type RankChoice, rankOfFraction, rankOfRate } from './lowrank/rank.js';
export { analyseSpectrum, type Spectrum } from './lowrank/spectrum.js';
export { type MemoryUsage, memoryUsage, resetNativePeak } from './memory/usage.js';
export { type Tensor, type TensorLike, tensor } from './tensor/tensor.js';
