import { describe, expect, it } from 'vitest';
import { METHODS } from '../../../lib/lowrank/approximate.js';
import { estimateMemory } from '../../../lib/lowrank/estimate.js';
import { factorizeSync } from '../../../lib/lowrank/factorize.js';
import { laser, laserSync } from '../../../lib/lowrank/laser.js';
import { memoryUsage, resetNativePeak } from '../../../lib/memory.js';
import { failure } from '../../support/failure.js';
import { gaussian } from '../../support/matrices.js';

const SHAPES: number[][] = [
  [256, 256],
  [900, 60],
  [60, 900],
  [400, 200],
  [8, 96, 96],
];

describe.each(METHODS)('estimateMemory, method %s', (method) => {
  for (const shape of SHAPES) {
    const smaller = Math.min(...shape.slice(-2));
    for (const rank of [1, Math.ceil(smaller / 10), Math.ceil(0.6 * smaller), smaller]) {
      for (const result of ['dense', 'in place', 'factors'] as const) {
        if (rank === smaller && result !== 'factors') continue; // a copy: see below
        it(`[${shape}], rank ${rank}, ${result}: bounds the measured peak, within 1.5 times`, () => {
          const w = gaussian(shape);
          const options = { rank, method, threads: 1 };
          const estimate = estimateMemory(shape, { ...options, result });
          resetNativePeak();
          const { certificate } =
            result === 'factors'
              ? factorizeSync(w, options)
              : laserSync.certified(w, { ...options, inPlace: result === 'in place' });
          const { peak, now } = memoryUsage().native;
          expect(now).toBe(0);
          expect(certificate.bytes).toBe(peak);
          expect(estimate.total).toBe(estimate.native + estimate.output);
          expect(peak).toBeLessThanOrEqual(estimate.worst);
          // Gaussian matrices are the hard case for the fast methods: some of these hand over.
          if (certificate.methodsTried.length > 1) return;
          expect(peak).toBeLessThanOrEqual(estimate.native);
          expect(estimate.native).toBeLessThanOrEqual(1.5 * peak);
        });
      }
    }
  }

  for (const kind of ['inputs', 'diagonal', 'outputs'] as const) {
    const shapes = [
      [256, 256],
      [400, 60],
      [60, 400],
      [400, 200],
      [200, 400],
    ] as const;
    const cases = shapes.flatMap((shape) =>
      [
        { share: 1, threads: 1 },
        { share: 0.1, threads: 2 },
        { share: 0.6, threads: 1 },
        { share: 0.6, threads: 2 },
      ].map(({ share, threads }) => ({ shape, rank: Math.ceil(share * Math.min(...shape)), threads })),
    );
    it.each(cases)(
      `$shape, rank $rank, $threads threads, moments ${kind}: bounds the peak, within 1.5 times`,
      (job) => {
        const { shape, rank, threads } = job;
        const [m, n] = shape;
        const w = gaussian(shape);
        const options = { rank, method, threads };
        const estimate = estimateMemory(shape, { ...options, moments: kind });
        expect(estimate).toMatchObject({ output: 4 * rank * (m + n + 1), total: estimate.native + estimate.output });
        const side = kind === 'outputs' ? m : n;
        // Of full rank, with variances that fall.
        const step = kind === 'diagonal' ? 1 : side + 1;
        const second = new Float64Array(kind === 'diagonal' ? side : side * side);
        for (let i = 0; i < side; i++) second[i * step] = 0.99 ** i;
        resetNativePeak();
        const { certificate } = factorizeSync(w, { ...options, moments: { kind, second } });
        const { peak, now } = memoryUsage().native;
        expect(now).toBe(0);
        expect(certificate.bytes).toBe(peak);
        expect(peak).toBeLessThanOrEqual(estimate.worst);
        if (certificate.methodsTried.length > 1) return;
        expect(peak).toBeLessThanOrEqual(estimate.native);
        expect(estimate.native).toBeLessThanOrEqual(1.5 * peak);
      },
    );

    it(`moments ${kind} that are singular stay below the worst`, () => {
      const [m, n, rank] = [300, 200, 150];
      const side = kind === 'outputs' ? m : n;
      const second = new Float64Array(kind === 'diagonal' ? side : side * side);
      for (let i = 0; i < 20; i++) second[kind === 'diagonal' ? i : i * (side + 1)] = 1;
      const estimate = estimateMemory([m, n], { rank, method, threads: 1, moments: kind });
      resetNativePeak();
      factorizeSync(gaussian([m, n]), { rank, method, threads: 1, moments: { kind, second } });
      expect(memoryUsage().native.peak).toBeLessThanOrEqual(estimate.worst);
    });
  }

  it('of small matrices and of tiny numbers stays below the worst', () => {
    for (const shape of [
      [12, 12],
      [16, 17],
      [70, 70],
      [300, 20],
      [14, 900],
    ] as const) {
      const least = Math.min(...shape);
      for (const rank of [1, least >> 1, least - 1]) {
        const w = gaussian(shape);
        for (const data of [w.data, w.data.map((value) => value * 2 ** -140), w.data.map(() => 0.25)]) {
          const estimate = estimateMemory(shape, { rank, method, threads: 2 });
          const { certificate } = laserSync.certified({ ...w, data }, { rank, method, threads: 2 });
          expect(certificate.bytes, `${shape} ${rank}`).toBeLessThanOrEqual(estimate.worst);
        }
      }
    }
  });

  it('matrices side by side take their memory each', () => {
    const w = gaussian([40, 96, 96]);
    const [one, two] = [1, 2].map((threads) => estimateMemory(w.shape, { rank: 5, method, threads }));
    expect(two!.native).toBeGreaterThan(1.5 * one!.native);
    resetNativePeak();
    laserSync(w, { rank: 5, method, threads: 2 });
    expect(memoryUsage().native.peak).toBeLessThanOrEqual(two!.worst);
  });

  it('is exact if nothing is computed, and covers the choices by energy', () => {
    expect(estimateMemory([50, 40], { rank: 40, method })).toEqual({ native: 0, worst: 0, output: 8000, total: 8000 });
    const w = gaussian([200, 150]);
    const estimate = estimateMemory([200, 150], { energy: 0.9, method });
    resetNativePeak();
    laserSync(w, { energy: 0.9, method });
    expect(memoryUsage().native.peak).toBeLessThanOrEqual(estimate.worst);
  });
});

