// Draws what is left of compressed models over the size of their file, one panel a model.

/** @import { CaseResult, Row } from '../compress/types.js' */

import { element, page, round, text } from './svg.mjs';

const WIDTH = 860;
const PANEL = { width: 340, height: 190 };
const ORIGIN = { x: 70, y: 120 };
const GAP = { x: 420, y: 270 };

/** @type {{ name: string, style: string, storage: string }[]} */
const LINES = [
  { name: 'pivoted factors', style: 'ours', storage: 'pivoted' },
  { name: 'plain factors', style: 'ours2', storage: 'factors' },
];

const FIGURES = {
  cosine: "mean cosine to the original's outputs",
  agreement: 'same likeliest token as the original',
  perplexity: 'perplexity of the original over its own',
};

/** @param {readonly CaseResult[]} all */
export function compressChart(all) {
  const models = all.filter(({ rows }) => rows.length > 0);
  const title = 'Low-rank factors alone: what is left over the size of the file';
  const where = 'On held-out texts. The original is 1 at 100 %.';
  const panels = models.flatMap((model, i) => panel(model, ORIGIN.x + (i % 2) * GAP.x, ORIGIN.y + (i >> 1) * GAP.y));
  const height = ORIGIN.y + Math.ceil(models.length / 2) * GAP.y - 20;
  const head = [text(16, 26, title, { class: 'title' }), text(16, 45, where, { class: 'quiet' }), ...legend()];
  return page(WIDTH, height, title, [...head, ...panels]);
}

function legend() {
  let x = 16;
  return LINES.flatMap(({ name, style }) => {
    const parts = [element('path', { class: `${style} line`, d: `M${x} 66h22` }), text(x + 28, 70, name)];
    x += 54 + name.length * 6;
    return parts;
  });
}

/**
 * @param {CaseResult} model
 * @param {number} left
 * @param {number} top
 */
function panel({ title, figure, bytes = 1, rows }, left, top) {
  const [right, bottom] = [left + PANEL.width, top + PANEL.height];
  const share = (/** @type {Row} */ row) => row.bytes / bytes;
  // Of a perplexity, the ratio to the original's is measured.
  const quality = (/** @type {Row} */ { value }) => (figure === 'perplexity' ? 1 / value : value);
  const low = Math.floor(10 * Math.min(...rows.map(share))) / 10;
  const worst = Math.floor(10 * Math.min(...rows.map(quality))) / 10;
  const x = (/** @type {number} */ size) => left + ((size - low) / (1 - low)) * PANEL.width;
  const y = (/** @type {number} */ value) => bottom - ((value - worst) / (1 - worst)) * PANEL.height;
  const axes = [
    text(left, top - 24, title.replaceAll('`', ''), { class: 'head' }),
    text(left, top - 9, FIGURES[figure], { class: 'quiet' }),
    text(right, bottom + 36, 'size of the file', { class: 'quiet', 'text-anchor': 'end' }),
    ...tenths(worst).flatMap((tick) => [
      element('path', { class: 'grid', d: `M${left} ${round(y(tick))}H${right}` }),
      text(left - 6, y(tick) + 4, tick.toFixed(1), { class: 'quiet', 'text-anchor': 'end' }),
    ]),
    ...tenths(low).map((tick) =>
      text(x(tick), bottom + 18, `${Math.round(100 * tick)} %`, { class: 'quiet', 'text-anchor': 'middle' }),
    ),
  ];
  const lines = LINES.map(({ style, storage }) => {
    const own = rows.filter((row) => row.storage === storage).sort((a, b) => b.bytes - a.bytes);
    const points = own.map((row) => `${round(x(share(row)))} ${round(y(quality(row)))}`);
    const d = `M${[`${right} ${top}`, ...points].join('L')}`;
    return own.length > 0 ? element('path', { class: `${style} line`, d }) : '';
  });
  return [...axes, ...lines];
}

/** The tenths from a number to 1. @param {number} from */
function tenths(from) {
  const first = Math.round(10 * from);
  return Array.from({ length: 11 - first }, (_, i) => (first + i) / 10);
}
