/**
 * Low-rank approximation of model weights: `tensor`, `svd`, `factorize`, `laser` on arrays, `editCheckpoint` on whole
 * models, over LAPACK and OpenBLAS.
 *
 * @module
 */

// The exports stand in the order in which data travels, from the ground floor up. Faults, and how calls are made:

export type { CallOptions } from './addon/call.js';
export { ArgumentError, CheckpointError, type ErrorCode, LowRankError } from './errors.js';

// Numbers.

export type { DType, FloatDType } from './tensor/dtype.js';
export { type Tensor, type TensorLike, tensor } from './tensor/tensor.js';

// Memory.

export { type MemoryUsage, memoryUsage, resetNativePeak } from './memory/usage.js';

// Files.

export type { Checkpoint, TensorInfo } from './checkpoint/checkpoint.js';
export { open as openCheckpoint } from './checkpoint/open.js';

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

export type { ComputeOptions, Method } from './lowrank/approximate.js';
export type { Certificate } from './lowrank/certificate.js';
export { estimateMemory, type MemoryEstimate } from './lowrank/estimate.js';
export { factorize, factorizeSync } from './lowrank/factorize.js';
export { LowRank } from './lowrank/factors.js';
export { type Certified, Laser, type LaserOptions, laser, laserSync } from './lowrank/laser.js';
export { breakEvenRank, type RankChoice, rankOfFraction, rankOfRate } from './lowrank/rank.js';
export { analyseSpectrum, type Spectrum } from './lowrank/spectrum.js';

// Models: which tensors are which matrices.

export { FAMILIES, type Family, type Fusion, type Layout, type Part, type Stored } from './model/families.js';
export { Model, type Target } from './model/model.js';
export type { Range, Slice } from './model/slice.js';
export type { GroupType, LayerType, MatrixType } from './model/types.js';

// Jobs on whole checkpoints.

export {
  type InspectedTensor,
  type InspectOptions,
  type InspectReport,
  inspectCheckpoint,
  type MatrixSpectrum,
} from './edit/inspect.js';
export type { Edit, EditPlan, PlanOptions, PredictedMemory } from './edit/plan.js';
export type { EditProgress } from './edit/progress.js';
export { type EditedMatrix, type EditOptions, type EditReport, editCheckpoint, planCheckpoint } from './edit/run.js';
export {
  type Amount,
  type Intervention,
  type InterventionKind,
  type PaperFlags,
  paperIntervention,
  parseAt,
  parseTensorSpec,
  type Selection,
} from './edit/spec.js';
