/**
 * Singular values and vectors of an m x n matrix, thin (r = min(m, n)), row-major, s descending.
 */
export interface ReferenceSvd {
  /** `[m, r]` */
  readonly u: Float64Array;
  /** `[r]` */
  readonly s: Float64Array;
  /** `[r, n]` */
  readonly vt: Float64Array;
}

/**
 * The reference that tests hold the native code against: Hestenes' one-sided Jacobi method in
 * float64, which shares nothing with LAPACK and computes even tiny singular values to high relative
 * accuracy. Cost O(m n^2) per sweep, so for small matrices only. U and V^T have orthonormal columns
 * and rows also where the rank is deficient.
 *
 * Source: Golub and Van Loan, Matrix Computations, 4th edition, section 8.6.3.
 */
export function jacobiSvd(a: ArrayLike<number>, m: number, n: number): ReferenceSvd {
  if (a.length !== m * n) throw new Error(`jacobiSvd: ${a.length} numbers for ${m} x ${n}`);
  if (m >= n) {
    const { left, s, right } = tall((i, j) => a[i * n + j]!, m, n);
    return { u: asColumns(left, m), s, vt: asRows(right, n) };
  }
  const { left, s, right } = tall((i, j) => a[j * n + i]!, n, m);
  return { u: asColumns(right, m), s, vt: asRows(left, n) };
}

/** The best rank-k approximation (Eckart and Young, 1936) as an m x n row-major matrix. */
export function truncate({ u, s, vt }: ReferenceSvd, m: number, n: number, k: number): Float64Array {
  const r = s.length;
  const w = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let t = 0; t < Math.min(k, r); t++) {
      const c = u[i * r + t]! * s[t]!;
      for (let j = 0; j < n; j++) w[i * n + j]! += c * vt[t * n + j]!;
    }
  }
  return w;
}

function tall(at: (i: number, j: number) => number, m: number, n: number) {
  const left = Array.from({ length: n }, (_, j) => Float64Array.from({ length: m }, (_, i) => at(i, j)));
  const right = Array.from({ length: n }, (_, j) => Float64Array.from({ length: n }, (_, i) => (i === j ? 1 : 0)));

  // Squares of numbers near the ends of the float64 range would overflow or vanish.
  const largest = left.reduce((max, column) => column.reduce((most, x) => Math.max(most, Math.abs(x)), max), 0);
  if (!Number.isFinite(largest)) throw new Error('jacobiSvd: the matrix is not finite');
  if (largest > 0) for (const column of left) for (let i = 0; i < m; i++) column[i]! /= largest;

  // A column of rounding errors only is never orthogonal to the others in the relative sense: below
  // this it counts as zero.
  const negligible = (left.reduce((sum, column) => sum + dot(column, column), 0) * Number.EPSILON ** 2) / 16;
  let rotated = n > 1;
  for (let sweep = 0; rotated; sweep++) {
    if (sweep === 100) throw new Error('jacobiSvd: no convergence after 100 sweeps');
    rotated = false;
    for (let p = 0; p < n - 1; p++) {
      for (let q = p + 1; q < n; q++) {
        const alpha = dot(left[p]!, left[p]!);
        const beta = dot(left[q]!, left[q]!);
        const gamma = dot(left[p]!, left[q]!);
        if (alpha <= negligible || beta <= negligible) continue;
        if (Math.abs(gamma) <= m * Number.EPSILON * Math.sqrt(alpha * beta)) continue;
        rotated = true;
        const zeta = (beta - alpha) / (2 * gamma);
        const t = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const c = 1 / Math.hypot(1, t);
        rotate(left[p]!, left[q]!, c, c * t);
        rotate(right[p]!, right[q]!, c, c * t);
      }
    }
  }

  const norms = left.map((column) => Math.sqrt(dot(column, column)));
  const order = norms.map((_, j) => j).sort((x, y) => norms[y]! - norms[x]!);
  const floor = Math.sqrt(negligible);
  const basis: Float64Array[] = [];
  for (const j of order) {
    basis.push(norms[j]! > floor ? left[j]!.map((x) => x / norms[j]!) : completion(basis, m));
  }
  return { left: basis, s: Float64Array.from(order, (j) => norms[j]! * largest), right: order.map((j) => right[j]!) };
}

/** A unit vector orthogonal to all of `basis`, which must have fewer than m members. */
function completion(basis: readonly Float64Array[], m: number): Float64Array {
  for (let axis = 0; axis < m; axis++) {
    const v = Float64Array.from({ length: m }, (_, i) => (i === axis ? 1 : 0));
    // Twice is enough: Gram-Schmidt once leaves rounding errors along the basis, twice does not
    // (Kahan and Parlett).
    for (let pass = 0; pass < 2; pass++) {
      for (const b of basis) {
        const along = dot(b, v);
        for (let i = 0; i < m; i++) v[i]! -= along * b[i]!;
      }
    }
    const norm = Math.sqrt(dot(v, v));
    if (norm > 0.5 / Math.sqrt(m)) return v.map((x) => x / norm);
  }
  throw new Error('jacobiSvd: the basis is already complete');
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function rotate(x: Float64Array, y: Float64Array, c: number, s: number): void {
  for (let i = 0; i < x.length; i++) {
    const xi = x[i]!;
    const yi = y[i]!;
    x[i] = c * xi - s * yi;
    y[i] = s * xi + c * yi;
  }
}

function asColumns(vectors: readonly Float64Array[], length: number): Float64Array {
  const out = new Float64Array(length * vectors.length);
  vectors.forEach((v, j) => {
    for (let i = 0; i < length; i++) out[i * vectors.length + j] = v[i]!;
  });
  return out;
}

function asRows(vectors: readonly Float64Array[], length: number): Float64Array {
  const out = new Float64Array(length * vectors.length);
  vectors.forEach((v, i) => {
    out.set(v, i * length);
  });
  return out;
}
