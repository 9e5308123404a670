import { describe, expect, it } from 'vitest';
import { biasCorrection, centred, factorize, factorizeSync, type LowRank, type Moments } from '../../../lib/index.js';
import { failure } from '../../support/failure.js';
import { jacobiSvd as jacobi } from '../../support/jacobi.js';
import { distance, gaussian, norm, orthonormality, product } from '../../support/matrices.js';

/**
 * `count` vectors of calibration, one a row, and their moments; of `spread` below 1 ever smaller
 * along later dimensions.
 */
function calibration(n: number, count: number, { spread = 1, shift = 0, seed = 2 } = {}) {
  const x = Float64Array.from(gaussian([count, n], seed).data, (value, i) => (value + shift) * spread ** (i % n));
  const mean = new Float64Array(n);
  const second = new Float64Array(n * n);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < n; i++) {
      mean[i]! += x[row * n + i]! / count;
      for (let j = 0; j < n; j++) second[i * n + j]! += (x[row * n + i]! * x[row * n + j]!) / count;
    }
  }
  const moments: Moments = { kind: 'inputs', second, mean, count };
  return { x, moments };
}

/** W X^T / sqrt(count), whose singular values are those of the weighted problem. */
function image(w: Float32Array, x: Float64Array, m: number, n: number): Float64Array {
  const count = x.length / n;
  const columns = Float64Array.from(
    { length: n * count },
    (_, i) => x[(i % count) * n + Math.floor(i / count)]! / Math.sqrt(count),
  );
  return product(w, columns, m, n, count);
}

const tail = (s: ArrayLike<number>, k: number) => norm(Array.from(s).slice(k));
/** The weighted error of factors, on the vectors themselves. */
function errorOf(f: LowRank, w: Float32Array, x: Float64Array): number {
  const [m, n] = f.shape as [number, number];
  return distance(image(w, x, m, n), image(f.reconstruct().data, x, m, n));
}
const outputsOf = (w: Float32Array, x: Float64Array, m: number, n: number): Moments => {
  const y = image(w, x, m, n);
  const columns = y.length / m;
  const transposed = Float64Array.from(y, (_, i) => y[(i % m) * columns + Math.floor(i / m)]!);
  return { kind: 'outputs', second: product(y, transposed, m, columns, m) };
};

