import { CERTIFICATE_FIELDS, ROUTES, type Route } from '../addon/contract.js';
import { formatBytes, formatError, formatSeconds, formatShare } from '../text/format.js';
import { INSPECT } from '../text/inspect.js';

/** Error figures of an approximation, measured on the returned values. */
export interface Certificate {
  /** The rank k that was kept. */
  readonly rank: number;
  /**
   * The method: `krylov` (block Lanczos), `gram` or `gram64` (eigenvectors of the Gram matrix in
   * float32 or float64), `complement` (the discarded part, subtracted from W), `gesdd` or, if that
   * did not converge, `gesvd` (LAPACK's SVD); `copy` if everything was kept, `zero` if there is
   * nothing to keep.
   */
  readonly method: Route;
  /** All methods that were tried, in the planner's order, including `method`. */
  readonly methodsTried: readonly Route[];
  /** |W|_F, in float64. */
  readonly norm: number;
  /** |W - What|_F / |W|_F, from the entries of W and What in float64; 0 for a zero matrix. */
  readonly relativeError: number;
  /** The share of the energy sum(s_i^2) that What lacks: the square of `relativeError`. */
  readonly discardedEnergy: number;
  /** 1 - `discardedEnergy`. */
  readonly keptEnergy: number;
  /**
   * No approximation of the same rank has an error smaller by more than this share: |W - What|_F /
   * |W - W_k|_F - 1 is at most this. The numerator is measured. The gain that could still be had is
   * proved for `krylov`, given an estimate of the largest singular value outside its subspace
   * (random vectors, so wrong with a small probability); the rounding of the eigenvalue
   * computations enters at its statistical size. Infinity where float32 cannot tell the error from
   * none, as for a matrix of rank k or less.
   */
  readonly excessBound: number;
  /**
   * |W - W_k|_2 = s_(k+1), the largest singular value that was dropped, as the method computed it.
   */
  readonly spectralError: number;
  /** Wall time of the computation. */
  readonly seconds: number;
  /** Native work memory at its peak, in bytes, without inputs and outputs. */
  readonly bytes: number;
}

type Field = (typeof CERTIFICATE_FIELDS)[number];

/** Reads the certificates that the addon wrote, one for each matrix. */
export function readCertificates(out: Float64Array): Certificate[] {
  const width = CERTIFICATE_FIELDS.length;
  return Array.from({ length: out.length / width }, (_, i) => {
    const field = (name: Field) => out[i * width + CERTIFICATE_FIELDS.indexOf(name)]!;
    return certificate({
      rank: field('rank'),
      method: ROUTES[field('route')]!,
      norm: field('norm'),
      error: field('error'),
      spectralError: field('spectralError'),
      excessBound: field('excessBound'),
      methodsTried: ROUTES.filter((_, code) => field('tried') & (1 << code)),
      seconds: field('seconds'),
      bytes: field('bytes'),
    });
  });
}

/** Makes a certificate from the absolute error |W - What|_F. */
function certificate({
  error,
  ...rest
}: Omit<Certificate, 'relativeError' | 'discardedEnergy' | 'keptEnergy'> & { error: number }): Certificate {
  const relativeError = rest.norm > 0 ? error / rest.norm : 0;
  const discardedEnergy = relativeError ** 2;
  const made = { ...rest, relativeError, discardedEnergy, keptEnergy: 1 - discardedEnergy };
  // Not enumerable, so that a certificate compares, copies and serialises as its figures alone.
  return Object.defineProperty(made, INSPECT, { value: () => printedCertificate(made) });
}

const EPSILON = 2 ** -23;
/** Rounding of float32 factors, relative to the matrix; also for a denormal number. */
const ROUNDING = 4 * EPSILON;
const DENORMAL = 2 ** -149;

/**
 * How far a method may be off in an entry of W^T W in the basis of its vectors, at its statistical
 * size: see docs/mathematics.md. `r` singular vectors, the largest value `first`, the current one
 * `value`.
 */
