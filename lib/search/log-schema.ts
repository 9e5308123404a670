import { FORMATS } from '../checkpoint/formats.js';
import { ENGINES } from '../evaluate/engines/engine.js';
import { COMPATS } from '../evaluate/metrics/compat.js';
import { METRICS } from '../evaluate/metrics/summary.js';
import {
  aBoolean,
  aDigest,
  aFinite,
  aMagnitude,
  aName,
  anything,
  aQuantity,
  aString,
  aWhole,
  type Check,
  either,
  exactly,
  expected,
  fields,
  list,
  object,
  oneOf,
  optional,
  orNull,
} from '../files/schema.js';
import { aBand, aSeed, aShare, FAMILY, KIND, MATRIX_PLACE, WRITABLE } from '../interventions/schema.js';
import { MAX_LAYERS } from '../model/layers.js';
import { TARGET_TYPES } from '../model/types.js';
import {
  type Candidate,
  COMPOSITIONS,
  DECOMPOSITION_SOURCES,
  ENDINGS,
  nameOfCandidate,
  OBJECTIVES,
  type SearchHeader,
  type SearchLine,
  STAGES,
  VERDICTS,
} from './log-lines.js';

/** Checks the lines of `trials.jsonl`. */

/** An engine's figures may be infinite, or NaN if a model's own numbers are not finite. */
const aValue: Check = (value, at) => (typeof value === 'number' ? undefined : expected('a number', value, at));
const VALUES = fields(optional(aValue), 'accuracy', 'logLoss', 'perplexity');
const SCORE = object({ questions: aWhole(), ...VALUES });
const TYPE = oneOf(...TARGET_TYPES);
const CANDIDATE = object({
  kind: KIND,
  layer: aWhole(0, MAX_LAYERS),
  type: TYPE,
  spec: aName,
  rho: either(aBand, aShare),
});
const MATRIX = object({
  ...MATRIX_PLACE,
  rank: optional(aWhole()),
  ...fields(aQuantity, 'relativeError', 'keptEnergy'),
  smallestError: optional(aQuantity),
  uses: optional(aWhole(1)),
});
const QUESTIONS = object({ path: aString, digest: aDigest, count: aWhole(1), shared: optional(aWhole(1)) });
const COMPARISON = object({
  metric: oneOf(...METRICS),
  ...fields(aValue, 'difference', 'low', 'high'),
  pairs: aWhole(),
  better: aValue,
});

const SETTINGS = object({
  source: object({ path: aName, format: oneOf(...FORMATS.map(({ name }) => name)), digest: aDigest }),
  family: FAMILY,
  engine: oneOf(...ENGINES),
  engineOptions: anything,
  questions: object({ validation: QUESTIONS, test: optional(QUESTIONS) }),
  objective: oneOf(...OBJECTIVES),
  candidates: list(CANDIDATE, 1),
  compose: oneOf(...COMPOSITIONS),
  quant: optional(WRITABLE),
  shared: optional(aBoolean),
  seed: aSeed,
  rounds: optional(list(aWhole(1), 1)),
  earlyStopping: optional(object({ error: aFinite(0, 1), first: aWhole(1) })),
  generate: optional(aWhole()),
  compat: optional(oneOf(...COMPATS)),
});

const LINES: Readonly<Record<SearchLine['line'], Check>> = {
  search: object({
    version: exactly(1),
    lowrank: aString,
    digest: aDigest,
    started: aString,
    command: optional(list(aString)),
    settings: SETTINGS,
  }),
  matrix: object({
    ...MATRIX_PLACE,
    layer: aWhole(0, MAX_LAYERS),
    type: TYPE,
    singularValues: list(aMagnitude),
    from: oneOf(...DECOMPOSITION_SOURCES),
    seconds: aQuantity,
  }),
  round: object({
    round: aWhole(1),
    number: aWhole(1),
    matrices: list(MATRIX),
    problem: optional(aString),
    outcomes: aString,
    losses: list(orNull(list(aValue, 2, 2))),
    seconds: object(fields(aQuantity, 'edit', 'evaluate')),
  }),
  trial: object({
    number: aWhole(),
    stage: oneOf(...STAGES),
    candidate: optional(CANDIDATE),
    upon: list(CANDIDATE),
    matrices: list(MATRIX),
    verdict: oneOf(...VERDICTS),
    problem: optional(aString),
    score: SCORE,
    change: object(VALUES),
    rival: optional(aWhole()),
    accepted: optional(aBoolean),
    outcomes: aString,
    losses: optional(list(orNull(list(aValue, 2, 2)))),
    seconds: object(fields(aQuantity, 'edit', 'evaluate')),
  }),
  test: object({
    winner: aWhole(),
    interventions: list(CANDIDATE),
    base: optional(SCORE),
    edited: optional(SCORE),
    comparisons: list(COMPARISON),
    validation: list(COMPARISON),
    ended: oneOf(...ENDINGS),
    counts: object({
      ...fields(aWhole(), 'trials', 'stopped', 'asked'),
      outranked: optional(aWhole()),
      svds: object(fields(aWhole(), 'computed', 'disk', 'memory')),
    }),
    memory: object(fields(aWhole(), 'peakRss', 'nativePeak')),
    seconds: object(fields(aQuantity, 'svd', 'edit', 'evaluate', 'test', 'total')),
  }),
};

