import { describe, expect, it } from 'vitest';
import { chooseWithin, menuFrom } from '../../../lib/compress/menus.js';
import { lossCurve, parametersOf, ranksFor, type Storage } from '../../../lib/compress/ranks.js';
import { random } from '../../support/random.js';

interface Candidate {
  readonly name: string;
  readonly m: number;
  readonly n: number;
  readonly singularValues: ArrayLike<number>;
  readonly weight?: number;
}

/** Ranks of all, or dense, within a budget of numbers. */
function allocate(
  candidates: readonly Candidate[],
  { budget, storage = 'factors' }: { readonly budget: number; readonly storage?: Storage },
) {
  const menus = candidates.map(({ m, n, singularValues, weight = 1 }) =>
    menuFrom([
      { rank: undefined, size: m * n, loss: 0 },
      ...ranksFor({ m, n }, singularValues, storage).map(({ rank, loss }) => ({
        rank,
        size: parametersOf(m, n, rank, storage),
        loss: weight * loss,
      })),
    ]),
  );
  const matrices = chooseWithin<(typeof menus)[number][number]>(menus, budget)!.map(({ rank, size, loss }, i) => {
    return { name: candidates[i]!.name, rank, parameters: size, loss };
  });
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  return {
    matrices,
    parameters: sum(matrices.map(({ parameters }) => parameters)),
    loss: sum(matrices.map(({ loss }) => loss)),
  };
}

const falling = (count: number, power: number) => Float64Array.from({ length: count }, (_, i) => (i + 1) ** -power);
const candidate = (name: string, m: number, n: number, power = 1, weight?: number): Candidate => ({
  name,
  m,
  n,
  singularValues: falling(Math.min(m, n), power),
  ...(weight !== undefined && { weight }),
});
const dense = (all: readonly Candidate[]) => all.reduce((sum, { m, n }) => sum + m * n, 0);

describe('the loss at every rank', () => {
  it('is the share of the energy beyond it, from one spectrum', () => {
    expect([...lossCurve([2, 1, 0])]).toEqual([1, 0.2, 0, 0]);
    expect([...lossCurve([0, 0])]).toEqual([0, 0, 0]);
    expect(lossCurve([1, 1e-12])[1]).toBeCloseTo(1e-24, 36);
  });
});

describe('the size of factors', () => {
  it('is k (m + n), and less by k^2 where only the coefficients of other rows than the pivots are stored', () => {
    expect(parametersOf(10, 6, 3, 'factors')).toBe(48);
    expect(parametersOf(10, 6, 3, 'pivoted')).toBe(39);
    // Pivoted factors of full rank hold as much as the matrix.
    expect(parametersOf(10, 6, 6, 'pivoted')).toBe(60);
  });
});

