/**
 * Evaluation of models: engines, `loadQuestions`, `Evaluator`, `compareResults`; and `compare`,
 * which sets models beside the one that they were made from.
 *
 * @module lowrank/evaluate
 */

// Engines.

export { type CommandOptions, commandEngine } from '../evaluate/engines/command.js';
export type { AskOptions, Engine, EngineName, QuestionPreview, Session } from '../evaluate/engines/engine.js';
export { type LlamaOptions, llamaEngine } from '../evaluate/engines/llama.js';
export { type OnnxOptions, onnxEngine } from '../evaluate/engines/onnx.js';
export type { OnTokens, TokenProgress } from '../evaluate/engines/token-progress.js';

// Questions.

export { applyChatTemplate, type ChatOptions } from '../evaluate/questions/chat-template.js';
export type { ColumnOptions } from '../evaluate/questions/columns.js';
export { type LoadOptions, loadQuestions } from '../evaluate/questions/load.js';
export type { DatasetFormat, PromptStyle, Question, QuestionSet } from '../evaluate/questions/question.js';
export { type Split, type SplitOptions, splitQuestions } from '../evaluate/questions/split.js';

// Evaluation and metrics.

export { type EvaluateOptions, type EvaluateProgress, type Evaluation, Evaluator } from '../evaluate/evaluator.js';
export type { BootstrapOptions } from '../evaluate/metrics/bootstrap.js';
export type { Compat } from '../evaluate/metrics/compat.js';
export { laserSummary } from '../evaluate/metrics/laser-summary.js';
export { type Interval, shareInterval } from '../evaluate/metrics/proportion.js';
export {
  type Comparison,
  compareResults,
  type Estimate,
  type Metric,
  type Summary,
  summariseResults,
} from '../evaluate/metrics/summary.js';
export type { ExampleResult, LikelyToken } from '../evaluate/result.js';

// Comparison of models.

export {
  type ComparedModel,
  type CompareOptions,
  type CompareProgress,
  compare,
  type ModelComparison,
} from '../evaluate/compare/compare.js';
export type { OutputKind, Quality } from '../evaluate/compare/quality.js';
export type { ModelSize } from '../evaluate/compare/size.js';
export type { Latency, Speed } from '../evaluate/compare/speed.js';
export { loadTexts, type TextOptions } from '../evaluate/compare/texts.js';
