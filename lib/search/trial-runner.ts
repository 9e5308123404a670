import { homedir } from 'node:os';
import { join } from 'node:path';
import { addon } from '../addon/load.js';
import type { Beside } from '../addon/side-by-side.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { ArgumentError, LowRankError } from '../errors.js';
import type { Session } from '../evaluate/engines/engine.js';
import type { TokenProgress } from '../evaluate/engines/token-progress.js';
import type { Question } from '../evaluate/questions/question.js';
import { decomposeAnew } from '../interventions/apply.js';
import type { Edit } from '../interventions/edit.js';
import { editWorkingCopy, RememberedDecompositions } from './candidate-tensors.js';
import { Decompositions } from './decompositions.js';
import type { Candidate, RoundLine, SearchLine, SearchSettings, Trial, TrialMatrix, Verdict } from './log-lines.js';
import type { SearchOutput } from './output.js';
import type { ProgressReporter } from './progress.js';
import { Race } from './race.js';
import { Answers, baseOnSame, compareScores, difference } from './score.js';
import { earlyStoppingOf, type SearchOptions } from './settings.js';
import { WorkingCopy } from './working-copy.js';

/** A trial to make. */
export interface TrialPlan {
  readonly stage: Trial['stage'];
  readonly candidate?: Candidate;
  readonly edits?: readonly Edit[];
  /** Undefined for the base itself. */
  readonly base?: Trial;
  /** The best trial so far. */
  readonly rival?: Trial;
  /** The interventions already in the model. */
  readonly upon?: readonly Candidate[];
}

/** Errors that rule out one candidate, but no other. */
const CANDIDATES_OWN_FAULTS: ReadonlySet<string> = new Set(['ERR_NOT_FINITE', 'ERR_NO_CONVERGENCE', 'ERR_UNSUPPORTED']);

/**
 * Makes candidates in a working copy, asks them questions, and logs the results. Questions that an
 * earlier run has asked are not asked again, but edits that are part of the model are made again.
 */
export class Trials {
  /** All trials by number, of this run and earlier ones. */
  readonly done = new Map<number, Trial>();
  /** The trials of earlier runs. */
  readonly known: ReadonlyMap<number, Trial>;
  /** The lines of the log without its header. */
  readonly lines: SearchLine[];
  readonly #checkpoint: Checkpoint;
  readonly #output: SearchOutput;
  readonly #options: SearchOptions;
  readonly #settings: SearchSettings;
  readonly #progress: ProgressReporter;
  readonly #race: Race;
  readonly #decompositions: Decompositions;
  readonly #copy: WorkingCopy;
  readonly #session: Session;
  /** Whether the session has read the current files. */
  #fresh = true;