describe('factors weighted by the moments of the inputs', () => {
  it.each([
    [20, 30, 200, 0.8],
    [30, 20, 200, 0.8],
    [20, 30, 200, 1],
    // Fewer vectors than dimensions: C is singular.
    [20, 30, 10, 0.9],
    [30, 20, 7, 1],
  ])('of %d x %d with %d vectors reach the smallest mean error there is', (m, n, count, spread) => {
    const w = gaussian([m, n]);
    const { x, moments } = calibration(n, count, { spread });
    const best = jacobi(image(w.data, x, m, n), m, count);
    for (const rank of [0, 1, 5, 12]) {
      const f = factorizeSync(w, { rank, moments });
      const least = tail(best.s, rank);
      const error = errorOf(f, w.data, x);
      expect(f.rank).toBe(rank);
      const { excessBound } = f.certificate;
      if (Number.isFinite(excessBound))
        expect(error).toBeLessThanOrEqual(least * (1 + excessBound) + 1e-6 * norm(best.s));
      expect(error).toBeLessThanOrEqual(least * (1 + 1e-6) + 1e-6 * norm(best.s));
      expect(f.certificate.norm / norm(best.s)).toBeCloseTo(1, 6);
      expect(Math.abs(f.certificate.relativeError - error / norm(best.s))).toBeLessThan(1e-6);
      expect(orthonormality(f.b.data, m, rank, 'columns')).toBeLessThan(1e-5);
      const expected = Float64Array.from({ length: rank }, (_, i) => best.s[i] ?? 0);
      expect(distance(f.singularValues.data, expected)).toBeLessThan(1e-5 * best.s[0]!);
      // Where the vectors leave an error at all, the bound says that it is the smallest.
      if (least > 1e-3 * norm(best.s)) expect(excessBound).toBeLessThan(1e-4);
    }
  });

  it('are those of W alone where all directions weigh the same', () => {
    const w = gaussian([12, 9]);
    const second = Float64Array.from({ length: 81 }, (_, i) => (i % 10 === 0 ? 1 : 0));
    const weighted = factorizeSync(w, { rank: 4, moments: { kind: 'inputs', second } });
    expect(distance(weighted.reconstruct().data, factorizeSync(w, { rank: 4 }).reconstruct().data)).toBeLessThan(1e-5);
  });

  it('bring what the moments do not see as near to W as the rest of the rank can', () => {
    const [m, n] = [15, 12];
    const w = gaussian([m, n]);
    const { x, moments } = calibration(n, 4);
    const f = factorizeSync(w, { rank: 8, moments });
    expect(errorOf(f, w.data, x)).toBeLessThan(1e-5);
    // The 4 outputs of the vectors, and of what they leave of W the 4 leading directions.
    const seen = factorizeSync(w, { rank: 4, moments });
    const left = w.data.map((value, i) => value - seen.reconstruct().data[i]!);
    expect(distance(w.data, f.reconstruct().data)).toBeCloseTo(tail(jacobi(left, m, n).s, 4), 4);
    const whole = factorizeSync(w, { rank: 12, moments });
    expect(distance(w.data, whole.reconstruct().data)).toBeLessThan(1e-4);
  });

  it('take a diagonal as uncorrelated inputs', () => {
    const w = gaussian([10, 6]);
    const diagonal = Float64Array.of(4, 1, 0, 9, 0.25, 1e-6);
    const second = Float64Array.from({ length: 36 }, (_, i) => (i % 7 === 0 ? diagonal[i / 7]! : 0));
    const f = factorizeSync(w, { rank: 3, moments: { kind: 'diagonal', second: diagonal } });
    const full = factorizeSync(w, { rank: 3, moments: { kind: 'inputs', second } });
    expect(distance(f.reconstruct().data, full.reconstruct().data)).toBeLessThan(1e-5);
    expect(f.certificate.relativeError).toBeCloseTo(full.certificate.relativeError, 6);
  });

  it('are the same from the moments of the outputs', () => {
    const w = gaussian([8, 20]);
    const { x, moments } = calibration(20, 100, { spread: 0.9 });
    const outputs = outputsOf(w.data, x, 8, 20);
    const f = factorizeSync(w, { rank: 3, moments: outputs });
    const full = factorizeSync(w, { rank: 3, moments });
    expect(distance(f.reconstruct().data, full.reconstruct().data)).toBeLessThan(1e-4);
    expect(f.certificate.relativeError).toBeCloseTo(full.certificate.relativeError, 6);
  });

  it('choose the rank by the share of the weighted energy, and can be truncated', () => {
    const [m, n] = [16, 24];
    const w = gaussian([m, n]);
    const { x, moments } = calibration(n, 100, { spread: 0.7 });
    const best = jacobi(image(w.data, x, m, n), m, 100);
    const total = norm(best.s) ** 2;
    const f = factorizeSync(w, { energy: 0.95, moments });
    expect(tail(best.s, f.rank) ** 2).toBeLessThanOrEqual(0.05 * total * (1 + 1e-6));
    expect(tail(best.s, f.rank - 1) ** 2).toBeGreaterThan(0.05 * total);
    const all = factorizeSync(w, { rank: 16, moments });
    for (const rank of [1, 4, 9]) {
      const cut = all.truncate(rank);
      expect(errorOf(cut, w.data, x)).toBeLessThanOrEqual(tail(best.s, rank) * (1 + 1e-5));
      expect(cut.certificate.relativeError).toBeCloseTo(tail(best.s, rank) / norm(best.s), 5);
    }
  });

  it('give the same asynchronously', async () => {
    const w = gaussian([20, 30]);
    const { moments } = calibration(30, 60);
    const f = await factorize(w, { rank: 5, moments });
    expect(f.a.data).toEqual(factorizeSync(w, { rank: 5, moments }).a.data);
  });

  it('of moments that are all zero are those of W alone', () => {
    const w = gaussian([6, 5]);
    const f = factorizeSync(w, { rank: 2, moments: { kind: 'inputs', second: new Float64Array(25) } });
    expect(f.certificate).toMatchObject({ norm: 0, relativeError: 0, excessBound: 0 });
    expect(distance(f.reconstruct().data, factorizeSync(w, { rank: 2 }).reconstruct().data)).toBeLessThan(1e-5);
  });

  it.each([
    ['a negative direction', Float64Array.of(1, 2, 2, 1), 'ERR_ARGUMENT'],
    ['an asymmetric matrix', Float64Array.of(1, 0.9, 0, 1), 'ERR_ARGUMENT'],
    ['a negative variance', Float64Array.of(-1, 0, 0, 1), 'ERR_ARGUMENT'],
    ['a NaN', Float64Array.of(1, Number.NaN, Number.NaN, 1), 'ERR_NOT_FINITE'],
    ['an infinity', Float64Array.of(Number.POSITIVE_INFINITY, 0, 0, 1), 'ERR_NOT_FINITE'],
    ['another size', new Float64Array(9), 'ERR_SHAPE'],
  ])('refuse moments with %s', (_, second, code) => {
    const refused = failure(() => factorizeSync(gaussian([3, 2]), { rank: 1, moments: { kind: 'inputs', second } }));
    expect(refused.code).toBe(code);
  });

  it('refuse batches, and options that are no moments', () => {
    const second = new Float64Array(4);
    expect(
      failure(() => factorizeSync(gaussian([2, 3, 2]), { rank: 1, moments: { kind: 'inputs', second } })).code,
    ).toBe('ERR_SHAPE');
    const moments = { kind: 'sideways', second } as unknown as Moments;
    expect(failure(() => factorizeSync(gaussian([3, 2]), { rank: 1, moments })).code).toBe('ERR_ARGUMENT');
    expect(failure(() => factorizeSync(gaussian([3, 2]), { rank: 1, moments: {} as Moments })).code).toBe(
      'ERR_ARGUMENT',
    );
  });
});

