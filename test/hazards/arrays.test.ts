import { describe, expect, it } from 'vitest';
import { addon } from '../../lib/addon/load.js';
import { LowRankError } from '../../lib/errors.js';
import { matmul } from '../../lib/linalg/matmul.js';
import { matrixRank, singularValues, svd } from '../../lib/linalg/svd.js';
import { factorize } from '../../lib/lowrank/factorize.js';
import { laser } from '../../lib/lowrank/laser.js';
import type { TensorLike } from '../../lib/tensor/tensor.js';
import { nativeAddon } from '../fuzz/targets/addon.js';
import { gaussian } from '../support/matrices.js';
import { run, TRIED } from './support.js';

type Job = Record<string, unknown>;
const ARRAYS = { f32: Float32Array, f64: Float64Array, i32: Int32Array, u8: Uint8Array } as const;

/**
 * A sound job for every function of the addon, from the seeds of fuzzing: those whose arrays are
 * not empty.
 */
function soundJobs(): [string, Job][] {
  const jobs = new Map<string, Job>();
  for (const seed of nativeAddon.seeds()) {
    const { fn, job } = JSON.parse(Buffer.from(seed).toString('utf8')) as { fn: string; job: Job };
    const made = Object.fromEntries(
      Object.entries(job).map(([field, value]) => {
        const { t, n } = Object(value) as { t: keyof typeof ARRAYS; n: number };
        // A control of ones would stop the job.
        return [field, t in ARRAYS ? new ARRAYS[t](n).fill(field === 'control' ? 0 : 1) : value];
      }),
    );
    // The columns of a factor that is interpolated have to be independent.
    if (fn.startsWith('interpolate')) made.b = gaussian([(made.b as Float32Array).length, 1]).data;
    const arrays = Object.values(made).filter((value) => ArrayBuffer.isView(value));
    if (arrays.length > 0 && arrays.every(({ byteLength }) => byteLength > 0) && !('maxMemory' in made))
      jobs.set(fn, made);
  }
  return [...jobs];
}

const ResizableBuffer = ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer;
const GrowableBuffer = SharedArrayBuffer as unknown as new (length: number, options: object) => SharedArrayBuffer;

/** What an array must not be. Each answers with something of the wrong kind in its place. */
const SPOILS: [string, (array: Float32Array) => unknown][] = [
  ['absent', () => undefined],
  ['null', () => null],
  ['a list', (array) => [...array]],
  ['its buffer', (array) => array.buffer],
  ['a DataView', (array) => new DataView(array.buffer)],
  ['of 16 bit numbers', (array) => new Uint16Array(array.length)],
  ['of big integers', (array) => new BigInt64Array(array.length)],
  ['one too short', (array) => array.slice(1)],
  ['one too long', (array) => new (array.constructor as typeof Float32Array)(array.length + 1)],
  [
    'detached',
    (array) => {
      const copy = array.slice();
      structuredClone(copy.buffer, { transfer: [copy.buffer] });
      return copy;
    },
  ],
  [
    'on a resizable buffer',
    (array) => copied(array, new ResizableBuffer(array.byteLength, { maxByteLength: 1 << 16 })),
  ],
  ['on a growable buffer', (array) => copied(array, new GrowableBuffer(array.byteLength, { maxByteLength: 1 << 16 }))],
  [
    'an object that says it is an array',
    (array) => ({ ...array, length: array.length, [Symbol.toStringTag]: 'Float32Array' }),
  ],
];

function copied(array: Float32Array, buffer: ArrayBuffer | SharedArrayBuffer): Float32Array {
  const copy = new (array.constructor as typeof Float32Array)(buffer as ArrayBuffer);
  copy.set(array);
  return copy;
}

const OPTIONAL = new Set(['b', 'dense', 'u', 'bias', 'velocity', 'control']);

describe('every array of every native function', () => {
  const jobs = soundJobs();

  it('has a sound job to be spoilt', () => {
    const functions = Object.keys(addon()).filter((name) => !/^(info|memory|resetPeak|estimate)/.test(name));
    expect(jobs.map(([name]) => name).sort()).toEqual(functions.sort());
  });

  it.each(jobs)('%s', async (name, job) => {
    const native = (addon() as unknown as Record<string, (job: Job) => unknown>)[name]!;
    await native(job);
    let spoilt = 0;
    for (const [field, array] of Object.entries(job).filter(([, value]) => ArrayBuffer.isView(value))) {
      for (const [how, spoil] of SPOILS) {
        if (OPTIONAL.has(field) && (how === 'absent' || how === 'null')) continue;
        const attempt = () => native({ ...job, [field]: spoil(array as Float32Array) });
        expect(attempt, `${field} ${how}`).toThrow(
          expect.objectContaining({ code: expect.stringMatching(/^ERR_(ARGUMENT|SHAPE)$/) }),
        );
        spoilt++;
      }
    }
    expect(spoilt).toBeGreaterThan(10);
  });

  it('a getter that gives an earlier array away is noticed', () => {
    for (const name of ['svd', 'svdAsync'] as const) {
      const w = new Float32Array(64).fill(1);
      const job = { batch: 1, m: 8, n: 8, w, s: new Float32Array(8) };
      Object.defineProperty(job, 'out', {
        get: () => {
          structuredClone(w.buffer, { transfer: [w.buffer] });
          return new Float64Array(1);
        },
      });
      expect(() => addon()[name](job as never)).toThrow(/changed while the job was read/);
    }
  });
});

