// Draws seconds over the size of the matrix on log scales, one panel a fraction of the rank.

/** @import { Result, Run } from '../types.js' */

import { LASER, OURS, TORCH } from '../contenders.mjs';
import { seconds, vectorPath } from '../format.mjs';
import { element, logScale, page, round, text } from './svg.mjs';

const WIDTH = 860;
const PANEL = { width: 340, height: 230 };
const ORIGIN = { x: 70, y: 110 };
const GAP = { x: 420, y: 310 };

/** @type {(name: string) => (result: Result) => number} */
const named = (name) => (result) => result.rows.find(({ contender }) => contender === name)?.seconds ?? 0;
/** Missing points have the value 0. @type {{ name: string, style: string, of: (result: Result) => number }[]} */
const LINES = [
  { name: TORCH, style: 'rival', of: named(TORCH) },
  { name: `${LASER} (excess 1e-2)`, style: 'rival2', of: named(LASER) },
  { name: 'two passes and the rebuild by gemm', style: 'bound', of: ({ bound }) => bound?.seconds ?? 0 },
  { name: OURS, style: 'ours', of: named(OURS) },
];

/** @param {Run} run */
export function growthChart(run) {
  const { results, machine, threads } = run;
  const fractions = [...new Set(results.map(({ rho = 1 }) => rho))];
  const all = results.flatMap((result) => LINES.map(({ of }) => of(result))).filter((value) => value > 0);
  const title = 'Growth with the size of a square matrix';
  const panels = fractions.flatMap((rho, i) => {
    const x = ORIGIN.x + (i % 2) * GAP.x;
    const y = ORIGIN.y + (i >> 1) * GAP.y;
    return panel(
      results.filter((result) => result.rho === rho),
      rho,
      all,
      x,
      y,
    );
  });
  const height = ORIGIN.y + Math.ceil(fractions.length / 2) * GAP.y - 10;
  const where = `${machine.cpu}, ${vectorPath(run)}, ${threads} threads; the decaying spectrum; seconds, log scales.`;
  const head = [text(16, 26, title, { class: 'title' }), text(16, 45, where, { class: 'quiet' }), ...legend()];
  return page(WIDTH, height, title, [...head, ...panels]);
}

function legend() {
  let x = 16;
  return LINES.flatMap(({ name, style }) => {
    const parts = [element('path', { class: `${style} line`, d: `M${x} 62h22` }), text(x + 28, 66, name)];
    x += 54 + name.length * 6;
    return parts;
  });
}

/**
 * @param {Result[]} results
 * @param {number} rho
 * @param {number[]} all the seconds of every panel
 * @param {number} left
 * @param {number} top
 */
function panel(results, rho, all, left, top) {
  const right = left + PANEL.width;
  const bottom = top + PANEL.height;
  const sizes = results.map(({ m }) => m);
  const [first, last] = [Math.min(...sizes), Math.max(...sizes)];
  const x = (/** @type {number} */ n) =>
    left + (last > first ? (Math.log(n / first) / Math.log(last / first)) * PANEL.width : 0);
  const y = logScale(all, bottom, top);
  const axes = [
    text(left, top - 10, `rho ${rho}`, { class: 'head' }),
    text(right, bottom + 34, 'n, of an n x n matrix', { class: 'quiet', 'text-anchor': 'end' }),
    ...y.ticks.flatMap((tick) => [
      element('path', { class: 'grid', d: `M${left} ${round(y.at(tick))}H${right}` }),
      text(left - 6, y.at(tick) + 4, seconds(tick), { class: 'quiet', 'text-anchor': 'end' }),
    ]),
    ...sizes.map((n) => text(x(n), bottom + 18, n, { class: 'quiet', 'text-anchor': 'middle' })),
  ];
  const lines = LINES.map(({ style, of }) => {
    const points = results
      .filter((result) => of(result) > 0)
      .map((result) => `${round(x(result.m))} ${round(y.at(of(result)))}`);
    return points.length > 0 ? element('path', { class: `${style} line`, d: `M${points.join('L')}` }) : '';
  });
  return [...axes, ...lines];
}
