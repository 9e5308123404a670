/**
 * Evaluation of models on question sets: engines, `loadQuestions`, `Evaluator`, `compareResults`.
 *
 * @module lowrank/evaluate
 */

// Engines.

export { type CommandOptions, commandEngine } from '../evaluate/engines/command.js';
export type { AskOptions, Engine, EngineName, Session } from '../evaluate/engines/engine.js';
export { type LlamaOptions, llamaEngine } from '../evaluate/engines/llama.js';
export { type OnnxOptions, onnxEngine } from '../evaluate/engines/onnx.js';

// Questions.

export { type LoadOptions, loadQuestions } from '../evaluate/questions/load.js';
export type { DatasetFormat, PromptStyle, Question, QuestionSet } from '../evaluate/questions/question.js';
export { type Split, type SplitOptions, splitQuestions } from '../evaluate/questions/split.js';

// Evaluation and metrics.

export { type EvaluateOptions, type EvaluateProgress, type Evaluation, Evaluator } from '../evaluate/evaluator.js';
export type { BootstrapOptions } from '../evaluate/metrics/bootstrap.js';
export type { Compat } from '../evaluate/metrics/compat.js';
export { laserSummary } from '../evaluate/metrics/laser-summary.js';
export {
  type Comparison,
  compareResults,
  type Estimate,
  type Metric,
  type Summary,
  summariseResults,
} from '../evaluate/metrics/summary.js';
export type { ExampleResult, LikelyToken } from '../evaluate/result.js';
