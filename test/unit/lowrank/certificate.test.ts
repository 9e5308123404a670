import { describe, expect, it } from 'vitest';
import { eye, factorizeSync, laserSync, type Tensor, tensor } from '../../../lib/index.js';
import { jacobiSvd as jacobi } from '../../support/jacobi.js';
import { distance, gaussian, norm, orthonormality, product } from '../../support/matrices.js';

const filled = (m: number, n: number, at: (i: number, j: number) => number): Tensor =>
  tensor(
    Float32Array.from({ length: m * n }, (_, i) => at(Math.floor(i / n), i % n)),
    [m, n],
  );
const hilbert = (m: number, n: number): Tensor => filled(m, n, (i, j) => 1 / (1 + i + j));

describe('a batch whose matrices have different ranks', () => {
  it.each([
    [{ tolerance: 1e-6 }, [2, 1]],
    [{ energy: 0.999999 }, [2, 1]],
    [{ energy: 0.5 }, [1, 1]],
  ])('keeps each at its own rank with %o', (options, ranks) => {
    const data = Float32Array.of(1, 0, 0, 1, 3, 4, 6, 8);
    const f = factorizeSync({ data, shape: [2, 2, 2] }, options);
    expect(f.certificates.map(({ rank }) => rank)).toEqual(ranks);
    if (ranks[0] === 2) expect(distance(f.reconstruct().data, data)).toBeLessThan(1e-5);
    else expect(distance(f.reconstruct().data.subarray(4), data.subarray(4))).toBeLessThan(1e-5);
    const x = { data: Float32Array.of(1, 2, 1, 2), shape: [2, 2, 1] };
    expect(distance(f.apply(x).data.subarray(2), [11, 22])).toBeLessThan(1e-4);
    expect(distance(f.truncate(1).reconstruct().data.subarray(4), [3, 4, 6, 8])).toBeLessThan(1e-4);
  });

  it.each([0.3, 0.6, 0.9, 0.999])('equals each of them alone at energy %d', (energy) => {
    const [m, n] = [13, 9];
    const parts = [eye(13).data.filter((_, i) => i % 13 < 9), gaussian([m, n], 3).data, hilbert(m, n).data];
    const f = factorizeSync(
      { data: Float32Array.from(parts.flatMap((part) => [...part])), shape: [3, m, n] },
      { energy },
    );
    for (const [i, data] of parts.entries()) {
      const alone = factorizeSync({ data, shape: [m, n] }, { energy });
      const own = f.reconstruct().data.subarray(i * m * n, (i + 1) * m * n);
      expect(distance(own, alone.reconstruct().data)).toBeLessThan(1e-5);
      expect(f.certificates[i]!.rank).toBe(alone.rank);
    }
  });
});

describe('a matrix that was made to mislead the public seed', () => {
  // splitmix64 and the sum of four uniform numbers, as native/core/random.h has them.
  const mask = (1n << 64n) - 1n;
  const bits = (seed: bigint, index: bigint): bigint => {
    let z = (seed + (index + 1n) * 0x9e3779b97f4a7c15n) & mask;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return z ^ (z >> 31n);
  };
  const start = (seed: bigint, column: number, n: number): Float64Array => {
    const stream = bits(seed, BigInt(column));
    return Float64Array.from({ length: n }, (_, i) => {
      const word = bits(stream, BigInt(i));
      return [0n, 16n, 32n, 48n].reduce((sum, shift) => sum + Number((word >> shift) & 0xffffn), -131070);
    });
  };

  it.each([0, 7])('is approximated to its certificate with seed %d', (seed) => {
    const n = 256;
    // A direction orthogonal to all 32 start vectors, with a singular value that none of them sees.
    const hidden = Float64Array.from(gaussian([n], 5).data);
    const basis: Float64Array[] = [];
    const remove = (x: Float64Array) => {
      for (const q of [...basis, ...basis]) {
        const dot = q.reduce((sum, value, i) => sum + value * x[i]!, 0);
        q.forEach((value, i) => {
          x[i]! -= dot * value;
        });
      }
      const length = norm(x);
      return x.map((value) => value / length);
    };
    for (let column = 0; column < 32; column++) basis.push(remove(start(BigInt(seed), column, n)));
    const direction = remove(hidden);
    const rest = gaussian([n, n], 8).data;
    const w = new Float32Array(n * n);
    for (let i = 0; i < n; i++) {
      let dot = 0;
      for (let j = 0; j < n; j++) dot += rest[i * n + j]! * direction[j]!;
      const size = 0.1 * 0.8 ** i;
      for (let j = 0; j < n; j++) {
        w[i * n + j] = size * (rest[i * n + j]! - dot * direction[j]!) + (i === 17 ? direction[j]! : 0);
      }
    }
    const { certificate } = laserSync.certified({ data: w, shape: [n, n] }, { rank: 4, seed, method: 'krylov' });
    const exact = laserSync.certified({ data: w, shape: [n, n] }, { rank: 4, method: 'exact' }).certificate;
    const excess = certificate.relativeError / exact.relativeError - 1;
    expect(excess).toBeLessThanOrEqual(certificate.excessBound + 1e-9);
    expect(excess).toBeLessThan(1e-5);
  });
});

