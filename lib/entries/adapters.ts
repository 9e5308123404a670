/**
 * LoRA adapters in PEFT's form and in GGUF: `readAdapter`, `writeAdapter`, `convertLora`,
 * `mergeLoras`, `resizeLora`, `extractLora`, `applyLoras`, `correctQuantization`.
 *
 * @module lowrank/adapters
 */

// Adapter files.

export {
  adapterObstacles,
  type LoraAdapter,
  type LoraKind,
  type LoraModule,
  type LoraTensor,
  loraDelta,
} from '../adapters/adapter.js';
export { type ConvertLoraOptions, convertLora, type LoraForm } from '../adapters/convert.js';
export { readAdapter, writeAdapter } from '../adapters/files.js';

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
  type PlanLorasOptions,
  type PlannedWeight,
  planLoras,
  type ScaledLora,
} from '../adapters/merge-checkpoint.js';
export type { Shortfall } from '../adapters/shortfall.js';

// Corrections of quantised models.

export {
  type CorrectedWeight,
  type Correction,
  type CorrectOptions,
  correctQuantization,
} from '../compress/correct.js';
