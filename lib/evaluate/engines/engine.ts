import { abortSignal, type OptionTypes, oneOf, text, wholeNumber } from '../../options.js';
import { COMPATS, type Compat } from '../metrics/compat.js';
import type { Question } from '../questions/question.js';
import type { ExampleResult } from '../result.js';
import { ON_TOKENS, type OnTokens } from './token-progress.js';

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
  /** Called while a batch of questions runs. Not called by the engine `command`. */
  readonly onTokens?: OnTokens;
}

export const ASK_OPTIONS: OptionTypes<AskOptions> = {
  generate: wholeNumber(0),
  top: wholeNumber(0),
  compat: oneOf(COMPATS),
  signal: abortSignal,
  onTokens: ON_TOKENS,
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
  /**
   * Returns what the model sees of a question and what is scored, without running it; undefined if
   * a program tokenises the questions.
   */
  preview?(question: Question): Promise<QuestionPreview>;
  /** Values that a program printed for the whole set, after its last `ask`. */
  readonly reported?: Readonly<Record<string, number>>;
  close(): Promise<void>;
}

/** What a model sees of a question. */
export interface QuestionPreview {
  /** The texts of the tokens that are given, in order, with those that a tokenizer adds. */
  readonly given: readonly string[];
  /** For each choice, for the answer, or for the text: the texts of the tokens that are scored. */
  readonly scored: readonly (readonly string[])[];
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

/** All that a model returns for one sequence of tokens. */
export interface Outputs {
  /**
   * `logits`: of the next token after each token (causal), of the token in each place (masked), or
   * of the labels of the sequence, one row. `embedding`: one row, the mean over the tokens unless
   * the model has pooled them itself.
   */
  readonly kind: 'logits' | 'embedding';
  readonly rows: number;
  /** Numbers in a row. */
  readonly size: number;
  /** Row-major; for `onnx` in shared memory, so that other threads read it without a copy. */
  readonly data: Float32Array;
  readonly text: TextLikelihood;
}

/** How likely a causal model finds the tokens of a sequence. */
export interface TextLikelihood {
  /** The sum over the predicted tokens, natural logarithm. */
  readonly logProb: number;
  /** All tokens but the first; 0 unless the rows are logits of the next token. */
  readonly tokens: number;
}

/** How far the logits of a model are from another one's, over one sequence. */
export interface Divergence {
  readonly rows: number;
  /** The sum over the rows of KL(other || this), in nats. */
  readonly kl: number;
  /** The number of rows in which both have the same likeliest token. */
  readonly agreed: number;
  readonly text: TextLikelihood;
}

/** A run of a model to be timed. */
export interface TimedRun {
  /**
   * `whole`: a batch of sequences without a past, and for a causal model the logits of the last
   * tokens. `decode`: one more token after a sequence that the model has seen; batch 1.
   */
  readonly kind: 'whole' | 'decode';
  /** Sequences of one length. */
  readonly sequences: readonly (readonly number[])[];
}

/**
 * A model that maps tokens to log-probabilities: the common interface of the engines `llama` and
 * `onnx`.
 */
export interface TokenModel {
  readonly kind: 'causal' | 'masked';
  /** Whether it keeps the tokens that a request shares with the one before it. */
  readonly keepsStart?: boolean;
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
  /**
   * Tokenises each text, without prefix and suffix.
   *
   * @param special whether special tokens count as such where a text has their words; a tokenizer
   *   of the engine `onnx` always does that
   */
  encode(texts: readonly string[], special?: readonly boolean[]): Promise<number[][]>;
  decode(sequences: readonly (readonly number[])[]): Promise<string[]>;
  /**
   * Runs requests, and returns the scores in their order.
   *
   * @param onRan called with the numbers of tokens and requests that have run since the last call
   */
  score(
    requests: readonly ScoreRequest[],
    signal?: AbortSignal,
    onRan?: (tokens: number, requests: number) => void,
  ): Promise<Scores[][]>;
  /** Runs one sequence, and returns everything. */
  outputs(tokens: readonly number[]): Promise<Outputs>;
  /**
   * Runs one sequence, and compares its logits with those of another model for the same tokens.
   *
   * @throws `ERR_UNSUPPORTED` if the two outputs have different shapes.
   */
  diverge(tokens: readonly number[], from: Outputs): Promise<Divergence>;
  /**
   * Returns the milliseconds of a run; undefined if the model cannot run so, such as `decode`
   * without a cache of keys and values.
   */
  time(run: TimedRun): Promise<number | undefined>;
  reload(): Promise<void>;
  close(): Promise<void>;
}