describe('the mean of the inputs', () => {
  const [m, n] = [12, 18];
  const w = gaussian([m, n]);
  const { x, moments } = calibration(n, 80, { shift: 2 });
  const centredError = (f: LowRank) => {
    const about = x.map((value, i) => value - moments.mean![i % n]!);
    return errorOf(f, w.data, about);
  };

  it('goes into the bias, and the factors are those of the moments about it', () => {
    const f = factorizeSync(w, { rank: 4, moments: centred(moments) });
    const correction = biasCorrection(w, f, moments);
    const wx = product(w.data, moments.mean!, m, n, 1);
    const kept = product(f.reconstruct().data, moments.mean!, m, n, 1);
    expect(
      distance(
        correction,
        wx.map((value, i) => value - kept[i]!),
      ),
    ).toBeLessThan(1e-5);
    // With the bias, the error is that about the mean; it is smaller than the best without one.
    expect(centredError(f)).toBeLessThan(errorOf(factorizeSync(w, { rank: 4, moments }), w.data, x));
    expect(f.certificate.relativeError * f.certificate.norm).toBeCloseTo(centredError(f), 5);
  });

  it('may be that of the outputs', () => {
    const f = factorizeSync(w, { rank: 4, moments });
    const outputs: Moments = {
      ...outputsOf(w.data, x, m, n),
      mean: product(w.data, moments.mean!, m, n, 1),
    };
    expect(distance(biasCorrection(w, f, outputs), biasCorrection(w, f, moments))).toBeLessThan(1e-4);
    const about = centred(outputs);
    expect(about.second[0]).toBeCloseTo(outputs.second[0]! - outputs.mean![0]! ** 2, 10);
  });

  it('leaves no variance below 0 on a diagonal', () => {
    const about = centred({ kind: 'diagonal', second: Float64Array.of(4, 1), mean: Float64Array.of(1, 1.0000001) });
    expect([...about.second]).toEqual([3, 0]);
    expect([...about.mean!]).toEqual([0, 0]);
  });

  it('has to be there, and of the right length', () => {
    expect(failure(() => centred({ kind: 'inputs', second: new Float64Array(4) })).code).toBe('ERR_ARGUMENT');
    const mean = new Float64Array(3);
    expect(failure(() => centred({ kind: 'inputs', second: new Float64Array(4), mean })).code).toBe('ERR_SHAPE');
    const f = factorizeSync(w, { rank: 1 });
    expect(failure(() => biasCorrection(gaussian([3, 3]), f, moments)).code).toBe('ERR_SHAPE');
  });
});
