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

export type {
  DType,
  FloatDType,
  OnnxType,
  OpaqueType,
  QuantizedType,
  ReadableType,
  StoredType,
  WritableType,
} from './tensor/dtype.js';
export { type Tensor, type TensorLike, tensor } from './tensor/tensor.js';

// Memory.

export { type MemoryUsage, memoryUsage, resetNativePeak } from './memory.js';

// Files.

export type {
  Checkpoint,
  FileLayout,
  FilePart,
  Format,
  Orientation,
  Place,
  TensorInfo,
  UnlistedTensors,
} from './checkpoint/checkpoint.js';
export type { Resumed } from './checkpoint/copy/edit-copy.js';
export { type UnfinishedWork, unfinishedWork } from './checkpoint/copy/staging.js';
export { open as openCheckpoint } from './checkpoint/open.js';
export type { NewTensor } from './checkpoint/safetensors/file.js';

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

// Adapters and their training.

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

// Adapter files of PEFT.

export {
  adapterObstacles,
  type LoraAdapter,
  type LoraKind,
  type LoraModule,
  loraDelta,
} from './adapters/adapter.js';
export { type Merged, type MergedModule, mergeLoras, type WeightedLora } from './adapters/combine.js';
export type { ExtractChoice } from './adapters/extract.js';
export { readAdapter, writeAdapter } from './adapters/peft.js';
export { type LoraJobOptions, type Resized, type ResizedModule, resizeLora } from './adapters/resize.js';
export type { Shortfall } from './adapters/shortfall.js';
export type { LoraRankChoice } from './adapters/truncate.js';

// Models: which tensors are which matrices.

export { FAMILIES, type Family, type Fusion, type Layout, type Part, type Stored } from './model/families.js';
export { Model, type Role, type Target } from './model/model.js';
export type { Skipped } from './model/names.js';
export type { GroupType, LayerType, MatrixType } from './model/types.js';
export type { Range, Slice } from './tensor/slice.js';

// Jobs on whole checkpoints.

export type { Choice } from './edit/budget.js';
export type { Edit, EditPlan, PlanOptions, PredictedMemory, Settings } from './edit/plan.js';
export {
  type CheckpointPlan,
  type EditedMatrix,
  type EditOptions,
  type EditReport,
  editCheckpoint,
  planCheckpoint,
} from './edit/run.js';
export {
  type InspectedTensor,
  type InspectOptions,
  type InspectReport,
  inspectCheckpoint,
  type MatrixSpectrum,
} from './inspect/inspect.js';
export {
  type Amount,
  type Intervention,
  type InterventionKind,
  type PaperFlags,
  paperIntervention,
  parseAt,
  parseTensorSpec,
  type Selection,
} from './interventions/spec.js';
export type { EditProgress } from './progress.js';
export { type MergeShardsOptions, type MergeShardsReport, mergeShards } from './shards/merge.js';
export {
  type JobPlan,
  type JobPlanOptions,
  planJob,
  readPlan,
  type Task,
  writePlan,
} from './shards/plan.js';
export { runShard, type ShardOptions, type ShardReport } from './shards/run.js';

// Adapters out of checkpoints and into them.

export {
  type Extracted,
  type ExtractedModule,
  type ExtractOptions,
  type ExtractPlan,
  extractLora,
  type PlannedModule,
  planExtract,
  type UncoveredTensor,
} from './adapters/extract-checkpoints.js';
export {
  type AppliedWeight,
  type ApplyOptions,
  type ApplyPlan,
  type ApplyReport,
  applyLoras,
  type PlannedWeight,
  planLoras,
  type ScaledLora,
} from './adapters/merge-checkpoint.js';

// Questions put to models.

export { type CommandOptions, commandEngine } from './evaluate/engines/command.js';
export type { AskOptions, Engine, EngineName, Session } from './evaluate/engines/engine.js';
export { type LlamaOptions, llamaEngine } from './evaluate/engines/llama.js';
export { type OnnxOptions, onnxEngine } from './evaluate/engines/onnx.js';
export { type EvaluateOptions, type EvaluateProgress, type Evaluation, Evaluator } from './evaluate/evaluator.js';
export type { BootstrapOptions } from './evaluate/metrics/bootstrap.js';
export type { Compat } from './evaluate/metrics/compat.js';
export { laserSummary } from './evaluate/metrics/laser.js';
export {
  type Comparison,
  compareResults,
  type Estimate,
  type Metric,
  type Summary,
  summariseResults,
} from './evaluate/metrics/summary.js';
export { type LoadOptions, loadQuestions } from './evaluate/questions/load.js';
export type { DatasetFormat, PromptStyle, Question, QuestionSet } from './evaluate/questions/question.js';
export { type Split, type SplitOptions, splitQuestions } from './evaluate/questions/split.js';
export type { ExampleResult, LikelyToken } from './evaluate/result.js';

// The search for the intervention that helps most, and its report.

export { writeReport } from './report/report.js';
export type { GridOptions } from './search/candidates.js';
export { readSearchLog } from './search/log.js';
export type {
  Candidate,
  MatrixLine,
  Objective,
  Score,
  SearchCounts,
  SearchHeader,
  SearchLine,
  SearchSeconds,
  SearchSettings,
  SearchSummary,
  TestLine,
  Trial,
  TrialMatrix,
  Verdict,
} from './search/log-lines.js';
export type { SearchProgress } from './search/progress.js';
export type { EarlyStoppingOptions } from './search/race.js';
export { search } from './search/search.js';
export type { QuestionPart, SearchOptions } from './search/settings.js';
