/**
 * Low-rank approximation of matrices over LAPACK and OpenBLAS: `tensor`, `svd`, `factorize`,
 * `laser`, and the `Lora` module with its training. Functions that read or write files, or work on
 * whole models, are in separate entries: `lowrank/checkpoint`, `lowrank/adapters`,
 * `lowrank/evaluate` and `lowrank/search`. All of them throw the errors of this one.
 *
 * @module lowrank
 */

// Errors of all entries, and the options of calls.

export type { CallOptions } from './addon/call.js';
export { ArgumentError, CheckpointError, type ErrorCode, LowRankError } from './errors.js';

// Tensors and memory.

export { type MemoryUsage, memoryUsage, resetNativePeak } from './memory.js';
export {
  diag,
  eye,
  type ForeignTensor,
  type NestedRows,
  type NumberArray,
  type RandomOptions,
  randn,
  tensor,
  zeros,
} from './tensor/create.js';
export type { AxisRange, NestedNumbers } from './tensor/indexing.js';
export type { Strided, Strides } from './tensor/strided.js';
export { type CloseOptions, type PlainTensor, Tensor, type TensorLike } from './tensor/tensor.js';

// Decompositions.

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

// Approximations.

export type { ComputeOptions, Method, WeightOptions } from './lowrank/approximate.js';
export type { Certificate } from './lowrank/certificate.js';
export { type EstimateOptions, estimateMemory, type MemoryEstimate } from './lowrank/estimate.js';
export { factorize, factorizeSync } from './lowrank/factorize.js';
export { LowRank } from './lowrank/factors.js';
export { type Certified, Laser, type LaserOptions, laser, laserSync } from './lowrank/laser.js';
export { biasCorrection, centred, type Moments, type MomentsKind } from './lowrank/moments.js';
export { breakEvenRank, type RankChoice, rankOfFraction, rankOfRate } from './lowrank/rank.js';
export { analyseSpectrum, type Spectrum } from './lowrank/spectrum.js';

// The Lora module and its training.

export type { HookHandle } from './lora/hooks.js';
export type { LoraInit, WeightInit } from './lora/init.js';
export { type AdapterOptions, LoraLinear, type LoraLinearOptions, type LoraMergeOptions } from './lora/linear.js';
export {
  type FromWeightOptions,
  Lora,
  type LoraOptions,
  type LoraScaling,
  type ScaleOptions,
  type SplitWeight,
} from './lora/lora.js';
export type { BackwardHook, ForwardHook, ForwardOptions, ForwardPreHook, Module, PassOptions } from './lora/module.js';
export { AdamW, type AdamWOptions, clipGradNorm, type Optimizer, Sgd, type SgdOptions } from './lora/optimizer.js';
export { type GradientHook, Parameter } from './lora/parameter.js';
