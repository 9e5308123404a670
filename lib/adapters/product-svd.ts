import { LowRankError } from '../errors.js';
import { svdSync } from '../linalg/svd.js';
import type { PeftFactors } from './adapter.js';

/** Vectors of equal length, one array each. */
type Vectors = readonly Float64Array[];

/**
 * The thin SVD of a product B A: `B A = sum_i s_i u_i v_i^T`, as many terms as B has columns, or
 * the first of them.
 */
export interface ProductSvd {
  /** Of length out, orthonormal; zero where `s` is zero. */
  readonly u: Vectors;
  /** Descending, not negative: all of them. */
  readonly s: Float64Array;
  /** Of length in, orthonormal; of no meaning where `s` is zero. */
  readonly v: Vectors;
}

/**
 * A column that loses all but this share of its length to the earlier ones depends on them as far
 * as float64 can tell.
 */
const DEPENDENT = 2 ** -46;

/** A column that keeps this share of its length has lost no digits to the earlier ones. */
const MUCH_LEFT = Math.SQRT1_2;

/** Jacobi rotations smaller than this change nothing in float64. */
const ORTHOGONAL = 2 ** -50;

/**
 * Columns below this share of the longest one are rounding; turning them would not end, and their
 * length counts as zero.
 */
const NOISE = 2 ** -52;

/** From the start that is used, two or three suffice. */
const MAX_SWEEPS = 60;

/**
 * The SVD of B A without forming it: thin QR of both factors, B = Q R and A^T = P T, then the SVD
 * of the small R T^T (r x r), all in float64. Cost O((out + in) r^2 + r^3) instead of O(out * in *
 * min(out, in)).
 *
 * QR is by modified Gram-Schmidt, done twice where a column loses much of its length, which leaves
 * the columns orthonormal to rounding (Daniel, Gragg, Kaufman and Stewart 1976). The small SVD is
 * one-sided Jacobi (Golub and Van Loan, Matrix Computations, 4th edition, 8.6.3), begun from the
 * right singular vectors that LAPACK finds in float32, so that few sweeps are left.
 *
 * @param factors - `b` [out, r] and `a` [r, in], any r
 * @param count - how many vectors are wanted, once the singular values are known; all by default
 * @throws LowRankError `ERR_NO_CONVERGENCE`.
 */
export function productSvd({ b, a }: PeftFactors, count = (s: Float64Array): number => s.length): ProductSvd {
  const left = orthonormalise(columns(b.data, b.shape[1]!));
  const right = orthonormalise(rows(a.data, a.shape[0]!));
  const r = left.q.length;
  // Column j of R T^T, where R and T are upper triangular and kept by columns.
  const core = Array.from({ length: r }, (_, j) =>
    Float64Array.from({ length: r }, (_, i) => {
      let sum = 0;
      for (let l = Math.max(i, j); l < r; l++) sum += left.r[l]![i]! * right.r[l]![j]!;
      return sum;
    }),
  );
  const { u, s, v } = coreSvd(core);
  const wanted = count(s);
  return {
    u: u.slice(0, wanted).map((weights) => combine(left.q, weights)),
    s,
    v: v.slice(0, wanted).map((weights) => combine(right.q, weights)),
  };
}

/**
 * Orthonormal vectors `q` and the triangle `r` by columns: vector j is the sum of r[j][i] q[i] over
 * i <= j.
 */
function orthonormalise(vectors: Vectors): { q: Vectors; r: Vectors } {
  const q: Float64Array[] = [];
  const r: Float64Array[] = [];
  vectors.forEach((vector, j) => {
    const rest = vector.slice();
    const weights = new Float64Array(vectors.length);
    const before = length(rest);
    let after = before;
    for (let pass = 0; pass === 0 || (pass === 1 && after < before * MUCH_LEFT); pass++) {
      for (const [i, direction] of q.entries()) {
        const weight = dot(direction, rest);
        weights[i]! += weight;
        add(rest, direction, -weight);
      }
      after = length(rest);
    }
    if (after > before * DEPENDENT) {
      weights[j] = after;
      scale(rest, 1 / after);
    } else {
      rest.fill(0);
    }
    q.push(rest);
    r.push(weights);
  });
  return { q, r };
}

