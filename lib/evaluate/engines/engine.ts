import { abortSignal, type OptionTypes, oneOf, text, wholeNumber } from '../../options.js';
import { COMPATS, type Compat } from '../metrics/compat.js';
import type { Question } from '../questions/question.js';
import type { ExampleResult } from '../result.js';

export const ENGINES = ['llama', 'onnx', 'command'] as const;
export type EngineName = (typeof ENGINES)[number];

/**
 * Runs models. An engine starts what is costly (a runtime, a worker) once and keeps it until it is
 * closed.
 */
export interface Engine {
  readonly name: EngineName;
  /** The format of the files that it runs; undefined if it may be any. */
  readonly runs?: 'gguf' | 'onnx';
  /**
   * Loads a checkpoint. Several may be open at once.
   *
   * @throws `ERR_PEER` without the package that the engine needs; `ERR_ENGINE` if the model cannot
   *   be loaded.
   */
  open(checkpoint: string): Promise<Session>;
  /** Frees the runtime, and closes all open sessions. */
  close(): Promise<void>;
}

export interface AskOptions {
  /**
   * The number of greedy tokens to generate for a question with an answer; 0 compares the answer
   * with the likeliest tokens instead.
   */
  readonly generate?: number;
  /** How many of the likeliest tokens to report; 10 by default. */
  readonly top?: number;
  readonly compat?: Compat;
  readonly signal?: AbortSignal;
}

export const ASK_OPTIONS: OptionTypes<AskOptions> = {
  generate: wholeNumber(0),
  top: wholeNumber(0),
  compat: oneOf(COMPATS),
  signal: abortSignal,
};

/** The options of the engines that run models in this process. */
export const RUNTIME_OPTIONS: OptionTypes<{ threads?: number; contextLength?: number; peers?: string }> = {
  threads: wholeNumber(1),
  contextLength: wholeNumber(1),
  peers: text,
};

/** A loaded model that can be asked questions. */
export interface Session {
  readonly checkpoint: string;
  /**
   * Yields one answer after another, in the order of the questions unless the engine is a program.
   * Leaving the loop early stops the work.
   */
  ask(questions: readonly Question[], options?: AskOptions): AsyncGenerator<ExampleResult, void, undefined>;
  /**
   * Reloads the weights from the checkpoint's files, which have changed, and keeps the rest: the
   * runtime, the tokenizer and the tokens of earlier questions. This is how a search swaps one
   * matrix.
   */
  reload(): Promise<void>;
  /** Values that a program printed for the whole set, after its last `ask`. */
  readonly reported?: Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/** A position whose next token is requested. */
export interface ReadRequest {
  /**
   * The index of a token of the request. Causal models predict the token after it, masked models
   * the one in its place.
   */
  readonly position: number;
  /** Tokens whose log-probabilities are wanted. */
  readonly targets: readonly number[];
}

/** Tokens to run, and the positions to read from the result. */
export interface ScoreRequest {
  readonly tokens: readonly number[];
  readonly reads: readonly ReadRequest[];
  /** How many of the likeliest tokens to return for each read. */
  readonly top: number;
}

/** The scores of one read of a request. */
export interface Scores {
  /** Natural logarithms, in the order of the targets. */
  readonly logProbs: readonly number[];
  readonly top: readonly { readonly token: number; readonly logProb: number }[];
}

/**
 * A model that maps tokens to log-probabilities: the common interface of the engines `llama` and
 * `onnx`.
 */
export interface TokenModel {
  readonly kind: 'causal' | 'masked';
  /** The most tokens that it accepts. */
  readonly contextLength: number;
  /** Equal for models that tokenise a text in the same way. */
  readonly tokenizer: string;
  /** Tokens before and after every text. */
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
  readonly mask: { readonly token: number; readonly text: string } | undefined;
  /** Tokens that end a generation. */
  readonly ends: Pick<ReadonlySet<number>, 'has'>;
  /** Tokenises each text, without prefix and suffix. */
  encode(texts: readonly string[]): Promise<number[][]>;
  decode(sequences: readonly (readonly number[])[]): Promise<string[]>;
  /** Runs requests, and returns the scores in their order. */
  score(requests: readonly ScoreRequest[], signal?: AbortSignal): Promise<Scores[][]>;
  reload(): Promise<void>;
  close(): Promise<void>;
}
