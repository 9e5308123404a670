// Draws the seconds of every contender as bars on a log scale, one group a task.

/** @import { MeasuredRow, Result, Run } from '../types.js' */

import { OURS } from '../contenders.mjs';
import { excessMeans, isMeasured, quality, seconds, times, vectorPath } from '../format.mjs';
import { element, logScale, page, round, text } from './svg.mjs';

const WIDTH = 860;
const LEFT = 170;
const RIGHT = 610;
const TOP = 78;
const BAR = 15;
const HEAD = 34;

/** An approximation with a larger excess is not the best; its excess is written beside the bar. */
const EXACT = 1e-6;

/** The tasks of the README's chart. */
export const HEADLINES = [
  '4096x4096 decaying rho 0.01',
  '4096x4096 decaying rho 0.1',
  '4096x4096 gaussian rho 0.1',
  '768x3072 decaying rho 0.1',
];

/**
 * Draws all approximations, or only those of the tasks `ids`.
 *
 * @param {Run} run
 * @param {string[]} [ids]
 */
export function barChart(run, ids) {
  const { results, machine, threads } = run;
  const groups = results
    .filter(({ op, id }) => op === 'laser' && (ids === undefined || ids.includes(id)))
    .map(group)
    .filter(({ rows }) => rows.length > 0);
  const { at, ticks } = logScale(
    groups.flatMap(({ rows }) => rows.map((row) => row.seconds)),
    LEFT,
    RIGHT,
  );
  const height = TOP + groups.reduce((sum, { rows }) => sum + HEAD + rows.length * BAR, 0) + 16;
  const axis = ticks.flatMap((tick) => [
    element('path', { class: 'grid', d: `M${round(at(tick))} ${TOP - 8}V${height - 12}` }),
    text(at(tick), TOP - 14, seconds(tick), { class: 'quiet', 'text-anchor': 'middle' }),
  ]);
  let y = TOP;
  const bars = groups.flatMap(({ result, rows }) => {
    const lines = [text(LEFT, y + 22, result.id, { class: 'head' })];
    y += HEAD;
    for (const row of rows) {
      lines.push(...bar(result, row, y, at));
      y += BAR;
    }
    return lines;
  });
  const title = 'Best rank-k approximation: seconds, less is better';
  const where = `${machine.cpu}, ${vectorPath(run)}, ${threads} threads; log scale. Beside a bar: seconds, and how many times those of ${OURS}.`;
  const head = [text(16, 26, title, { class: 'title' }), text(16, 45, where, { class: 'quiet' })];
  return page(WIDTH, height, title, [...head, ...axis, ...bars]);
}

/** @param {Result} result */
const group = (result) => ({ result, rows: result.rows.filter(isMeasured) });

/**
 * @param {Result} result
 * @param {MeasuredRow} row
 * @param {number} y
 * @param {(value: number) => number} at
 */
function bar(result, row, y, at) {
  const kind = row.contender === OURS ? 'ours' : row.contender.startsWith('lowrank') ? 'ours2' : 'rival';
  const ratio = row.ratio !== undefined && row.contender !== OURS ? `, ${times(row.ratio)}` : '';
  const poor = excessMeans(result) && (row.excess ?? 0) > EXACT ? `, ${quality(result, row)}` : '';
  return [
    text(LEFT - 8, y + 11, row.contender, { 'text-anchor': 'end' }),
    element('rect', {
      class: kind,
      x: LEFT,
      y: y + 2,
      width: round(Math.max(at(row.seconds) - LEFT, 1)),
      height: BAR - 4,
    }),
    text(at(row.seconds) + 6, y + 11, `${seconds(row.seconds)}${ratio}${poor}`, { class: 'quiet' }),
  ];
}
