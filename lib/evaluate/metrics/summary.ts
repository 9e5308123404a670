import { ArgumentError } from '../../errors.js';
import { checkOptions, listOf, type OptionTypes, oneOf } from '../../options.js';
import { repeatedIds } from '../questions/question.js';
import type { ExampleResult } from '../result.js';
import { BOOTSTRAP_OPTIONS, type BootstrapOptions, bootstrap, interval } from './bootstrap.js';

export const METRICS = [
  'accuracy',
  'top1',
  'top5',
  'top10',
  'choiceLogProb',
  'meanLogProb',
  'logLoss',
  'perplexity',
  'f1',
  'exactMatch',
] as const;

/**
 * - `accuracy`: share of correct answers.
 * - `top1`, `top5`, `top10`: share of answers whose first token is among the likeliest 1, 5, 10.
 * - `choiceLogProb`: mean log-probability of the right choice among the choices alone.
 * - `meanLogProb`: mean over examples of the answer's log-probability per token; `logLoss` is its
 *   negative.
 * - `perplexity`: exp of the negative log-probability per token over the tokens of all answers.
 * - `f1`, `exactMatch`: means over the examples with generated texts.
 *
 * Shares are from 0 to 1, logarithms natural.
 */
export type Metric = (typeof METRICS)[number];

/** Metrics that are better if smaller. */
export const LESS_IS_BETTER: ReadonlySet<Metric> = new Set(['logLoss', 'perplexity']);

/** A measured value, and the bootstrap's interval around it. */
export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** The number of examples behind it. */
  readonly examples: number;
}

export type Summary = Partial<Record<Metric, Estimate>>;

/**
 * The contribution of an example: the metric is the sum of the tops over the sum of the bottoms,
 * passed to `finish`.
 */
interface Share {
  readonly top: number;
  readonly bottom: number;
}

interface Definition {
  /** Undefined if the example has no information about the metric. */
  readonly of: (result: ExampleResult) => Share | undefined;
  readonly finish?: (mean: number) => number;
}

const mean = (value: number | boolean | undefined): Share | undefined =>
  value === undefined ? undefined : { top: Number(value), bottom: 1 };

const perToken = ({ answerLogProb, answerTokens }: ExampleResult) =>
  answerLogProb === undefined || answerTokens === undefined ? undefined : answerLogProb / Math.max(1, answerTokens);

const topHit = (k: number): Definition => ({
  of: ({ top, rank, answer }) =>
    top === undefined || answer === undefined || top.length < k ? undefined : mean(rank !== undefined && rank < k),
});

const DEFINITIONS: Readonly<Record<Metric, Definition>> = {
  accuracy: { of: ({ correct }) => mean(correct) },
  top1: topHit(1),
  top5: topHit(5),
  top10: topHit(10),
  choiceLogProb: {
    of: ({ choiceLogProbs, answerLogProb }) =>
      mean(
        choiceLogProbs === undefined || answerLogProb === undefined
          ? undefined
          : answerLogProb - logSumExp(choiceLogProbs),
      ),
  },
  meanLogProb: { of: (result) => mean(perToken(result)) },
  logLoss: { of: (result) => mean(perToken(result)), finish: (value) => -value },
  perplexity: {
    of: ({ answerLogProb, answerTokens }) =>
      answerLogProb === undefined || answerTokens === undefined
        ? undefined
        : { top: answerLogProb, bottom: answerTokens },
    finish: (value) => Math.exp(-value),
  },
  f1: { of: ({ f1 }) => mean(f1) },
  exactMatch: { of: ({ exactMatch }) => mean(exactMatch) },
};

/** @internal Computes log(sum(exp(values))) even if exp would overflow or underflow. */
export function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  if (!Number.isFinite(most)) return most;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** A metric's terms over all examples, in columns, so that draws are cheap. */
class MetricColumn {
  readonly metric: Metric;
  readonly examples: number;
  readonly #top: Float64Array;
  readonly #bottom: Float64Array;

  constructor(metric: Metric, results: readonly ExampleResult[]) {
    this.metric = metric;
    this.#top = new Float64Array(results.length);
    this.#bottom = new Float64Array(results.length);
    let examples = 0;
    results.forEach((result, i) => {
      const share = DEFINITIONS[metric].of(result);
      if (share === undefined) return;
      this.#top[i] = share.top;
      this.#bottom[i] = share.bottom;
      examples++;
    });
    this.examples = examples;
  }