  private constructor(
    checkpoint: Checkpoint,
    output: SearchOutput,
    options: SearchOptions,
    settings: SearchSettings,
    progress: ProgressReporter,
    race: Race,
    copy: WorkingCopy,
    session: Session,
  ) {
    this.#checkpoint = checkpoint;
    this.#output = output;
    this.#options = options;
    this.#settings = settings;
    this.#progress = progress;
    this.#race = race;
    this.#copy = copy;
    this.#session = session;
    this.lines = [...output.earlier];
    this.known = new Map(output.earlier.flatMap((line) => (line.line === 'trial' ? [[line.number, line]] : [])));
    this.#decompositions = new Decompositions({
      limit: options.cache?.bytes ?? CACHE_BYTES,
      folder: options.cache?.folder ?? cacheFolder(),
      threads: options.threads,
      signal: options.signal,
      onProblem: (warning) => progress.report({ warning }),
    });
  }

  /** Creates the working copy, and loads it into the engine. */
  static async open(
    checkpoint: Checkpoint,
    editable: ReadonlySet<string>,
    output: SearchOutput,
    options: SearchOptions,
    settings: SearchSettings,
    progress: ProgressReporter,
  ): Promise<Trials> {
    const race = raceOf(options, settings);
    const copy = await WorkingCopy.create(checkpoint, output.candidate, editable);
    try {
      const session = await options.engine.open(copy.main);
      return new Trials(checkpoint, output, options, settings, progress, race, copy, session);
    } catch (cause) {
      await copy.remove();
      throw cause;
    }
  }

  async close(): Promise<void> {
    // A failed engine may fail again here: report the first error.
    await this.#session.close().catch(() => undefined);
    await this.#copy.remove();
  }

  /** Makes one trial, or takes it from the log of an earlier run. */
  async try(number: number, plan: TrialPlan): Promise<Trial> {
    const logged = this.known.get(number);
    const trial = logged ?? (await this.#make(number, plan));
    if (logged === undefined) {
      this.#progress.count(trial.seconds, trial.score.questions, trial.verdict);
      await this.append(trial);
    } else if (trial.accepted) await this.keep(plan.edits ?? []);
    this.done.set(number, trial);
    this.#progress.report({ trial, resumed: logged !== undefined });
    return trial;
  }

  /**
   * Edits the model permanently. The edits are computed as by `editCheckpoint`, so that further
   * candidates are tried on what will be written.
   */
  async keep(edits: readonly Edit[]): Promise<void> {
    if (edits.length > 0) this.#fresh = false;
    const { threads, signal } = this.#options;
    const { seed } = this.#settings;
    const decomposer = (_: Edit, beside: Beside) => decomposeAnew({ seed, threads, signal, ...beside });
    await editWorkingCopy(edits, this.#copy, this.#checkpoint, decomposer, threads ?? addon().info().threads);
    this.#copy.accept();
  }

  /** Restores the model of the source. */
  async reset(): Promise<void> {
    this.#fresh = false;
    await this.#copy.reset();
  }

  /** Returns the order in which the rounds of a guided search ask, as indexes in the set. */
  get roundsOrder(): readonly number[] {
    return this.#race.order(0);
  }

  /** Asks the current model all questions in their order. */
  async askAll(questions: readonly Question[]): Promise<Answers> {
    const answers = new Answers(questions.length);
    const places = questions.map((_, place) => place);
    await this.#askSome(questions, places, answers);
    return answers;
  }

  /** Copies tensors of another checkpoint into the model permanently. */
  async take(from: Checkpoint, tensors: Iterable<string>): Promise<void> {
    this.#fresh = false;
    for (const tensor of tensors) await this.#copy.write(tensor, await from.read(tensor));
    this.#copy.accept();
  }

  async append(line: SearchLine): Promise<void> {
    await this.#output.log.append(line);
    this.lines.push(line);
  }

  async #make(number: number, plan: TrialPlan): Promise<Trial> {
    const { stage, candidate, edits = [], base, rival, upon = [] } = plan;
    const answers = new Answers(this.#options.validation.questions.length);
    const made = await this.#attempt(edits, () => this.#ask(number, answers, rival));
    const { score } = answers;
    if (stage === 'base') requireScore(score);
    const isNoWorse = () => compareScores(score, rival!.score, this.#settings.objective) <= 0;
    const accepted = stage === 'greedy' ? made.verdict === 'complete' && isNoWorse() : undefined;
    if (accepted) await this.keep(edits);
    return {
      line: 'trial',
      number,
      stage,
      candidate,
      upon,
      ...made,
      score,
      change: difference(score, base === undefined ? score : baseOnSame(base, answers)),
      rival: rival?.number,
      accepted,
      outcomes: answers.outcomes.join(''),
      losses: base === undefined ? answers.losses : undefined,
    };
  }

  /** Edits the model, asks it, and restores it. */
  async #attempt(edits: readonly Edit[], ask: () => Promise<Verdict>) {
    const begin = performance.now();
    let editEnd = begin;
    let matrices: TrialMatrix[] = [];
    let verdict: Verdict = 'failed';
    let problem: string | undefined;
    try {
      try {
        matrices = await this.#apply(edits);
      } catch (error) {
        if (!(error instanceof LowRankError) || !CANDIDATES_OWN_FAULTS.has(error.code)) throw error;
        problem = error.message;
      }
      editEnd = performance.now();
      if (problem === undefined) verdict = await ask();
    } finally {
      await this.#rollback();
    }
    const seconds = { edit: (editEnd - begin) / 1000, evaluate: (performance.now() - editEnd) / 1000 };
    return { matrices, verdict, problem, seconds };
  }

  /**
   * Asks a candidate the questions of a round of a guided search, and logs the answers; or takes
   * them from the log of an earlier run.
   *
   * @param places of the questions in the set
   */
  async round(round: number, number: number, edits: readonly Edit[], places: readonly number[]): Promise<RoundLine> {
    const logged = this.lines.find((line) => line.line === 'round' && line.round === round && line.number === number);
    if (logged !== undefined) return logged as RoundLine;
    const answers = new Answers(this.#options.validation.questions.length);
    const { verdict: _, ...made } = await this.#attempt(edits, async () => {
      await this.#askSome(this.#options.validation.questions, places, answers);
      return 'complete';
    });
    this.#progress.count(made.seconds, made.problem === undefined ? places.length : 0, 'complete');
    const line: RoundLine = {
      line: 'round',
      round,
      number,
      ...made,
      outcomes: places.map((place) => answers.outcomes[place]).join(''),
      losses: places.map((place) => answers.losses[place]!),
    };
    await this.append(line);
    return line;
  }

  /** Logs a trial that consists of rounds. */
  async settle(trial: Trial): Promise<Trial> {
    const logged = this.known.get(trial.number);
    if (logged === undefined) await this.append(trial);
    this.done.set(trial.number, logged ?? trial);
    this.#progress.report({ trial: logged ?? trial, resumed: logged !== undefined });
    return logged ?? trial;
  }

  /** Asks in rounds until all is asked or the rival cannot be reached. */
  async #ask(number: number, answers: Answers, rival: Trial | undefined): Promise<Verdict> {
    const { questions } = this.#options.validation;
    const order = this.#race.order(number);
    // If only figures for the whole set are known of a rival, a part of the set cannot be compared.
    const comparable = rival !== undefined && /[01]/.test(rival.outcomes);
    let from = 0;
    for (const to of comparable ? this.#race.rounds : [order.length]) {
      await this.#askSome(questions, order.slice(from, to), answers);
      from = to;
      if (to === order.length) break;
      const verdict = this.#race.verdict(answers.outcomes, rival!.outcomes);
      if (verdict !== undefined) return verdict;
    }
    return 'complete';
  }

  async #askSome(all: readonly Question[], places: readonly number[], answers: Answers): Promise<void> {
    const { generate, compat, signal } = this.#options;
    if (!this.#fresh) await this.#session.reload();
    this.#fresh = true;
    const questions = places.map((place) => all[place]!);
    const placeOf = new Map(places.map((place) => [all[place]!.id, place]));
    const onTokens = (tokens: TokenProgress) => this.#progress.report({ tokens });
    const asking = { generate, compat, signal, top: 1, ...(this.#progress.isWatched ? { onTokens } : {}) };
    for await (const result of this.#session.ask(questions, asking)) {
      answers.put(placeOf.get(result.id)!, result);
      this.#progress.report({ asked: answers.answered });
    }
    signal?.throwIfAborted();
    answers.reported = this.#session.reported;
    answers.count(questions.length);
  }

  /**
   * Edits a candidate's matrices, with the decompositions that serve all candidates of a matrix.
   */
  async #apply(edits: readonly Edit[]): Promise<TrialMatrix[]> {
    if (edits.length > 0) this.#fresh = false;
    const remembered = new RememberedDecompositions(this.#decompositions, {
      seed: this.#settings.seed,
      threads: this.#options.threads,
      onMatrix: (line) => this.append(line),
    });
    const done = await editWorkingCopy(edits, this.#copy, this.#checkpoint, (edit) => remembered.decomposer(edit));
    return edits.map((edit, i) => ({ ...done[i]!, smallestError: remembered.smallestError(edit) }));
  }

  async #rollback(): Promise<void> {
    this.#fresh = false;
    await this.#copy.rollback();
  }
}

