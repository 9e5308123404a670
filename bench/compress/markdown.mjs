// Writes the results of bench:compress as text.

/** @import { CaseResult, Measured, MeasuredBits, Row } from './types.js' */

import { grid } from '../markdown.mjs';
import { bitsSection } from './bits-markdown.mjs';
import { reaches } from './cases.mjs';
import { aboutText, megabytes, verdict } from './words.mjs';

/** @type {Record<CaseResult['figure'], string>} */
const FIGURES = {
  cosine: "mean cosine to the original's embeddings of held-out texts",
  perplexity: "perplexity on held-out texts, divided by the original's",
  agreement: "share of the tokens of held-out texts where the likeliest next one is the original's",
};

/** @param {(Measured | MeasuredBits)[]} results */
export function markdown(results) {
  const parts = [
    '# Results of compressing models',
    'Made by `npm run bench:compress`; see [the README of the bench](../README.md#compressing-models) for how it measures.',
    ...results.flatMap((result) => ('baselines' in result ? bitsSection(result) : section(result))),
  ];
  return `${parts.join('\n\n')}\n`;
}

/** @param {Measured} result */
function section(result) {
  const { title, absent, figure, bytes = 0, perplexity, tokens, rows, otherDomain } = result;
  if (absent !== undefined) return [`## ${title}`, `Not measured: ${absent}.`];
  const original = `${megabytes(bytes)}${perplexity === undefined ? '' : `, perplexity ${perplexity.toFixed(2)}`}`;
  return [
    `## ${title}`,
    `The figure is the ${FIGURES[figure]}; in brackets, the middle 95 % of draws of the texts. The original: ${original}. ` +
      `${tokens} held-out tokens${otherDomain ? ', half of the texts of another kind than the calibration' : ''}.`,
    grid(
      ['keep', 'form', 'target', 'measured', '', 'file', 'layers factored', 'ranks by', 'seconds'],
      rows.map((row) => cells(row, figure)),
    ),
    ...timings(result),
    aboutText(result),
  ];
}

/** @param {Row} row @param {CaseResult['figure']} figure */
function cells({ keep, storage, target, value, low, high, bytes, factored, layers, weighting, seconds }, figure) {
  const digits = (/** @type {number} */ number) => number.toFixed(3);
  const sign = figure === 'perplexity' ? 'at most' : 'at least';
  return [
    keep,
    storage,
    `${sign} ${digits(target)}`,
    `${digits(value)} (${digits(low)} to ${digits(high)})`,
    verdict(reaches(figure, value, target)),
    megabytes(bytes),
    `${factored} of ${layers}`,
    weighting,
    seconds.toFixed(1),
  ];
}

/** @param {CaseResult} result */
function timings({ rows, seconds, forwards, calibrationSeconds, plainSeconds, latency, vectors }) {
  // The later ones find what the first has decomposed and measured.
  const first = rows[0]?.seconds ?? Number.NaN;
  /** @type {string[][]} */
  const lines = [];
  if (seconds !== undefined) {
    const what = 'compress, the first time';
    lines.push([what, `at most ${seconds} s`, `${first.toFixed(1)} s`, verdict(first <= seconds)]);
  }
  if (calibrationSeconds !== undefined) {
    const ratio = plainSeconds === undefined ? undefined : calibrationSeconds / plainSeconds;
    lines.push([
      `calibrate, ${vectors} vectors`,
      forwards === undefined ? '' : `at most ${forwards}x plain runs`,
      `${calibrationSeconds.toFixed(1)} s${ratio === undefined ? '' : `, ${ratio.toFixed(2)}x`}`,
      ratio === undefined || forwards === undefined ? '' : verdict(ratio <= forwards),
    ]);
  }
  for (const { storage, shape, milliseconds, relative, target } of latency) {
    const measured = `${relative.toFixed(2)}x (${milliseconds.toFixed(1)} ms)`;
    lines.push([`run of ${shape} tokens, ${storage}`, `at most ${target}x`, measured, verdict(relative <= target)]);
  }
  return lines.length === 0 ? [] : [grid(['time', 'target', 'measured', ''], lines)];
}
