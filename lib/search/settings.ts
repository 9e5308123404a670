import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { identify } from '../checkpoint/copy/identity.js';
import { PLAN_OPTIONS } from '../edit/plan.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { ASK_OPTIONS, type Engine } from '../evaluate/engines/engine.js';
import type { Compat } from '../evaluate/metrics/compat.js';
import { type Question, repeatedIds } from '../evaluate/questions/question.js';
import { absolutePath } from '../files/files.js';
import { digestOfJson } from '../files/journal.js';
import {
  boolean,
  callback,
  checkedBelow,
  either,
  listOf,
  number,
  type OptionType,
  type OptionTypes,
  oneOf,
  optionsOf,
  text,
} from '../options.js';
import type { WritableType } from '../tensor/dtype.js';
import { packageVersion } from '../version.js';
import { GRID_OPTIONS, type GridOptions, type PlannedCandidate } from './candidates.js';
import { COMPOSITIONS, type Composition, type SearchHeader, type SearchSettings } from './log-lines.js';
import type { SearchProgress } from './progress.js';
import type { EarlyStoppingOptions } from './race.js';
import { planRounds } from './rounds.js';
import { objectiveOf } from './score.js';

/** Questions that a search asks, and their source. */
export interface QuestionPart {
  readonly questions: readonly Question[];
  /** The file, for the log. */
  readonly path?: string;
}

export interface SearchOptions extends GridOptions {
  /** Runs the candidates; the caller closes it. */
  readonly engine: Engine;
  /**
   * Engine options that affect results, in any JSON. A search can be resumed only with equal ones.
   */
  readonly engineOptions?: unknown;
  /** The questions by which a candidate is chosen. */
  readonly validation: QuestionPart;
  /** Asked once at the end, of the base and the winner. */
  readonly test?: QuestionPart;
  /** The output folder: new, empty, or with the same search in it, which is then resumed. */
  readonly out: string;
  /** The model's family, if config.json does not name it or is to be overridden. */
  readonly family?: string;
  /**
   * `greedy` adds to the best candidate those of other matrices, from late to early layers, that do
   * not hurt.
   */
  readonly compose?: Composition;
  /**
   * The type to which quantised tensors of the grid are converted: all of them, before the first
   * trial, so that base and candidates differ only by the interventions. Without it, such tensors
   * are refused.
   */
  readonly quant?: WritableType;
  /**
   * Also tries weights that several places of an ONNX graph use, edited for all of them. Without
   * it, they are refused.
   */
  readonly shared?: boolean;
  /** The seed of the orders of questions, random choices and bootstrap draws; 0 by default. */
  readonly seed?: number;
  /**
   * When hopeless candidates are stopped; `false` asks all questions. On by default, unless the
   * engine is a program, which would have to be started for each look.
   */
  readonly earlyStopping?: boolean | EarlyStoppingOptions;
  /**
   * Asks all candidates of the grid a few questions and only the best of them more, in rounds, so
   * that at most a third of the full grid's questions is asked. It may miss the winner of the full
   * grid. Off by default.
   */
  readonly guided?: boolean;
  /**
   * Ends the search after this many candidates or seconds, over all its runs; the best so far wins.
   */
  readonly budget?: { readonly trials?: number; readonly seconds?: number };
  /**
   * Where decompositions are kept between runs, and how many bytes: 2 GB by default, 0 for none.
   */
  readonly cache?: { readonly bytes?: number; readonly folder?: string };
  /**
   * The number of greedy tokens to generate for a question with an answer; by default that of the
   * question set.
   */
  readonly generate?: number;
  readonly compat?: Compat;
  /** The threads of the linear algebra. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: SearchProgress) => void;
  /** The command line, for the report. */
  readonly command?: readonly string[];
}

/** A QuestionSet is accepted directly, so other fields are not refused. */
const PART: OptionType<QuestionPart> = {
  expected: '{ questions, path }, as loadQuestions returns',
  is: (value): value is QuestionPart => {
    const { questions, path } = (value ?? {}) as Partial<QuestionPart>;
    return Array.isArray(questions) && (path === undefined || text.is(path));
  },
};

export const SEARCH_OPTIONS: OptionTypes<SearchOptions> = {
  ...GRID_OPTIONS,
  generate: ASK_OPTIONS.generate,
  compat: ASK_OPTIONS.compat,
  signal: ASK_OPTIONS.signal,
  engine: {
    expected: 'an engine, such as llamaEngine()',
    is: (value): value is Engine => typeof (value as Partial<Engine> | null)?.open === 'function',
  },
  engineOptions: checkedBelow(),
  validation: PART,
  test: PART,
  out: text,
  compose: oneOf(COMPOSITIONS),
  family: PLAN_OPTIONS.family,
  shared: PLAN_OPTIONS.shared,
  quant: PLAN_OPTIONS.quant,
  seed: PLAN_OPTIONS.seed,
  threads: PLAN_OPTIONS.threads,
  earlyStopping: either(boolean, optionsOf<EarlyStoppingOptions>({ error: number, first: number })),
  guided: boolean,
  budget: optionsOf<NonNullable<SearchOptions['budget']>>({ trials: number, seconds: number }),
  cache: optionsOf<NonNullable<SearchOptions['cache']>>({ bytes: number, folder: text }),
  onProgress: callback,
  command: listOf(text),
};

