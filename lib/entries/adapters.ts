/**
 * LoRA adapters in PEFT's form: `readAdapter`, `writeAdapter`, `mergeLoras`, `resizeLora`,
 * `extractLora`, `applyLoras`.
 *
 * @module lowrank/adapters
 */

// Adapter files.

export { adapterObstacles, type LoraAdapter, type LoraKind, type LoraModule, loraDelta } from '../adapters/adapter.js';
export { readAdapter, writeAdapter } from '../adapters/peft.js';
export type { NewTensor } from '../checkpoint/safetensors/file.js';

// Operations on adapters.

export { type MergedLora, type MergedModule, mergeLoras, type WeightedLora } from '../adapters/combine.js';
export { type LoraJobOptions, type ResizedLora, type ResizedModule, resizeLora } from '../adapters/resize.js';
export type { LoraRankChoice } from '../adapters/truncate.js';

// From checkpoints to an adapter, and from adapters into a checkpoint.

export type { ExtractChoice } from '../adapters/extract.js';
export {
  type ExtractedLora,
  type ExtractedModule,
  type ExtractOptions,
  type ExtractPlan,
  extractLora,
  type PlannedModule,
  planExtract,
  type UncoveredTensor,
} from '../adapters/extract-checkpoints.js';
export {
  type AppliedWeight,
  type ApplyOptions,
  type ApplyPlan,
  type ApplyReport,
  applyLoras,
  type PlannedWeight,
  planLoras,
  type ScaledLora,
} from '../adapters/merge-checkpoint.js';
export type { Shortfall } from '../adapters/shortfall.js';
