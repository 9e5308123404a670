import { basename, dirname } from 'node:path';
import type { ComparedModel, ModelComparison } from '../../evaluate/compare/compare.js';
import type { Latency } from '../../evaluate/compare/speed.js';
import type { Comparison, Estimate } from '../../evaluate/metrics/summary.js';
import { formatBytes, formatCount, formatError, formatSeconds, formatShare } from '../../text/format.js';
import { printable } from '../../text/printable.js';
import { type Column, formatTable } from './table.js';
import type { Output } from './terminal.js';

/**
 * Formats a comparison as two tables, of sizes and times and of qualities, and a line about the
 * data.
 */
export function comparisonLines(comparison: ModelComparison, { columns, colors }: Output): string[] {
  const { original, candidates, texts, tokens, questions, engine, seconds } = comparison;
  const models = [original, ...candidates];
  const names = namesOf(models.map(({ checkpoint }) => checkpoint));
  const costs = formatTable(
    [{ title: 'model' }, ...right('size', 'numbers', 'load', ...original.latency.map(titleOf))],
    models.map((model, i) => [names[i]!, ...costsOf(model, original)]),
    columns,
    colors.bold,
  );
  const qualities = models.flatMap((model, i) => qualitiesOf(model).map((cells) => [names[i]!, ...cells]));
  const quality = formatTable(
    [{ title: 'model' }, { title: 'figure' }, ...right('value', '95 % interval')],
    qualities,
    columns,
    colors.bold,
  );
  const data = [
    ...(texts > 0 ? [`${formatCount(texts)} texts of ${formatCount(tokens)} tokens`] : []),
    ...(questions > 0 ? [`${formatCount(questions)} questions`] : []),
  ];
  const timed = original.latency.length > 0 ? ['times of candidates are relative to those of the original'] : [];
  return [
    ...costs,
    ...timed,
    '',
    ...(qualities.length > 0 ? [...quality, ''] : []),
    `${data.join(' and ')} by ${engine} in ${formatSeconds(seconds)}`,
  ];
}

function right(...titles: string[]): Column[] {
  return titles.map((title) => ({ title, align: 'right' }));
}

/** Returns the last parts of the paths, with as many folders as tell them apart. */
function namesOf(paths: readonly string[]): string[] {
  for (let parts = 1; parts <= 3; parts++) {
    const names = paths.map((path) => lastParts(path, parts));
    if (new Set(names).size === paths.length) return names.map(printable);
  }
  return paths.map(printable);
}

function lastParts(path: string, parts: number): string {
  if (parts === 1) return basename(path);
  return `${lastParts(dirname(path), parts - 1)}/${basename(path)}`;
}

function titleOf({ kind, batch, length }: Latency): string {
  return kind === 'decode' ? '1 token' : `${batch}x${length}`;
}

function costsOf(model: ComparedModel, original: ComparedModel): string[] {
  const { bytes, parameters, loadMilliseconds, latency } = model;
  return [
    formatBytes(bytes),
    parameters === undefined ? '' : formatNumbers(parameters),
    loadMilliseconds === undefined ? '' : formatSeconds(loadMilliseconds / 1000),
    ...original.latency.map(({ kind, batch, length }) => {
      const own = latency.find((other) => other.kind === kind && other.batch === batch && other.length === length);
      if (own === undefined) return '';
      const { milliseconds, relative } = own;
      return relative === undefined ? `${milliseconds.value.toPrecision(3)} ms` : `${relative.value.toFixed(2)} x`;
    }),
  ];
}

/** Formats a count of numbers: `22.7 M`. */
function formatNumbers(count: number): string {
  const units = ['', ' k', ' M', ' G'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return unit === 0 ? String(count) : `${(count / 1000 ** unit).toPrecision(4)}${units[unit]}`;
}

function qualitiesOf({
  divergence,
  agreement,
  perplexity,
  cosine,
  rankCorrelation,
  summary,
  accuracyChange,
}: ComparedModel): string[][] {
  const row = (name: string, estimate: Estimate | undefined, show: (value: number) => string) =>
    estimate === undefined ? [] : [[name, show(estimate.value), `${show(estimate.low)} to ${show(estimate.high)}`]];
  const precise = (value: number) => value.toFixed(4);
  return [
    ...row('KL', divergence, formatError),
    ...row('top-1 agreement', agreement, formatShare),
    ...row('perplexity', perplexity, (value) => value.toPrecision(4)),
    ...row('cosine', cosine, precise),
    ...row('rank correlation', rankCorrelation, precise),
    ...row('accuracy', summary?.accuracy, formatShare),
    ...(accuracyChange === undefined ? [] : [changeOf(accuracyChange)]),
  ];
}

function changeOf({ difference, low, high }: Comparison): string[] {
  const points = (value: number) => `${value < 0 ? '' : '+'}${(100 * value).toFixed(2)}`;
  const chance = low <= 0 && high >= 0 ? ', not significant' : '';
  return ['accuracy change', `${points(difference)} points`, `${points(low)} to ${points(high)}${chance}`];
}