/** @throws {@link ArgumentError} if one of the options that have no default is missing. */
export function requireGiven(options: Partial<SearchOptions>): void {
  const needed = { engine: 'an engine', validation: '{ questions }', out: 'a folder' };
  for (const [name, expected] of Object.entries(needed)) {
    if (options[name as keyof typeof needed] === undefined) throw new ArgumentError(name, expected, undefined);
  }
}

/** An engine that runs another model of the folder would find every candidate equal to the base. */
export function checkEngine({ path, format }: Checkpoint, { name, runs }: Engine): void {
  if (runs === undefined || runs === format) return;
  const message = `${path}: its ${format} weights would be edited, but the engine ${name} runs .${runs} files`;
  throw new LowRankError('ERR_ARGUMENT', message, {
    hint: `Pass the .${runs} file itself. To evaluate a safetensors model, use a program that loads it (--command).`,
  });
}

/** Returns the settings of early stopping; undefined if it is off. */
export function earlyStoppingOf({ earlyStopping, engine, validation }: SearchOptions) {
  const wanted = earlyStopping ?? engine.name !== 'command';
  // The values of texts have no bounds, so they prove nothing about the remaining questions.
  if (wanted === false || objectiveOf(validation.questions) === 'perplexity') return undefined;
  const { error = 0.05, first = 32 } = wanted === true ? {} : wanted;
  return { error, first };
}

function roundsOf(candidates: number, { questions }: QuestionPart): number[] {
  return planRounds(candidates, questions.length);
}

/** Returns the first line of the log. */
export async function headerOf(
  source: string,
  checkpoint: Checkpoint,
  family: string,
  planned: readonly PlannedCandidate[],
  options: SearchOptions,
): Promise<SearchHeader> {
  const { validation, test, engine, engineOptions, compose = 'none', seed = 0, generate, compat } = options;
  if (validation.questions.length === 0) throw new ArgumentError('validation', 'at least one question', []);
  if (!Number.isSafeInteger(seed) || seed < 0) throw new ArgumentError('seed', 'a whole number of at least 0', seed);
  const part = (name: string, { questions, path = '' }: QuestionPart) => {
    // Answers are matched to questions by their ids.
    const again = repeatedIds(questions);
    if (again.length > 0) throw new ArgumentError(name, 'a unique id for each question', again);
    return { path, digest: digestOfJson(questions), count: questions.length };
  };
  const { digest } = await identify(checkpoint);
  const settings: SearchSettings = {
    source: { path: absolutePath(source), format: checkpoint.format, digest },
    family,
    engine: engine.name,
    engineOptions,
    questions: {
      validation: part('validation', validation),
      test: test && { ...part('test', test), shared: sharedQuestions(validation.questions, test.questions) },
    },
    objective: objectiveOf(validation.questions),
    candidates: planned.map(({ candidate }) => candidate),
    compose,
    quant: options.quant,
    shared: options.shared,
    seed,
    ...(options.guided ? { rounds: roundsOf(planned.length, validation) } : {}),
    earlyStopping: earlyStoppingOf(options),
    generate,
    compat,
  };
  const lowrank = packageVersion();
  return {
    line: 'search',
    version: 1,
    lowrank,
    // Locations do not affect the result.
    digest: digestOfJson({ ...settings, lowrank, source: digest, questions: digestsOf(settings) }),
    settings,
    started: new Date().toISOString(),
    command: options.command,
  };
}

/**
 * Counts test questions that are also validation questions, which have already affected the choice;
 * undefined for none.
 */
function sharedQuestions(validation: readonly Question[], test: readonly Question[]): number | undefined {
  const wording = ({ kind, prompt, choices, answer }: Question) => JSON.stringify([kind, prompt, choices, answer]);
  const known = new Set(validation.map(wording));
  const shared = test.filter((question) => known.has(wording(question))).length;
  if (shared > 0 && shared === test.length) {
    const message = `test: all ${shared} questions are also validation questions, by which the choice is made`;
    throw new LowRankError('ERR_ARGUMENT', message, { hint: 'Use other questions, or split one set.' });
  }
  return shared === 0 ? undefined : shared;
}

function digestsOf({ questions: { validation, test } }: SearchSettings) {
  return [validation.digest, test?.digest];
}
