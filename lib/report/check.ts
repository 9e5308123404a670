import type { EditReport } from '../edit/run.js';
import { KINDS } from '../edit/spec.js';
import { CheckpointError, describe } from '../errors.js';
import { METRICS } from '../evaluate/metrics/summary.js';
import type { SearchHeader, SearchLine } from '../search/trial.js';

/** Says what is wrong with a value, or nothing. `at` is where it stands. */
type Check = (value: unknown, at: string) => string | undefined;

/**
 * Holds a log against what a report needs of it, so that a file that is damaged or something else is refused with the place
 * of the fault.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `NotALog`.
 */
export function checkSearchLog(lines: readonly [SearchHeader, ...SearchLine[]], file: string): void {
  for (const [i, line] of lines.entries()) refuse(LINES[line.line](line, `line ${i + 1}`), file);
}

/** @throws {@link CheckpointError} `ERR_OUTPUT`, kind `NotALog`. */
export function checkEditReport(value: unknown, file: string): asserts value is EditReport {
  refuse(EDIT_REPORT(value, ''), file);
}

function refuse(fault: string | undefined, file: string): void {
  if (fault === undefined) return;
  throw new CheckpointError('ERR_OUTPUT', 'NotALog', file, fault, {
    hint: 'Give the folder of a search, its trials.jsonl, or what `lowrank laser --json` printed.',
  });
}

const kind =
  (type: 'number' | 'string' | 'boolean'): Check =>
  (value, at) =>
    typeof value === type ? undefined : `${at}: expected a ${type}, got ${describe(value)}`;
const [aNumber, aString, aBoolean] = [kind('number'), kind('string'), kind('boolean')];

const optional =
  (check: Check): Check =>
  (value, at) =>
    value === undefined ? undefined : check(value, at);

/** JSON says null of a number that is infinite. */
const orInfinite: Check = (value, at) => (value === null ? undefined : aNumber(value, at));

const either =
  (...checks: readonly Check[]): Check =>
  (value, at) => {
    const faults = checks.map((check) => check(value, at));
    return faults.includes(undefined) ? undefined : faults.at(-1);
  };

const oneOf =
  (...words: readonly string[]): Check =>
  (value, at) =>
    words.includes(value as string) ? undefined : `${at}: expected one of ${words.join(', ')}, got ${describe(value)}`;

const list =
  (check: Check, least = 0): Check =>
  (value, at) => {
    if (!Array.isArray(value)) return `${at}: expected a list, got ${describe(value)}`;
    if (value.length < least) return `${at}: expected at least ${least}, got ${value.length}`;
    for (const [i, item] of value.entries()) {
      const fault = check(item, `${at}[${i}]`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };

const object =
  (fields: Readonly<Record<string, Check>>): Check =>
  (value, at) => {
    if (typeof value !== 'object' || value === null)
      return `${at || 'the file'}: expected an object, got ${describe(value)}`;
    for (const [name, check] of Object.entries(fields)) {
      const fault = check((value as Record<string, unknown>)[name], at === '' ? name : `${at}: ${name}`);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };

const SHAPE = list(aNumber, 2);
const SLICE = object({ axis: oneOf('rows', 'columns'), ranges: list(list(aNumber, 2)) });
const METRIC = oneOf(...METRICS);
const KIND = oneOf(...KINDS);
const CANDIDATE = object({
  kind: KIND,
  layer: aNumber,
  type: aString,
  rho: either(aNumber, list(aNumber, 2)),
  spec: aString,
});
const VALUES = { accuracy: optional(aNumber), logLoss: optional(aNumber), perplexity: optional(aNumber) };
const SCORE = object({ questions: aNumber, ...VALUES });
const MATRIX = object({
  tensor: aString,
  slice: optional(SLICE),
  shape: SHAPE,
  rank: optional(aNumber),
  relativeError: aNumber,
  keptEnergy: aNumber,
  smallestError: optional(aNumber),
  uses: optional(aNumber),
});
const QUESTIONS = object({ path: aString, digest: aString, count: aNumber, shared: optional(aNumber) });
const COMPARISON = object({
  ...{ metric: METRIC, difference: aNumber, low: aNumber, high: aNumber, pairs: aNumber, better: aNumber },
});

const numbers = (...names: readonly string[]) => object(Object.fromEntries(names.map((name) => [name, aNumber])));

const LINES: Readonly<Record<SearchLine['line'], Check>> = {
  search: object({
    lowrank: aString,
    digest: aString,
    started: aString,
    command: optional(list(aString)),
    settings: object({
      source: object({ path: aString, format: aString, digest: aString }),
      family: aString,
      engine: aString,
      questions: object({ validation: QUESTIONS, test: optional(QUESTIONS) }),
      objective: oneOf('accuracy', 'perplexity'),
      candidates: list(CANDIDATE),
      compose: aString,
      quant: optional(aString),
      shared: optional(aBoolean),
      seed: aNumber,
      earlyStopping: optional(numbers('error', 'first')),
      generate: optional(aNumber),
      compat: optional(aString),
    }),
  }),
  matrix: object({
    ...{ tensor: aString, slice: optional(SLICE), shape: SHAPE, singularValues: list(aNumber) },
    ...{ from: oneOf('computed', 'disk'), seconds: aNumber },
  }),
  trial: (value, at) =>
    object({
      number: aNumber,
      stage: oneOf('base', 'grid', 'greedy'),
      candidate: (value as { stage?: unknown }).stage === 'base' ? optional(CANDIDATE) : CANDIDATE,
      upon: list(CANDIDATE),
      matrices: list(MATRIX),
      verdict: oneOf('complete', 'hopeless', 'behind', 'failed'),
      problem: optional(aString),
      score: SCORE,
      change: object(VALUES),
      rival: optional(aNumber),
      accepted: optional(aBoolean),
      seconds: numbers('edit', 'evaluate'),
    })(value, at),
  test: object({
    winner: aNumber,
    interventions: list(CANDIDATE),
    base: optional(SCORE),
    edited: optional(SCORE),
    comparisons: list(COMPARISON),
    validation: list(COMPARISON),
    counts: object({
      ...{ trials: aNumber, stopped: aNumber, asked: aNumber, svds: numbers('computed', 'disk', 'memory') },
    }),
    memory: numbers('peakRss', 'nativePeak'),
    ended: aString,
    seconds: numbers('svd', 'edit', 'evaluate', 'test', 'total'),
  }),
};

const EDIT_REPORT = object({
  source: aString,
  out: aString,
  main: aString,
  others: list(aString),
  family: optional(aString),
  options: object({
    ...{ family: optional(aString), method: optional(aString), seed: optional(aNumber), threads: optional(aNumber) },
    ...{ maxMemory: optional(aNumber), quant: optional(aString), shared: optional(aBoolean) },
  }),
  edits: list(
    object({
      ...{ tensor: aString, slice: optional(SLICE), layer: optional(aNumber), shape: SHAPE, dtype: aString },
      ...{ writtenAs: aString, intervention: KIND, spec: aString, rank: optional(aNumber), keptEnergy: aNumber },
      ...{ relativeError: aNumber, seconds: aNumber, uses: optional(aNumber) },
      certificate: optional(
        object({
          ...{ rank: aNumber, method: aString, relativeError: aNumber, excessBound: orInfinite },
          ...{ spectralError: aNumber, bytes: aNumber, seconds: aNumber },
        }),
      ),
    }),
  ),
  resumed: optional(numbers('tensors')),
  memory: object({
    predicted: numbers('total', 'buffers', 'native'),
    measured: numbers('peakRss', 'nativePeak'),
  }),
  seconds: aNumber,
});
