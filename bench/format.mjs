// Numbers as people read them.

const digits = (value, count) => Number(value.toPrecision(count));

export function seconds(value) {
  if (value < 1e-3) return `${digits(value * 1e6, 3)} µs`;
  if (value < 1) return `${digits(value * 1e3, 3)} ms`;
  return `${digits(value, 3)} s`;
}

/** `80x`, `1.5x`, `0.012x`. */
export const times = (value) => `${value >= 100 ? Math.round(value) : digits(value, 2)}x`;

export const small = (value) => (value === 0 ? '0' : value.toExponential(1));

/** Where the best approximation is as good as exact, what is left is rounding, and an excess over it means nothing. */
export const excessMeans = ({ optimum }) => optimum.relativeError > 1e-6;

/** The quality of a row in words. */
export function quality(result, row) {
  if (result.op === 'gemm' || !excessMeans(result)) return `error ${small(row.relativeError)}`;
  return `excess ${small(row.excess)}`;
}

export const mebibytes = (bytes) => `${Math.round(bytes / 2 ** 20)} MiB`;
