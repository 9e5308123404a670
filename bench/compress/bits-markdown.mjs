// Writes the results of models in few bits as text.

/** @import { BitsResult, BitsRow, MeasuredBits, Scope } from './types.js' */

import { grid } from '../markdown.mjs';
import { meets } from './bits-cases.mjs';
import { aboutText, megabytes, verdict } from './words.mjs';

/** @type {Record<BitsResult['figure'], string>} */
const FIGURES = {
  cosine: "mean cosine to the original's embeddings of held-out texts: more is better",
  divergence: 'mean Kullback-Leibler divergence to the original on the tokens of held-out texts: less is better',
};

/** @type {Record<Scope, string>} */
const SCOPES = {
  layers: 'The linear layers in few bits; embeddings stay float32.',
  file: 'Embeddings too: the whole file counts.',
};

/** @param {MeasuredBits} result */
export function bitsSection(result) {
  const { title, absent, figure, bytes, tokens, rows, milliseconds, calibrationSeconds, note } = result;
  if (absent !== undefined) return [`## ${title}`, `Not measured: ${absent}.`];
  const times = Object.entries(milliseconds).map(([shape, value]) => `${shape}: ${value.toFixed(1)} ms`);
  const scopes = /** @type {Scope[]} */ (Object.keys(SCOPES));
  return [
    `## ${title}`,
    `The figure is the ${FIGURES[figure]}; in brackets, the middle 95 % of draws of the texts. ` +
      `The original: ${megabytes(bytes)}${times.length === 0 ? '' : `, ${times.join(', ')}`}. ${tokens} held-out tokens. ` +
      'Rows with options are of `lowrank compress`, the others of onnxruntime.quantization of Python, from large files to small.' +
      (note === undefined ? '' : ` ${note}`),
    ...scopes.flatMap((scope) => {
      const own = rows.filter((row) => row.scope === scope);
      return own.length === 0 ? [] : [SCOPES[scope], table(own, result)];
    }),
    ...absentText(rows),
    `Calibration took ${calibrationSeconds.toFixed(1)} s; the first \`compress\` measures for all. ${aboutText(result)}`,
  ];
}

/** @param {readonly BitsRow[]} rows @param {BitsResult} result */
function table(rows, { figure, milliseconds }) {
  const shapes = Object.keys(milliseconds);
  const ordered = rows.filter(({ absent }) => absent === undefined).sort((a, b) => b.bytes - a.bytes);
  return grid(
    ['by', 'bits a weight', 'file', 'measured', 'target', '', ...shapes, 'seconds'],
    ordered.map((row) => [
      row.ours ? `**\`${row.by}\`**` : row.by,
      row.bits.toFixed(2),
      megabytes(row.bytes),
      `${row.value.toFixed(4)} (${row.low.toFixed(4)} to ${row.high.toFixed(4)})`,
      ...targetOf(row, figure),
      ...shapes.map((shape) => `${row.latency[shape]?.toFixed(2)}x`),
      row.seconds.toFixed(1),
    ]),
  );
}

/** @param {BitsRow} row @param {BitsResult['figure']} figure */
function targetOf({ target, most, ...row }, figure) {
  if (target === undefined) return ['', ''];
  const within = most === undefined ? '' : `, at most ${megabytes(most)}`;
  const sign = figure === 'divergence' ? 'at most' : 'at least';
  const met = meets(figure, { ...row, target, ...(most !== undefined && { most }) });
  return [`${sign} ${target.toFixed(3)}${within}`, verdict(met)];
}

/** @param {readonly BitsRow[]} rows */
function absentText(rows) {
  const lines = rows.flatMap(({ by, absent }) => (absent === undefined ? [] : [`- ${by}: ${absent}`]));
  return lines.length === 0 ? [] : [`Not there:\n\n${lines.join('\n')}`];
}
