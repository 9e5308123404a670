import type { Metric } from '../evaluate/metrics/summary.js';
import type { Score } from '../search/log-lines.js';
import { accuracyInterval } from '../search/significance.js';
import { formatCount, formatShare } from '../text/format.js';
import { type Content, element } from './html.js';

/** Metrics that are shares of the questions: shown in percent, with their differences in points. */
const SHARES: ReadonlySet<Metric> = new Set(['accuracy', 'top1', 'top5', 'top10', 'f1', 'exactMatch']);

const NAMES: Partial<Record<Metric, string>> = { logLoss: 'log loss' };

export function nameOfMetric(metric: Metric): string {
  return NAMES[metric] ?? metric;
}

/** Formats the 95 % interval of an accuracy: ` (35.3 % to 44.9 %)`; nothing for other metrics. */
export function accuracyRange(metric: Metric, score: Score | undefined): Content {
  const between = metric === 'accuracy' && score !== undefined ? accuracyInterval(score) : undefined;
  if (between === undefined) return undefined;
  return element('span', { class: 'quiet' }, ` (${formatShare(between.low)} to ${formatShare(between.high)})`);
}

/** Formats the probability that a difference is chance: `0.25`, `< 0.001`. */
export function probability(p: number | undefined): Content {
  return number(p, (x) => (x < 0.001 ? '< 0.001' : x.toPrecision(2)));
}

/** Formats a value of a metric; empty if it is unknown. The markup contains the exact number. */
export function value(metric: Metric, exact: number | undefined): Content {
  return number(exact, (x) =>
    SHARES.has(metric) ? formatShare(x) : metric === 'logLoss' ? x.toFixed(4) : significant(x),
  );
}

/** Formats a difference of two values of a metric with its sign: shares in points. */
export function change(metric: Metric, exact: number | undefined): Content {
  return number(exact, (x) => changeText(metric, x));
}

/** Formats a change in few characters. */
export function shortChange(metric: Metric, exact: number | undefined): Content {
  return number(exact, (x) => shortChangeText(metric, x));
}

export function shortChangeText(metric: Metric, x: number): string {
  return signed(x, (size) => (SHARES.has(metric) ? (100 * size).toFixed(1) : brief(size)));
}

/** Formats two digits or the whole number: `0.12`, `1.2`, `1234`, `1e6`. */
function brief(x: number): string {
  if (x !== 0 && (x < 0.01 || x >= 9999.5)) return scientific(x, 0);
  return x >= 99.5 ? x.toFixed(0) : x.toPrecision(2);
}

export function changeText(metric: Metric, x: number): string {
  return signed(x, (size) => {
    if (SHARES.has(metric)) return (100 * size).toFixed(2);
    return metric === 'logLoss' ? size.toFixed(4) : significant(size);
  });
}

/** Returns the unit of a difference. */
export function unitOf(metric: Metric): string {
  return SHARES.has(metric) ? ' points' : '';
}

/** Formats a number by `show`, with its exact value beside it for programs and tooltips. */
export function number(exact: number | undefined, show: (x: number) => string): Content {
  if (exact === undefined || exact === null) return undefined;
  return element('data', { value: exact }, text(exact, show));
}

/** Describes numbers that are not finite in words. */
export function text(x: number, show: (x: number) => string): string {
  if (Number.isNaN(x)) return 'no number';
  if (!Number.isFinite(x)) return x > 0 ? '∞' : '−∞';
  return show(x);
}

function signed(x: number, show: (size: number) => string): string {
  if (x === 0) return '0';
  return `${x > 0 ? '+' : '−'}${text(Math.abs(x), show)}`;
}

/** Formats five digits, in scientific notation if the number is very large or small. */
export function significant(x: number): string {
  return x !== 0 && (Math.abs(x) >= 1e6 || Math.abs(x) < 1e-4) ? scientific(x, 3) : x.toPrecision(5);
}

/** Formats three digits. */
export function small(x: number): string {
  return x === 0 || Math.abs(x) >= 1e-3 ? Number(x.toPrecision(3)).toString() : scientific(x, 2);
}

function scientific(x: number, digits: number): string {
  return x.toExponential(digits).replace('-', '−').replace('e−', 'e-').replace('e+', 'e');
}

/** Formats a shape: `512 x 128`. */
export function shape(sizes: readonly number[]): string {
  return sizes.join(' × ');
}

/** Formats a count with its noun: `1 matrix`, `3 matrices`. */
export function many(amount: number, one: string, several: string): string {
  return `${formatCount(amount)} ${amount === 1 ? one : several}`;
}