describe('the library', () => {
  const CALLS: [string, (w: TensorLike) => Promise<unknown>][] = [
    ['laser', (w) => laser(w, { rank: 1 })],
    ['factorize', (w) => factorize(w, { rank: 1 })],
    ['svd', (w) => svd(w)],
    ['singularValues', (w) => singularValues(w)],
    ['matrixRank', (w) => matrixRank(w)],
    ['matmul', (w) => matmul(w, w)],
  ];

  it.each(CALLS)('%s refuses the wrong arrays with its own errors, and takes shared ones', async (_, call) => {
    const w = gaussian([4, 4]).data;
    for (const [how, spoil] of SPOILS) {
      const data = spoil(w) as Float32Array;
      await expect(call({ data, shape: [4, 4] }), how).rejects.toBeInstanceOf(LowRankError);
    }
    const shared = copied(w, new SharedArrayBuffer(w.byteLength));
    expect(numbersOf(await call({ data: shared, shape: [4, 4] }))).toEqual(
      numbersOf(await call({ data: w, shape: [4, 4] })),
    );
  });
});

/** All arrays of a result: its certificate tells the time too. */
function numbersOf(result: unknown): unknown {
  if (typeof result !== 'object' || result === null || ArrayBuffer.isView(result)) return result;
  const parts = Object.entries(result).map(([key, part]) => [key, numbersOf(part)]);
  return Object.fromEntries(parts.filter(([key]) => !/^certificate/.test(String(key))));
}

describe('an input that is given away during the run', () => {
  it.each(TRIED)('%s reads what was there', async (name) => {
    const { out, exit, signal } = await run(
      `
      import { Worker } from 'node:worker_threads';
      const same = (x, y) => JSON.stringify(x.s ?? x.singularValues ?? x.data ?? x) === JSON.stringify(y.s ?? y.singularValues ?? y.data ?? y);
      // Large: untransferable. Small: copied.
      for (const n of [520, 60]) {
        const expected = await start.${name}(matrix(n), { threads: 1 });
        const w = matrix(n);
        const running = start.${name}(w, { threads: 1 });
        const receiver = new Worker('require("node:worker_threads").parentPort.once("message", () => {})', { eval: true, execArgv: [] });
        try {
          receiver.postMessage(w.data, [w.data.buffer]);
        } catch (error) {
          if (error.name !== 'DataCloneError') throw error;
        }
        if (w.data.buffer.transfer) try { w.data.buffer.transfer(0); } catch {}
        await new Promise((resolve) => receiver.once('exit', resolve));
        for (let i = 0; i < 4; i++) { globalThis.gc(); new Float32Array(1e6).fill(1e30); }
        if (!same(await running, expected)) console.log('another result at', n);
      }
      console.log('native bytes', memoryUsage().native.now);`,
      ['--expose-gc'],
    );
    expect({ out, exit, signal }).toEqual({ out: 'native bytes 0\n', exit: 0, signal: null });
  });
});

describe('a shared input that another thread writes to during the run', () => {
  it.each(TRIED)('%s ends, with a result or with ERR_NOT_FINITE', async (name) => {
    const { out, exit, signal, seconds } = await run(`
      import { Worker } from 'node:worker_threads';
      const n = 260;
      const shared = new Float32Array(new SharedArrayBuffer(4 * n * n));
      const writer = new Worker(\`
        const { workerData } = require('node:worker_threads');
        const x = new Float32Array(workerData.buffer);
        const bad = [NaN, Infinity, -Infinity, 1e38, -1e38, 0, 1e-45];
        for (let i = 0; ; i = (i + 7919) % x.length) x[i] = Math.random() < 0.01 ? bad[Math.floor(Math.random() * 7)] : Math.random();
      \`, { eval: true, execArgv: [], workerData: { buffer: shared.buffer } });
      await new Promise((resolve) => writer.once('online', resolve));
      const clean = matrix(n).data;
      const codes = { done: 0 };
      for (let i = 0; i < 12; i++) {
        shared.set(clean);
        try {
          await start.${name}(tensor(shared, [n, n]), { threads: 1 + i % 2 });
          codes.done++;
        } catch (error) {
          codes[error.code ?? error.stack] = 1;
        }
      }
      await writer.terminate();
      const w = matrix(60);
      await start.${name}(w);
      delete codes.done;
      console.log(JSON.stringify(Object.keys(codes)), memoryUsage().native.now);`);
    expect({ exit, signal }).toEqual({ exit: 0, signal: null });
    expect(['[] 0\n', '["ERR_NOT_FINITE"] 0\n']).toContain(out);
    expect(seconds).toBeLessThan(45);
  });
});