function coupling(method: Route, r: number, first: number, value: number): number {
  if (method === 'krylov') return 4 * EPSILON * first ** 2;
  if (method === 'gram') return (4 + Math.sqrt(r) / 4) * EPSILON * first ** 2;
  if (method === 'gesdd' || method === 'gesvd') return (16 + Math.sqrt(r)) * EPSILON * first * value;
  return 0;
}

/**
 * Returns the certificate of the first `rank` components of m x n factors that have certificate `c`
 * and singular values `s`. The further error follows from the singular values. A better
 * approximation could gain at most what it could gain over all components, and what rounding has
 * mixed between kept and dropped ones.
 */
export function truncated(
  c: Certificate,
  rank: number,
  s: Float32Array,
  [m, n]: readonly [number, number],
): Certificate {
  const before = c.relativeError * c.norm;
  const dropped = s.subarray(rank, c.rank).reduce((sum, value) => sum + value ** 2, 0);
  const error = Math.sqrt(before ** 2 + dropped);
  const next = s[rank]!;
  const couplingOf = (value: number) => coupling(c.method, Math.min(m, n), s[0]!, value);
  let gain = before ** 2 * (1 - 1 / (1 + c.excessBound) ** 2);
  for (const value of s.subarray(0, rank)) {
    const length = couplingOf(value);
    gain += Math.min(2 * length, length ** 2 / Math.max(value ** 2 - next ** 2, 0));
  }
  // Of the singular values too, each squared to its coupling and to half a unit in its last place.
  const doubt = ROUNDING * dropped + 2 * couplingOf(next) * Math.sqrt(c.rank - rank);
  const denormal = DENORMAL * Math.sqrt(m * c.rank);
  const rounded = ROUNDING * c.norm + denormal;
  const least = error ** 2 - gain - doubt - 2 * denormal * Math.sqrt(dropped) - rounded ** 2;
  const largest = Math.sqrt(error ** 2 + doubt + rounded ** 2) + ROUNDING * error;
  return certificate({
    ...c,
    rank,
    error,
    spectralError: next,
    excessBound: rank === 0 ? 0 : least > 0 ? largest / Math.sqrt(least) - 1 : Number.POSITIVE_INFINITY,
  });
}

/**
 * Combines the certificates of a batch: the largest rank and spectral error, and the error of all
 * entries together.
 */
export function combined(all: readonly Certificate[], seconds: number): Certificate {
  const first = all[0];
  if (first !== undefined && all.length === 1) return first;
  const largest = (of: (c: Certificate) => number) => all.reduce((max, c) => Math.max(max, of(c)), 0);
  const squares = (of: (c: Certificate) => number) => Math.sqrt(all.reduce((sum, c) => sum + of(c) ** 2, 0));
  return certificate({
    rank: largest((c) => c.rank),
    method: first?.method ?? 'zero',
    norm: squares((c) => c.norm),
    error: squares((c) => c.relativeError * c.norm),
    spectralError: largest((c) => c.spectralError),
    excessBound: largest((c) => c.excessBound),
    methodsTried: ROUTES.filter((route) => all.some((c) => c.methodsTried.includes(route))),
    seconds,
    bytes: largest((c) => c.bytes),
  });
}

/** Returns the figures of a certificate in words, for `console.log`. */
export function describeCertificate(c: Certificate): string[] {
  const before = c.methodsTried.filter((method) => method !== c.method);
  const excess = Number.isFinite(c.excessBound) ? `at most ${formatError(c.excessBound)}` : 'not bounded in float32';
  return [
    `relative error ${formatError(c.relativeError)}, energy kept ${formatShare(c.keptEnergy)}, excess ${excess}`,
    `norm ${formatError(c.norm)}, largest dropped singular value ${formatError(c.spectralError)}`,
    `by ${c.method}${before.length > 0 ? `, after trying ${before.join(', ')}` : ''}, ${formatSeconds(c.seconds)}, ${formatBytes(c.bytes)}`,
  ];
}

function printedCertificate(c: Certificate): string {
  return [`Certificate of rank ${c.rank}`, ...describeCertificate(c)].join('\n  ');
}
