// Draws what becomes of a model in few bits: bytes, error and time, a row a model, a panel a figure.

/** @import { BitsRow, MeasuredBits } from '../compress/types.js' */

import { element, page, round, text } from './svg.mjs';

const WIDTH = 860;
const LEFT = 236;
const PANEL = 148;
const GAP = 58;
const TOP = 92;
const ROW = 22;
const BAR = 12;

/** @typedef {{ name: string, style: string, bytes: number, error: number, milliseconds: number }} Drawn */

/** @type {{ title: string, of: (row: Drawn) => number, label: (row: Drawn) => string }[]} */
const PANELS = [
  { title: 'file', of: ({ bytes }) => bytes, label: ({ bytes }) => `${(bytes / 1e6).toFixed(1)} MB` },
  {
    title: 'error of the embeddings',
    of: ({ error }) => error,
    label: ({ error }) => (error === 0 ? '0' : error.toPrecision(2)),
  },
  {
    title: 'time of 8 x 128 tokens',
    of: ({ milliseconds }) => milliseconds,
    label: ({ milliseconds }) => `${milliseconds.toFixed(0)} ms`,
  },
];

const SHAPE = '8x128';

/**
 * Draws models that take part by their names.
 *
 * @param {MeasuredBits} result of a case with timed runs
 * @param {readonly string[]} names of rows, from top to bottom
 */
export function compressedChart({ bytes, milliseconds, rows, about }, names) {
  const whole = milliseconds[SHAPE] ?? Number.NaN;
  const chosen = names.flatMap((name) => rows.find(({ by, absent }) => by === name && absent === undefined) ?? []);
  const drawn = [
    { name: 'original, float32', style: 'rival', bytes, error: 0, milliseconds: whole },
    ...chosen.map((row) => drawnOf(row, whole)),
  ];
  const height = TOP + drawn.length * ROW + 16;
  const title = 'all-MiniLM-L6-v2, original against compressed: less is better';
  const where = `Error: 1 - cosine to the original's embeddings on held-out texts. ${about.machine.cpu}, ${about.threads} threads, onnxruntime-node.`;
  const head = [text(16, 26, title, { class: 'title' }), text(16, 45, where, { class: 'quiet' })];
  const labels = drawn.map(({ name }, i) => text(LEFT - 10, TOP + i * ROW + 11, name, { 'text-anchor': 'end' }));
  const panels = PANELS.flatMap(({ title, of, label }, i) => {
    const left = LEFT + i * (PANEL + GAP);
    const most = Math.max(...drawn.map(of));
    return [
      text(left, TOP - 12, title, { class: 'head' }),
      ...drawn.flatMap((row, j) => bar(left, TOP + j * ROW, (of(row) / most) * PANEL, row.style, label(row))),
    ];
  });
  return page(WIDTH, height, title, [...head, ...labels, ...panels]);
}

/** @param {BitsRow} row @param {number} whole milliseconds of the original @returns {Drawn} */
function drawnOf({ by, ours, bytes, value, latency }, whole) {
  return {
    name: ours ? `lowrank ${by}` : by,
    style: ours ? 'ours' : 'rival2',
    bytes,
    error: 1 - value,
    milliseconds: whole * (latency[SHAPE] ?? Number.NaN),
  };
}

/**
 * @param {number} left
 * @param {number} top
 * @param {number} width
 * @param {string} style
 * @param {string} label
 */
function bar(left, top, width, style, label) {
  return [
    element('rect', { class: style, x: left, y: top + 1, width: round(Math.max(width, 1)), height: BAR }),
    text(left + Math.max(width, 1) + 6, top + 11, label, { class: 'quiet' }),
  ];
}
