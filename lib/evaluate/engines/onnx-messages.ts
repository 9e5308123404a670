/** The messages between the engine `onnx` and its worker. */

import type { Divergence, Outputs, ScoreRequest, Scores, TimedRun } from './engine.js';

export interface WorkerStart {
  readonly runtime: string;
  readonly tokenizers: string;
  /** The .onnx file. */
  readonly model: string;
  readonly tokenizer: string;
  readonly tokenizerConfig: string | undefined;
  readonly kind: 'causal' | 'masked';
  readonly threads: number;
}

/** Facts that the worker finds out while loading. */
export interface WorkerFacts {
  readonly prefix: number[];
  readonly suffix: number[];
  readonly mask: { readonly token: number; readonly text: string } | undefined;
  readonly end: number | undefined;
}

export type WorkerTask =
  | { readonly kind: 'encode'; readonly texts: readonly string[] }
  | { readonly kind: 'decode'; readonly sequences: readonly (readonly number[])[] }
  | { readonly kind: 'score'; readonly requests: readonly ScoreRequest[] }
  | { readonly kind: 'outputs'; readonly tokens: readonly number[] }
  | { readonly kind: 'diverge'; readonly tokens: readonly number[]; readonly from: Outputs }
  | { readonly kind: 'time'; readonly run: TimedRun }
  | { readonly kind: 'reload' }
  | { readonly kind: 'close' };

export interface WorkerAnswers {
  encode: number[][];
  decode: string[];
  score: Scores[][];
  outputs: Outputs;
  diverge: Divergence;
  time: number | undefined;
  reload: undefined;
  close: undefined;
}

export interface Message {
  readonly number: number;
  readonly task: WorkerTask;
}

export type Reply =
  | { readonly ready: WorkerFacts }
  | { readonly number: number; readonly answer: WorkerAnswers[keyof WorkerAnswers] }
  | { readonly number: number; readonly failure: string }
  /** What a task has run since its last message; the task is not at its end. */
  | { readonly number: number; readonly ran: { readonly tokens: number; readonly requests: number } }
  | { readonly failure: string };
