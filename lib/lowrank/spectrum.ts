import { ArgumentError } from '../errors.js';
import { numericalRank } from '../linalg/svd.js';
import { breakEvenRank, requireSize } from './rank.js';

/** Rank figures of an m x n matrix, from its singular values. */
export interface Spectrum {
  /** Singular values above max(m, n) * s_1 * 2^-23. */
  readonly rank: number;
  /** exp of the entropy of s_i / sum(s) (Roy and Vetterli 2007). */
  readonly effectiveRank: number;
  /** The smallest k that keeps 90 %, 95 % and 99 % of the energy sum(s_i^2). */
  readonly energyRank90: number;
  readonly energyRank95: number;
  readonly energyRank99: number;
  /**
   * Singular values above the edge sigma (sqrt(m) + sqrt(n)) of a random matrix's spectrum
   * (Marchenko and Pastur 1967), sigma from the median singular value (Gavish and Donoho 2014,
   * section III.E).
   */
  readonly marchenkoPasturRank: number;
  /** floor(mn / (m + n)): up to this rank, factors are no larger than the matrix. */
  readonly breakEvenRank: number;
}

/**
 * Computes the rank figures of an m x n matrix.
 *
 * @param s - all min(m, n) singular values, descending.
 * @throws ArgumentError `ERR_SHAPE` if `s` has another length, `ERR_ARGUMENT` for other types.
 */
export function analyseSpectrum(s: Float32Array, m: number, n: number): Spectrum {
  requireSize('m', m);
  requireSize('n', n);
  if (!(s instanceof Float32Array)) throw new ArgumentError('s', 'a Float32Array', s);
  if (s.length !== Math.min(m, n)) {
    throw new ArgumentError('s', `${Math.min(m, n)} singular values, min(m, n)`, `${s.length}`, 'ERR_SHAPE');
  }
  return {
    rank: numericalRank(s, m, n),
    effectiveRank: effectiveRank(s),
    energyRank90: energyRank(s, 0.9),
    energyRank95: energyRank(s, 0.95),
    energyRank99: energyRank(s, 0.99),
    marchenkoPasturRank: marchenkoPasturRank(s, m, n),
    breakEvenRank: breakEvenRank(m, n),
  };
}

function effectiveRank(s: Float32Array): number {
  const total = s.reduce((sum, value) => sum + value, 0);
  if (total === 0) return 0;
  const entropy = s.reduce((sum, value) => (value > 0 ? sum - (value / total) * Math.log(value / total) : sum), 0);
  return Math.exp(entropy);
}

/** The smallest k with sum_{i <= k} s_i^2 >= energy * sum s_i^2. */
function energyRank(s: Float32Array, energy: number): number {
  const total = s.reduce((sum, value) => sum + value ** 2, 0);
  let kept = 0;
  let k = 0;
  while (k < s.length && kept < energy * total) kept += s[k++]! ** 2;
  return k;
}

function marchenkoPasturRank(s: Float32Array, m: number, n: number): number {
  const [smaller, larger] = [Math.min(m, n), Math.max(m, n)];
  const sorted = (i: number) => s[Math.min(Math.max(i, 0), s.length - 1)] ?? 0;
  const median = (sorted(Math.floor((s.length - 1) / 2)) + sorted(Math.ceil((s.length - 1) / 2))) / 2;
  const sigma = median / Math.sqrt(larger * marchenkoPasturMedian(smaller / larger));
  const edge = sigma * (Math.sqrt(m) + Math.sqrt(n));
  return s.filter((value) => value > edge).length;
}

/**
 * The median of the Marchenko-Pastur distribution of aspect ratio beta, density
 * sqrt((b - x)(x - a)) / (2 pi beta x) on [a, b] = [(1 - sqrt(beta))^2, (1 + sqrt(beta))^2].
 */
function marchenkoPasturMedian(beta: number): number {
  const a = (1 - Math.sqrt(beta)) ** 2;
  const b = (1 + Math.sqrt(beta)) ** 2;
  // With x = a + (b - a) sin^2(t) the integrand is smooth, also at beta = 1, where the density has
  // a pole at 0.
  const steps = 2000;
  const cumulative = new Float64Array(steps + 1);
  for (let i = 0; i < steps; i++) {
    const t = ((i + 0.5) / steps) * (Math.PI / 2);
    const [sin2, cos2] = [Math.sin(t) ** 2, Math.cos(t) ** 2];
    const x = a + (b - a) * sin2;
    cumulative[i + 1] = cumulative[i]! + ((b - a) ** 2 * sin2 * cos2) / x;
  }
  const half = cumulative[steps]! / 2;
  const i = cumulative.findIndex((value) => value >= half);
  const t = ((i - 1 + (half - cumulative[i - 1]!) / (cumulative[i]! - cumulative[i - 1]!)) / steps) * (Math.PI / 2);
  return a + (b - a) * Math.sin(t) ** 2;
}