describe('the excess bound', () => {
  it('is infinite if the smallest error is only rounding', () => {
    for (const w of [hilbert(67, 67), hilbert(40, 90)]) {
      const { certificate } = laserSync.certified(w, { rank: 35 });
      expect(certificate.excessBound).toBe(Number.POSITIVE_INFINITY);
    }
    expect(laserSync.certified(hilbert(67, 67), { rank: 59 }).certificate.excessBound).toBe(Number.POSITIVE_INFINITY);
  });

  it.each([
    [116, 4, 3],
    [47, 77, 28],
  ])('counts the rounding of the result: graded %d x %d at rank %d', (m, n, k) => {
    const w = n === 4 ? hilbert(m, n) : filled(m, n, (i, j) => Math.cos(i * j + i) * 10 ** ((-6 * i) / (m - 1)));
    for (const method of ['auto', 'gram', 'exact', 'krylov'] as const) {
      const { value, certificate } = laserSync.certified(w, { rank: k, method });
      const { s } = jacobi(w.data, m, n);
      const tail = Math.sqrt(s.slice(k).reduce((sum, x) => sum + x * x, 0));
      const excess = distance(value.data, w.data) / tail - 1;
      expect(excess, method).toBeLessThanOrEqual(certificate.excessBound + 1e-9);
    }
  });
});

describe('numbers near the ends of float32', () => {
  const near = (scale: number) => filled(40, 30, (i, j) => scale * (Math.sin(i * j + 1) + (i === j ? 2 : 0)) * 0.3);

  it.each([2.5e38, 1e37, 1e30, 1e-30, 1e-38])('are approximated as those of order 1: %d', (scale) => {
    const reference = laserSync.certified(near(1), { rank: 5 }).certificate;
    for (const method of ['auto', 'gram', 'exact', 'krylov'] as const) {
      const { value, certificate } = laserSync.certified(near(scale), { rank: 5, method });
      expect(value.data.every(Number.isFinite)).toBe(true);
      expect(certificate.relativeError).toBeCloseTo(reference.relativeError, 4);
      expect(certificate.norm / scale).toBeCloseTo(reference.norm, 3);
    }
    const byEnergy = laserSync.certified(near(scale), { energy: 0.9 }).certificate;
    expect(byEnergy.rank).toBe(laserSync.certified(near(1), { energy: 0.9 }).certificate.rank);
  });

  it('stay the same if the full rank is one', () => {
    const w = tensor([
      [3e38, 3e38],
      [3e38, 3e38],
    ]);
    for (const options of [{ rank: 1 }, { energy: 0.9 }, { tolerance: 0.1 }]) {
      const { value, certificate } = laserSync.certified(w, options);
      expect(certificate.rank).toBe(1);
      expect(distance(value.data, w.data) / norm(w.data)).toBeLessThan(1e-6);
    }
    expect(laserSync.certified(w, { rank: 0 }).certificate.spectralError / 6e38).toBeCloseTo(1, 6);
  });

  it('count the rounding to denormal numbers', () => {
    const w = filled(20, 30, (i, j) => 1e-42 * Math.sin(3 * i + 5 * j + i * j));
    const { value, certificate } = laserSync.certified(w, { rank: 5 });
    const { s } = jacobi(
      Float64Array.from(w.data, (x) => x * 2 ** 130),
      20,
      30,
    );
    const tail = Math.sqrt(s.slice(5).reduce((sum, x) => sum + x * x, 0)) * 2 ** -130;
    expect(distance(value.data, w.data) / tail - 1).toBeLessThanOrEqual(certificate.excessBound);
    expect(certificate.relativeError * certificate.norm).toBeCloseTo(distance(value.data, w.data), 50);
  });

  it('are refused if the result does not fit into float32', () => {
    const w = tensor([
      [3.4e38, 3.4e38],
      [3.4e38, -3.4e38],
    ]);
    expect(() => factorizeSync(w, { rank: 2 })).toThrow(expect.objectContaining({ code: 'ERR_NOT_FINITE' }));
  });
});