/** Without figures nothing can be chosen. */
function requireScore({ accuracy, logLoss, perplexity }: Trial['score']): void {
  if (accuracy !== undefined || logLoss !== undefined || perplexity !== undefined) return;
  throw new LowRankError('ERR_ENGINE', 'the engine reports neither correctness nor log-probabilities', {
    hint: 'Print `correct`, or `answerLogProb` and `answerTokens`, for each question, or `accuracy` for the whole set.',
  });
}

function raceOf(options: SearchOptions, { candidates, compose, questions, seed }: SearchSettings): Race {
  const stopping = earlyStoppingOf(options);
  const mostTrials = candidates.length * (compose === 'greedy' ? 2 : 1);
  return new Race(questions.validation.count, mostTrials, seed, stopping, stopping !== undefined);
}

const CACHE_BYTES = 2e9;

/** Returns the default folder for decompositions. */
function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'lowrank', 'svd');
}

/**
 * Checks the cache and the budget.
 *
 * @throws {@link ArgumentError} if one is invalid.
 */
export function checkLimits({ cache, budget, guided }: Pick<SearchOptions, 'cache' | 'budget' | 'guided'>): void {
  const whole = (value: number | undefined, least: number) =>
    value === undefined || (Number.isSafeInteger(value) && value >= least);
  if (!whole(cache?.bytes, 0)) throw new ArgumentError('cache.bytes', 'a whole number of bytes', cache?.bytes);
  if (guided && budget !== undefined) {
    const hint = 'The rounds of a guided search ask a third of the questions; fewer would choose by chance.';
    throw new LowRankError('ERR_ARGUMENT', 'a guided search takes no budget', { hint });
  }
  if (!whole(budget?.trials, 1)) {
    throw new ArgumentError('budget.trials', 'a whole number of at least 1', budget?.trials);
  }
  if (budget?.seconds !== undefined && !(budget.seconds > 0)) {
    throw new ArgumentError('budget.seconds', 'a number above 0', budget.seconds);
  }
}