const WORDS = Object.keys(LINES);

/**
 * Checks that the lines of a log are those that a search writes: each by itself, and against those
 * before it.
 *
 * @returns the fault, with its line; undefined if there is none
 */
export function faultInLog(lines: readonly unknown[]): string | undefined {
  let context: LogContext | undefined;
  for (const [i, line] of lines.entries()) {
    const word = (Object(line) as SearchLine).line;
    const first = i === 0 ? 'search' : undefined;
    const fault =
      oneOf(...(first === undefined ? WORDS.slice(1) : [first]))(word, 'line') ??
      LINES[word](line, '') ??
      context?.fault(line as SearchLine);
    if (fault !== undefined) return `line ${i + 1}: ${fault}`;
    context ??= new LogContext(line as SearchHeader);
  }
  return undefined;
}

/** Tracks which line may come next. */
class LogContext {
  readonly #candidates: readonly string[];
  readonly #questions: number;
  readonly #rounds: readonly number[];
  readonly #trials = new Set<number>();
  #ended = false;

  constructor({ settings }: SearchHeader) {
    this.#candidates = settings.candidates.map(nameOfCandidate);
    this.#questions = settings.questions.validation.count;
    this.#rounds = settings.rounds ?? [];
  }

  fault(line: SearchLine): string | undefined {
    if (this.#ended) return 'expected no line after the test';
    if (line.line === 'trial') return this.#trial(line);
    if (line.line === 'round') return this.#round(line);
    if (line.line !== 'test') return undefined;
    this.#ended = true;
    return this.#known(line.winner, 'winner') ?? this.#listed(line.interventions, 'interventions');
  }

  #trial({ number, stage, candidate, upon, rival, score, outcomes, losses }: SearchLine & { line: 'trial' }) {
    const expectedStage = number === 0 ? 'base' : number <= this.#candidates.length ? 'grid' : 'greedy';
    const place = (number - 1) % this.#candidates.length;
    const own = candidate && nameOfCandidate(candidate);
    const fault =
      aWhole(0, 2 * this.#candidates.length)(number, 'number') ??
      (this.#trials.has(number) ? `number: duplicate trial ${number}` : undefined) ??
      (number > 0 ? this.#known(0, 'base') : undefined) ??
      exactly(expectedStage)(stage, 'stage') ??
      (number === 0 ? undefined : exactly(this.#candidates[place]!)(own, 'candidate')) ??
      this.#listed(upon, 'upon') ??
      (number === 0 ? undefined : this.#known(rival, 'rival')) ??
      aWhole(0, this.#questions)(score.questions, 'score: questions') ??
      (outcomes.length === this.#questions && /^[01-]*$/.test(outcomes)
        ? undefined
        : expected(`a 0, 1 or - for each of ${this.#questions} questions`, outcomes, 'outcomes')) ??
      optional(list(anything, this.#questions, this.#questions))(losses, 'losses');
    this.#trials.add(number);
    return fault;
  }

  #round({ round, number, outcomes, losses, problem }: SearchLine & { line: 'round' }) {
    const asked = (this.#rounds[round - 1] ?? 0) - (this.#rounds[round - 2] ?? 0);
    return (
      aWhole(1, this.#rounds.length)(round, 'round') ??
      aWhole(1, this.#candidates.length)(number, 'number') ??
      (problem !== undefined || (outcomes.length === asked && /^[01-]*$/.test(outcomes) && losses.length === asked)
        ? undefined
        : expected(`a 0, 1 or - and a loss for each of ${asked} questions`, outcomes, 'outcomes'))
    );
  }

  #known(trial: number | undefined, at: string): string | undefined {
    return this.#trials.has(trial!) ? undefined : expected('a trial of an earlier line', trial, at);
  }

  #listed(candidates: readonly Candidate[], at: string): string | undefined {
    const other = candidates.find((candidate) => !this.#candidates.includes(nameOfCandidate(candidate)));
    return other && expected('candidates of the search', nameOfCandidate(other), at);
  }
}