describe('factors', () => {
  const wide = [
    tensor([
      [1, 1, 1],
      [1, 1, 1 + 2 ** -23],
    ]),
    filled(28, 74, (i, j) => Math.cos(i * j + j) * 10 ** ((-9 * i) / 27)),
    filled(30, 50, (i, j) => (i % 3) * Math.sin(j) + 0 * i),
  ];

  it.each(wide.map((w) => [w.shape.join(' x '), w] as const))('have orthonormal rows in a: %s', (_, w) => {
    const [m, n] = w.shape as [number, number];
    for (const method of ['auto', 'gram', 'exact', 'krylov'] as const) {
      for (let rank = 1; rank <= m; rank += Math.max(1, m >> 2)) {
        const f = factorizeSync(w, { rank, method });
        expect(orthonormality(f.a.data, rank, n, 'rows')).toBeLessThan(1e-4);
        const lengths = Array.from({ length: rank }, (_, j) => norm(f.b.data.filter((_, i) => i % rank === j)));
        const largest = f.singularValues.data[0]!;
        for (const [j, length] of lengths.entries()) {
          expect(Math.abs(length - f.singularValues.data[j]!)).toBeLessThan(1e-5 * largest);
        }
      }
    }
  });

  it('have the certificate of their product, truncated ones too', () => {
    const w = gaussian([60, 45], 9);
    const { s } = jacobi(w.data, 60, 45);
    const f = factorizeSync(w, { rank: 30 });
    for (const rank of [30, 29, 12, 1, 0]) {
      const { b, a, certificate } = f.truncate(rank);
      const error = distance(product(b.data, a.data, 60, rank, 45), w.data);
      const tail = Math.sqrt(s.slice(rank).reduce((sum, x) => sum + x * x, 0));
      expect(certificate.relativeError * certificate.norm).toBeCloseTo(error, 4);
      expect(error / tail - 1).toBeLessThanOrEqual(certificate.excessBound + 1e-12);
    }
  });
});

describe('a share of the energy that is met exactly', () => {
  // energy * n as whole numbers, on the decimal that JavaScript prints.
  const expected = (energy: number, n: number): number => {
    const [, fraction = ''] = String(energy).split('.');
    if (energy === 1 || energy === 0) return energy * n;
    const scale = 10n ** BigInt(fraction.length);
    return Number((BigInt(fraction) * BigInt(n) + scale - 1n) / scale);
  };

  it('is enough, and less is not: every j/n of identities', () => {
    const wrong: string[] = [];
    for (let n = 1; n <= 59; n++) {
      for (let j = 1; j <= n; j++) {
        const energy = j / n;
        if (String(energy).includes('e')) continue;
        const { rank } = laserSync.certified(eye(n), { energy }).certificate;
        if (rank !== expected(energy, n)) wrong.push(`${j}/${n}: ${rank}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('of other orthogonal matrices and scales', () => {
    const hadamard = filled(16, 16, (i, j) => ((i & j).toString(2).replaceAll('0', '').length % 2 ? -1 : 1));
    const scaled = (by: number) => hadamard.mul(by);
    for (const by of [1, 2 ** -60, 2 ** 90]) {
      for (const [energy, rank] of [
        [0.5, 8],
        [0.25, 4],
        [0.9375, 15],
        [0.93750001, 16],
      ] as const) {
        expect(laserSync.certified(scaled(by), { energy }).certificate.rank).toBe(rank);
      }
    }
    expect(laserSync.certified(eye(10), { tolerance: 0.1 }).certificate.rank).toBe(10);
    expect(laserSync.certified(eye(100), { tolerance: 0.1 }).certificate.rank).toBe(99);
    expect(laserSync.certified(eye(25), { tolerance: 0.2 }).certificate.rank).toBe(24);
  });
});

describe('seconds', () => {
  it('are most of the time that the call took', () => {
    const w = gaussian([400, 400], 1);
    for (const batch of [1, 2]) {
      const data = Float32Array.from({ length: batch * w.data.length }, (_, i) => w.data[i % w.data.length]!);
      const begin = performance.now();
      const { certificates } = factorizeSync({ data, shape: [batch, 400, 400] }, { rank: 200, threads: 1 });
      const whole = (performance.now() - begin) / 1000;
      const sum = certificates.reduce((total, { seconds }) => total + seconds, 0);
      expect(sum).toBeGreaterThan(whole / 10);
      expect(sum).toBeLessThan(whole);
    }
  });
});