describe('estimateMemory, with moments', () => {
  it('is of factors of one matrix', async () => {
    const moments = 'inputs';
    expect(estimateMemory([50, 40], { rank: 4, moments, result: 'factors' })).toEqual(
      estimateMemory([50, 40], { rank: 4, moments }),
    );
    const refused = async (shape: number[], options: object) =>
      failure(Promise.resolve().then(() => estimateMemory(shape, { rank: 4, moments, ...options })));
    expect(await refused([50, 40], { result: 'dense' })).toMatchObject({ code: 'ERR_ARGUMENT', argument: 'result' });
    expect(await refused([2, 50, 40], {})).toMatchObject({ code: 'ERR_SHAPE' });
    expect(await refused([50, 40], { moments: 'others' })).toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});

describe('memoryUsage', () => {
  it('reports the process, V8, and the native work memory while it is held', async () => {
    const { process: whole, native } = memoryUsage();
    expect(native.now).toBe(0);
    expect(whole.rss).toBeGreaterThan(10 ** 7);
    expect(whole.peakRss).toBeGreaterThanOrEqual(whole.rss);
    const running = laser(gaussian([700, 700]), { rank: 10, method: 'exact' });
    let seen = 0;
    const timer = setInterval(() => {
      seen = Math.max(seen, memoryUsage().native.now);
    }, 1);
    await running;
    clearInterval(timer);
    expect(seen).toBeGreaterThan(4 * 700 * 700);
    expect(memoryUsage().native.now).toBe(0);
  });
});
