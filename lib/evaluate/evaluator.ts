import { ArgumentError } from '../errors.js';
import { callback, checkOptions, listOf, number, type OptionTypes, oneOf, optionsOf } from '../options.js';
import { ASK_OPTIONS, type AskOptions, type Engine, type Session } from './engines/engine.js';
import type { TokenProgress } from './engines/token-progress.js';
import { BOOTSTRAP_OPTIONS, type BootstrapOptions } from './metrics/bootstrap.js';
import type { Compat } from './metrics/compat.js';
import { laserSummary } from './metrics/laser-summary.js';
import { type Interval, shareInterval } from './metrics/proportion.js';
import { METRICS, type Metric, type Summary, summariseResults } from './metrics/summary.js';
import type { Question } from './questions/question.js';
import type { ExampleResult } from './result.js';

/** The progress of an evaluation. */
export interface EvaluateProgress {
  /** The number of answered questions, and of all. */
  readonly done: number;
  readonly total: number;
  /** The share of correct answers so far; undefined if that is unknown. */
  readonly accuracy: number | undefined;
  /** Its 95 % interval, as if the questions so far were drawn at random. */
  readonly accuracyInterval: Interval | undefined;
  /** The progress inside a batch; undefined for a program, and before the first tokens have run. */
  readonly tokens: TokenProgress | undefined;
  /** Seconds since the evaluation started. */
  readonly seconds: number;
  /** Estimated from tokens, or else from questions; undefined until there is something to go by. */
  readonly remainingSeconds: number | undefined;
}

export interface EvaluateOptions extends Omit<AskOptions, 'onTokens'> {
  /** The metrics for summariseResults; by default all that the results allow. */
  readonly metrics?: readonly Metric[];
  /** The largest number of questions; the first ones are used. */
  readonly limit?: number;
  /** How intervals are drawn. */
  readonly bootstrap?: Omit<BootstrapOptions, 'signal'>;
  readonly onProgress?: (progress: EvaluateProgress) => void;
}

const { signal: _, ...DRAW_OPTIONS } = BOOTSTRAP_OPTIONS;
const { onTokens: __, ...ASKING } = ASK_OPTIONS;
const EVALUATE_OPTIONS: OptionTypes<EvaluateOptions> = {
  ...ASKING,
  metrics: listOf(oneOf(METRICS)),
  limit: number,
  bootstrap: optionsOf<Omit<BootstrapOptions, 'signal'>>(DRAW_OPTIONS),
  onProgress: callback,
};

/** The results of a model on a question set. */
export interface Evaluation {
  readonly checkpoint: string;
  readonly engine: Engine['name'];
  readonly results: readonly ExampleResult[];
  readonly summary: Summary;
  /** LASER's own dictionary; undefined unless `compat` requests it. */
  readonly laser: Readonly<Record<string, number | null>> | undefined;
  /** Numbers that a program printed for the whole set. */
  readonly reported: Readonly<Record<string, number>> | undefined;
  readonly compat: Compat | undefined;
  readonly seconds: number;
}

/**
 * Asks models questions on one engine. What the engine starts (a runtime, the tokens of questions)
 * serves all checkpoints of the evaluator, so many candidates on the same questions cost little
 * more than their answers. Close it after use.
 *
 * ```ts
 * const evaluator = new Evaluator(llamaEngine()); const { questions } = await
 * loadQuestions('fever.jsonl'); const { summary, results } = await evaluator.evaluate('model.gguf',
 * splitQuestions(questions, 'validation')); await evaluator.close();
 * ```
 */
export class Evaluator {
  readonly engine: Engine;

  /** @throws {@link ArgumentError} if `engine` is not an engine. */
  constructor(engine: Engine) {
    if (typeof (engine as Partial<Engine> | null | undefined)?.open !== 'function') {
      throw new ArgumentError('engine', 'an engine, such as llamaEngine()', engine);
    }
    this.engine = engine;
  }

  /**
   * Loads a checkpoint, asks it the questions, and unloads it. An open session is asked as it is
   * and stays open: change its files, `reload()` it and evaluate again.
   *
   * @throws {@link LowRankError} `ERR_PEER`, `ERR_ENGINE`, `ERR_DATASET` for a question that does
   *   not fit the model; the signal's reason when aborted.
   */
  async evaluate(
    checkpoint: string | Session,
    questions: readonly Question[],
    options?: EvaluateOptions,
  ): Promise<Evaluation> {
    const given = checkOptions(options, EVALUATE_OPTIONS, 'evaluate');
    checkLimit(given.limit);
    given.signal?.throwIfAborted();
    if (typeof checkpoint !== 'string') return this.#ask(checkpoint, questions, given);
    const session = await this.engine.open(checkpoint);
    try {
      return await this.#ask(session, questions, given);
    } finally {
      await session.close();
    }
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  async #ask(session: Session, all: readonly Question[], options: EvaluateOptions): Promise<Evaluation> {
    const { metrics, limit, bootstrap, onProgress, ...ask } = options;
    const questions = limit === undefined ? all : all.slice(0, limit);
    const progress = new AnswerCounter(questions.length, onProgress);
    const results: ExampleResult[] = [];
    progress.report();
    const onTokens = onProgress && progress.tokens;
    for await (const result of session.ask(questions, { ...ask, onTokens })) {
      results.push(result);
      progress.count(result);
    }
    ask.signal?.throwIfAborted();
    return {
      checkpoint: session.checkpoint,
      engine: this.engine.name,
      results,
      summary: await summariseResults(results, { ...bootstrap, metrics, signal: ask.signal }),
      laser: ask.compat === 'laser' ? laserSummary(results) : undefined,
      reported: session.reported,
      compat: ask.compat,
      seconds: progress.seconds,
    };
  }
}

function checkLimit(limit: number | undefined): void {
  if (limit !== undefined && !(Number.isInteger(limit) && limit > 0)) {
    throw new ArgumentError('limit', 'a whole number of at least 1', limit);
  }
}

/** Counts answers, and reports them to the caller. */
class AnswerCounter {
  readonly #total: number;
  readonly #onProgress: ((progress: EvaluateProgress) => void) | undefined;
  readonly #started = performance.now();
  #done = 0;
  #judged = 0;
  #correct = 0;
  #tokens: TokenProgress | undefined;

  constructor(total: number, onProgress: ((progress: EvaluateProgress) => void) | undefined) {
    this.#total = total;
    this.#onProgress = onProgress;
  }

  get seconds(): number {
    return (performance.now() - this.#started) / 1000;
  }

  count({ correct }: ExampleResult): void {
    this.#done++;
    if (correct !== undefined) this.#judged++;
    if (correct) this.#correct++;
    this.report();
  }

  readonly tokens = (tokens: TokenProgress): void => {
    this.#tokens = tokens;
    this.report();
  };

  report(): void {
    const { seconds } = this;
    const isOver = this.#done === this.#total;
    const byQuestions = this.#done === 0 ? undefined : (seconds * (this.#total - this.#done)) / this.#done;
    this.#onProgress?.({
      done: this.#done,
      total: this.#total,
      accuracy: this.#judged === 0 ? undefined : this.#correct / this.#judged,
      accuracyInterval: this.#judged === 0 ? undefined : shareInterval(this.#correct, this.#judged),
      tokens: this.#tokens,
      seconds,
      remainingSeconds: isOver ? 0 : this.#tokens === undefined ? byQuestions : this.#tokens.remainingSeconds,
    });
  }
}
