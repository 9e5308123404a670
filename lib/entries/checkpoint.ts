/**
 * Checkpoints on disk: `openCheckpoint`, `inspectCheckpoint`, and LASER on whole models by
 * `editCheckpoint`, on one machine or in shards on many.
 *
 * @module lowrank/checkpoint
 */

// Files.

export type {
  ByteRange,
  Checkpoint,
  FileLayout,
  FilePart,
  Format,
  ModelGraph,
  NewTensorInfo,
  Orientation,
  OtherFactors,
  QuantizedForm,
  TensorChange,
  TensorInfo,
  UnlistedTensors,
} from '../checkpoint/checkpoint.js';
export type { ResumedWork } from '../checkpoint/copy/edit-copy.js';
export type { OutputSummary } from '../checkpoint/copy/output-summary.js';
export { type UnfinishedWork, unfinishedWork } from '../checkpoint/copy/staging.js';
export { open as openCheckpoint } from '../checkpoint/open.js';
export type {
  DType,
  FloatDType,
  OnnxType,
  OpaqueType,
  QuantizedType,
  ReadableType,
  StoredType,
  WritableType,
} from '../tensor/dtype.js';

// Models: which tensors hold which matrices.

export { FAMILIES } from '../model/families/families.js';
export type {
  Family,
  FusedPart,
  Fusion,
  GgufSupport,
  MatrixLocation,
  TensorNaming,
} from '../model/families/family.js';
export type { LayerRange, Layers } from '../model/layers.js';
export { Model, type Role, type Target } from '../model/model.js';
export type { SkippedTensors } from '../model/names.js';
export type { GroupType, LayerType, MatrixType } from '../model/types.js';
export type { Range, Slice } from '../tensor/slice.js';

// Inspection.

export {
  type InspectedTensor,
  type InspectOptions,
  type InspectReport,
  inspectCheckpoint,
  type MatrixSpectrum,
  type TensorGroup,
} from '../inspect/inspect.js';

// LASER: interventions, plan and run.

export type { MethodChoice } from '../edit/budget.js';
export {
  type CheckpointPlan,
  type EditedMatrix,
  type EditOptions,
  type EditReport,
  editCheckpoint,
  planCheckpoint,
} from '../edit/edit-checkpoint.js';
export type { EditPlan, PlanOptions, PredictedMemory, Settings } from '../edit/plan.js';
export type { Amount } from '../interventions/amount.js';
export type { Edit } from '../interventions/edit.js';
export type { InterventionKind } from '../interventions/kinds/kinds.js';
export {
  type Intervention,
  type PaperFlags,
  paperIntervention,
  parseAt,
  parseTensorSpec,
  type Selection,
} from '../interventions/spec.js';
export type { EditProgress } from '../progress.js';

// One job on many machines.

export {
  type CompressPlan,
  type CompressPlanOptions,
  type CompressTask,
  planCompression,
  readCompressPlan,
  writeCompressPlan,
} from '../shards/compress-plan.js';
export {
  type CompressShardOptions,
  type CompressShardReport,
  type MergeCompressionOptions,
  mergeCompression,
  runCompressShard,
} from '../shards/compress-shard.js';
export { type JobPlan, type JobPlanOptions, planJob, readPlan, type ShardTask, writePlan } from '../shards/job-plan.js';
export { type MergeShardsOptions, type MergeShardsReport, mergeShards } from '../shards/merge-shards.js';
export { runShard, type ShardOptions, type ShardReport } from '../shards/run-shard.js';

// Compression of whole models.

export type { Budget } from '../compress/budget.js';
export { type CalibrateOptions, type CalibrateReport, calibrate } from '../compress/calibrate.js';
export type { LayerLatency, Weighting } from '../compress/choose.js';
export { compressCheckpoint } from '../compress/compress.js';
export type { Dtype } from '../compress/dtype-folder.js';
export { type ExpandedLayer, type ExpandOptions, type ExpandReport, expandCheckpoint } from '../compress/expand.js';
export type { CompressChoices, CompressOptions, Preset } from '../compress/options.js';
export type { OutputChange } from '../compress/output-change.js';
export type { Storage } from '../compress/ranks.js';
export type { CompressedLayer, CompressReport } from '../compress/report.js';
export type { LeftOut } from '../compress/select.js';
export type { StoredAs } from '../compress/stored.js';
export type { BlockFormat, BlockSize, CodeBits } from '../quantize/block-format.js';