describe('ranks under one budget', () => {
  const model = [
    candidate('steep', 64, 64, 2),
    candidate('flat', 64, 64, 0.2),
    candidate('wide', 64, 256, 1),
    candidate('tall', 256, 64, 1),
  ];

  it.each(['factors', 'pivoted'] as const)('fit into it, and use what a further step of 8 would (%s)', (storage) => {
    for (const keep of [0.3, 0.5, 0.7, 0.9, 0.99]) {
      const budget = keep * dense(model);
      const { matrices, parameters, loss } = allocate(model, { budget, storage });
      expect(parameters).toBeLessThanOrEqual(budget);
      expect(matrices.reduce((sum, { parameters: own }) => sum + own, 0)).toBe(parameters);
      expect(matrices.reduce((sum, { loss: own }) => sum + own, 0)).toBeCloseTo(loss, 12);
      for (const [i, { rank, parameters: own }] of matrices.entries()) {
        const { m, n } = model[i]!;
        if (rank === undefined) expect(own).toBe(m * n);
        else {
          expect(rank % 8).toBe(0);
          expect(own).toBe(parametersOf(m, n, rank, storage));
          expect(own).toBeLessThan(m * n);
          const next = parametersOf(m, n, rank + 8, storage);
          if (next < m * n) expect(parameters + next - own).toBeGreaterThan(budget);
        }
      }
    }
  });

  it('leave all dense where all may be kept', () => {
    const { matrices, loss } = allocate(model, { budget: dense(model) });
    expect(matrices.every(({ rank }) => rank === undefined)).toBe(true);
    expect(loss).toBe(0);
  });

  it('keep the matrix dense that suffers, and cut the one that does not', () => {
    const { matrices } = allocate(model.slice(0, 2), { budget: 0.65 * dense(model.slice(0, 2)) });
    expect(matrices[1]!.rank).toBeUndefined();
    expect(matrices[0]!.rank).toBeLessThan(16);
  });

  it('follow the weights', () => {
    const pair = (weight: number) => [candidate('a', 64, 64, 0.7, weight), candidate('b', 64, 64, 0.7)];
    const [a, b] = allocate(pair(50), { budget: 0.7 * 8192 }).matrices;
    expect(a!.parameters).toBeGreaterThan(b!.parameters);
    const [c, d] = allocate(pair(0.02), { budget: 0.7 * 8192 }).matrices;
    expect(c!.parameters).toBeLessThan(d!.parameters);
  });

  it('are never worse than the same share for every matrix', () => {
    const next = random(5);
    for (let round = 0; round < 40; round++) {
      const all = Array.from({ length: 6 }, (_, i) =>
        candidate(
          `m${i}`,
          16 * (1 + Math.floor(next() * 6)),
          16 * (1 + Math.floor(next() * 6)),
          0.1 + 2 * next(),
          next(),
        ),
      );
      const share = 0.2 + 0.7 * next();
      const budget = share * dense(all);
      const uniform = all.map(({ m, n }) => Math.floor((share * m * n) / (m + n) / 8) * 8);
      if (uniform.some((rank) => rank === 0)) continue;
      const loss = all.reduce(
        (sum, { singularValues, weight }, i) => sum + weight! * lossCurve(singularValues)[uniform[i]!]!,
        0,
      );
      expect(allocate(all, { budget }).loss).toBeLessThanOrEqual(loss * (1 + 1e-12));
    }
  });

  it('are the best there are, for a few small matrices', () => {
    const next = random(9);
    for (let round = 0; round < 20; round++) {
      const all = Array.from({ length: 3 }, (_, i) => candidate(`m${i}`, 32, 48, 0.1 + 2 * next(), 0.1 + next()));
      const budget = (0.5 + 0.45 * next()) * dense(all);
      const menu = all.map(({ m, n, singularValues, weight }) => [
        { parameters: m * n, loss: 0 },
        ...[8, 16].map((rank) => ({
          parameters: parametersOf(m, n, rank, 'factors'),
          loss: weight! * lossCurve(singularValues)[rank]!,
        })),
      ]);
      let best = Number.POSITIVE_INFINITY;
      for (const a of menu[0]!)
        for (const b of menu[1]!)
          for (const c of menu[2]!)
            if (a.parameters + b.parameters + c.parameters <= budget) best = Math.min(best, a.loss + b.loss + c.loss);
      const { loss, parameters } = allocate(all, { budget });
      expect(parameters).toBeLessThanOrEqual(budget);
      // Exchanges of two reach it all but always.
      expect(loss).toBeLessThanOrEqual(best * 1.05 + 1e-12);
    }
  });

  it('give a matrix of rank 8 its rank, not more', () => {
    const lowRank: Candidate = { name: 'r8', m: 64, n: 64, singularValues: Float64Array.from({ length: 8 }, () => 1) };
    const { matrices, loss } = allocate([lowRank], { budget: 0.9 * 4096 });
    expect(matrices[0]).toEqual({ name: 'r8', rank: 8, parameters: 1024, loss: 0 });
    expect(loss).toBe(0);
  });

  it('leave dense what is too small for factors of any rank', () => {
    const { matrices } = allocate([candidate('tiny', 8, 8), candidate('large', 64, 64)], { budget: 2500 });
    expect(matrices[0]!.rank).toBeUndefined();
    expect(matrices[1]!.rank).toBeGreaterThan(0);
  });
});
