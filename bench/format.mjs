// Formats figures for people.

/** @import { MeasuredRow, Result, Row, Run } from './types.js' */

/** @type {(value: number, count: number) => number} */
const digits = (value, count) => Number(value.toPrecision(count));

/** @param {number} value */
export function seconds(value) {
  if (value < 1e-3) return `${digits(value * 1e6, 3)} µs`;
  if (value < 1) return `${digits(value * 1e3, 3)} ms`;
  return `${digits(value, 3)} s`;
}

/** Formats a ratio: `80x`, `1.5x`, `0.012x`. @param {number} value */
export const times = (value) => `${value >= 100 ? Math.round(value) : digits(value, 2)}x`;

/** @param {number} value */
export const small = (value) => (value === 0 ? '0' : value.toExponential(1));

/**
 * Whether an excess has a meaning. If the best approximation is as good as exact, only rounding is
 * left.
 *
 * @param {Pick<Result, 'optimum'>} result
 */
export const excessMeans = ({ optimum }) => optimum !== undefined && optimum.relativeError > 1e-6;

/** @param {Row} row @returns {row is MeasuredRow} */
export const isMeasured = (row) => row.seconds !== undefined;

/**
 * Describes the quality of a row.
 *
 * @param {Result} result
 * @param {MeasuredRow} row
 */
export function quality(result, row) {
  if (result.op === 'gemm' || row.excess === undefined || !excessMeans(result))
    return `error ${small(row.relativeError)}`;
  return `excess ${small(row.excess)}`;
}

/** @param {number} bytes */
export const mebibytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;

/**
 * Names the vector instructions that lowrank used in a run: `avx2`, `avx512`, ...
 *
 * @param {Pick<Run, 'versions'>} run
 */
export function vectorPath({ versions }) {
  const texts = Object.values(versions).flatMap(({ lowrank }) => lowrank ?? []);
  return texts[0]?.split(', ').at(1) ?? '';
}