  /** Returns NaN if no example with information was drawn. */
  value(drawn?: Uint32Array): number {
    let top = 0;
    let bottom = 0;
    for (let i = 0; i < this.#top.length; i++) {
      const times = drawn === undefined ? 1 : drawn[i]!;
      // An answer of probability 0 has an infinite logarithm, and 0 times that is NaN.
      if (times === 0 || this.#bottom[i] === 0) continue;
      top += times * this.#top[i]!;
      bottom += times * this.#bottom[i]!;
    }
    return bottom === 0 ? Number.NaN : (DEFINITIONS[this.metric].finish ?? Number)(top / bottom);
  }
}

/**
 * Computes one metric of some results, without an interval: quick enough to call after every
 * example. Returns undefined if no result carries this metric.
 */
export function measure(results: readonly ExampleResult[], metric: Metric): number | undefined {
  const value = new MetricColumn(checked(metric), results).value();
  return Number.isNaN(value) ? undefined : value;
}

const SUMMARY_OPTIONS: OptionTypes<BootstrapOptions & { readonly metrics?: readonly Metric[] }> = {
  ...BOOTSTRAP_OPTIONS,
  metrics: listOf(oneOf(METRICS)),
};

/**
 * Computes the metrics of some results with bootstrap intervals: `metrics`, or all by default.
 * Metrics without information in the results are left out.
 */
export async function summariseResults(
  results: readonly ExampleResult[],
  options?: BootstrapOptions & { readonly metrics?: readonly Metric[] },
): Promise<Summary> {
  const { metrics = METRICS, ...draw } = checkOptions(options, SUMMARY_OPTIONS, 'summariseResults');
  requireResults(results, 'results');
  const columns = metrics.map((metric) => new MetricColumn(metric, results)).filter((column) => column.examples > 0);
  const draws = await bootstrap(results.length, (drawn) => columns.map((column) => column.value(drawn)), draw);
  return Object.fromEntries(
    columns.map((column, i) => {
      const { low, high } = interval(
        draws.map((values) => values[i]!),
        draw.level,
      );
      return [column.metric, { value: column.value(), low, high, examples: column.examples }];
    }),
  );
}

/**
 * Checks results.
 *
 * @throws {@link ArgumentError} unless `results` is an array of objects.
 */
export function requireResults(results: readonly ExampleResult[], name: string): void {
  if (Array.isArray(results) && results.every((result) => typeof result === 'object' && result !== null)) return;
  throw new ArgumentError(name, 'an array of results, as evaluate returns', results);
}

/** How much better one model is than another on the same questions. */
export interface Comparison {
  readonly metric: Metric;
  /** The value of `after` minus the value of `before`. */
  readonly difference: number;
  readonly low: number;
  readonly high: number;
  /** The number of questions that both answered. */
  readonly pairs: number;
  /** The share of the draws in which `after` is better. */
  readonly better: number;
}

/**
 * Computes the difference of a metric between two evaluations, with an interval of paired draws: a
 * drawn question counts for both. Only questions that both evaluations answered count, matched by
 * their `id`.
 *
 * @throws {@link ArgumentError} if they share none, or one of them has no information about the
 *   metric.
 */
export async function compareResults(
  before: readonly ExampleResult[],
  after: readonly ExampleResult[],
  metric: Metric,
  options?: BootstrapOptions,
): Promise<Comparison> {
  const given = checkOptions(options, BOOTSTRAP_OPTIONS, 'compareResults');
  checked(metric);
  requireResults(before, 'before');
  requireResults(after, 'after');
  const byId = new Map(after.map((result) => [result.id, result]));
  // Joined results of several sets would be paired at random.
  for (const [name, results] of Object.entries({ before, after })) {
    const again = repeatedIds(results);
    if (again.length > 0) throw new ArgumentError(name, 'a unique id for each result', again);
  }
  const pairs = before.flatMap((result): [ExampleResult, ExampleResult][] => {
    const other = byId.get(result.id);
    const both = other && DEFINITIONS[metric].of(result) && DEFINITIONS[metric].of(other);
    return both ? [[result, other]] : [];
  });
  if (pairs.length === 0) throw new ArgumentError('after', `results of ${metric} for questions of \`before\``, after);
  const [a, b] = [0, 1].map(
    (side) =>
      new MetricColumn(
        metric,
        pairs.map((pair) => pair[side]!),
      ),
  ) as [MetricColumn, MetricColumn];
  const draws = await bootstrap(pairs.length, (drawn) => b.value(drawn) - a.value(drawn), given);
  const sign = LESS_IS_BETTER.has(metric) ? -1 : 1;
  return {
    metric,
    difference: b.value() - a.value(),
    ...interval(draws, given.level),
    pairs: pairs.length,
    better: draws.filter((draw) => sign * draw > 0).length / Math.max(1, draws.length),
  };
}

function checked(metric: Metric): Metric {
  if (METRICS.includes(metric)) return metric;
  throw new ArgumentError('metric', METRICS.join(', '), metric);
}