/** The SVD of a small square matrix given by its columns. */
function coreSvd(core: Vectors): ProductSvd {
  const v = start(core);
  const images = v.map((weights) => combine(core, weights));
  const noise = NOISE * images.reduce((most, image) => Math.max(most, length(image)), 0);
  for (let sweep = 0; ; sweep++) {
    let rotated = false;
    for (let p = 0; p < images.length; p++) {
      for (let q = p + 1; q < images.length; q++) {
        const [x, y] = [images[p]!, images[q]!];
        const [xx, yy, xy] = [dot(x, x), dot(y, y), dot(x, y)];
        if (Math.min(xx, yy) <= noise ** 2) continue;
        if (Math.abs(xy) <= ORTHOGONAL * Math.sqrt(xx) * Math.sqrt(yy)) continue;
        rotated = true;
        const zeta = (yy - xx) / (2 * xy);
        const tangent = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, tangent);
        rotate(x, y, cosine, cosine * tangent);
        rotate(v[p]!, v[q]!, cosine, cosine * tangent);
      }
    }
    if (!rotated) break;
    if (sweep === MAX_SWEEPS)
      throw new LowRankError('ERR_NO_CONVERGENCE', 'the SVD of the small core did not converge');
  }
  for (const image of images) if (length(image) <= noise) image.fill(0);
  const lengths = images.map(length);
  const order = lengths.map((_, i) => i).sort((i, j) => lengths[j]! - lengths[i]!);
  for (const [i, column] of images.entries()) if (lengths[i]! > 0) scale(column, 1 / lengths[i]!);
  return {
    u: order.map((i) => images[i]!),
    s: Float64Array.from(order, (i) => lengths[i]!),
    v: order.map((i) => v[i]!),
  };
}

/** Orthonormal vectors close to the right singular vectors. */
function start(core: Vectors): Float64Array[] {
  const r = core.length;
  const largest = core.reduce((most, column) => column.reduce((m, x) => Math.max(m, Math.abs(x)), most), 0);
  const unit = Array.from({ length: r }, (_, i) => Float64Array.from({ length: r }, (_, j) => (i === j ? 1 : 0)));
  if (largest === 0) return unit;
  // The core's columns as rows: the left vectors of that matrix are the right vectors of the core.
  const transposed = new Float32Array(r * r);
  for (const [j, column] of core.entries()) {
    for (const [i, value] of column.entries()) transposed[j * r + i] = value / largest;
  }
  const { u } = svdSync({ data: transposed, shape: [r, r] });
  return [...orthonormalise(columns(u.data, r)).q];
}

function columns(data: Float32Array, count: number): Float64Array[] {
  const height = data.length / count;
  return Array.from({ length: count }, (_, j) => Float64Array.from({ length: height }, (_, i) => data[i * count + j]!));
}

function rows(data: Float32Array, count: number): Float64Array[] {
  const width = data.length / count;
  return Array.from({ length: count }, (_, i) => Float64Array.from(data.subarray(i * width, (i + 1) * width)));
}

function combine(vectors: Vectors, weights: Float64Array): Float64Array {
  const sum = new Float64Array(vectors[0]!.length);
  for (const [i, vector] of vectors.entries()) add(sum, vector, weights[i]!);
  return sum;
}

function dot(x: Float64Array, y: Float64Array): number {
  // Four sums, because each addition to a single one would wait for the addition before it.
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  const whole = x.length - (x.length % 4);
  for (let i = 0; i < whole; i += 4) {
    s0 += x[i]! * y[i]!;
    s1 += x[i + 1]! * y[i + 1]!;
    s2 += x[i + 2]! * y[i + 2]!;
    s3 += x[i + 3]! * y[i + 3]!;
  }
  for (let i = whole; i < x.length; i++) s0 += x[i]! * y[i]!;
  return s0 + s1 + (s2 + s3);
}

function length(x: Float64Array): number {
  return Math.sqrt(dot(x, x));
}

/** x += weight * y */
function add(x: Float64Array, y: Float64Array, weight: number): void {
  if (weight === 0) return;
  for (let i = 0; i < x.length; i++) x[i]! += weight * y[i]!;
}

function scale(x: Float64Array, factor: number): void {
  for (let i = 0; i < x.length; i++) x[i]! *= factor;
}

function rotate(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i]!, y[i]!];
    x[i] = cosine * a - sine * b;
    y[i] = sine * a + cosine * b;
  }
}
