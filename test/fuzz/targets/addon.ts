import { addon } from '../../../lib/addon/load.js';
import { normal } from '../../support/random.js';
import { mutateJson } from '../json.js';
import { Random } from '../random.js';
import { require, type Target } from '../target.js';

/** One array of a job: a view of a buffer that may be shared with others, between guards. */
interface ArraySpec {
  readonly t: 'f32' | 'f64' | 'i32' | 'u8' | 'u16' | 'view' | 'list';
  readonly n: number;
  /** Elements before it in its buffer. */
  readonly at?: number;
  /** Arrays with the same number lie in the same buffer. */
  readonly buffer?: number;
  readonly kind?: 'plain' | 'shared' | 'resizable' | 'detached';
  readonly fill?: 'normal' | 'zero' | 'nan' | 'infinite' | 'huge' | 'tiny';
}

/** Numbers that JSON cannot say, and fields that do something when they are read. */
type Special = { readonly number: string } | { readonly getter: 'throws' | 'detaches' } | { readonly big: string };

interface Call {
  readonly fn: string;
  readonly job: Record<string, unknown>;
}

const f32 = (n: number, more: Partial<ArraySpec> = {}): ArraySpec => ({ t: 'f32', n, ...more });
const f64 = (n: number, more: Partial<ArraySpec> = {}): ArraySpec => ({ t: 'f64', n, ...more });

/**
 * Second moments by their three kinds and one that does not exist: of no inputs, or no moments at
 * all.
 */
function moments(random: Random, m: number, n: number): Record<string, unknown> {
  const kind = random.below(4);
  const size = [n * n, n, m * m, 1][kind]!;
  const fill = random.pick(['zero', 'normal', 'huge', 'nan'] as const);
  return { moments: f64(size, { fill }), momentsKind: kind };
}

/** A sound job for every function, with small and odd sizes. */
function sound(random: Random): Call {
  const side = () => random.pick([1, 1, 2, 3, 5, 8, 17, 33]);
  const [m, n, k, batch] = [side(), side(), side(), random.pick([0, 1, 1, 2, 3])];
  const r = Math.min(m, n);
  const rank = random.below(r + 1);
  const threads = random.pick([0, 1, 2, 3, 1024]);
  const fill = random.chance(0.8) ? 'normal' : random.pick(['zero', 'nan', 'infinite', 'huge', 'tiny'] as const);
  const count = random.pick([0, 1, 3, 16, 17, 100]);
  const chosen = random.chance(0.7) ? { rank } : { tail: random.pick([0, 0.1, 0.5, 1, -1, 2]) };
  const room = 'rank' in chosen ? rank : r;
  const factors = { capacity: room, b: f32(batch * m * room), a: f32(batch * room * n), s: f32(batch * room) };
  const approximate = {
    batch,
    m,
    n,
    ...chosen,
    method: random.below(4),
    seed: random.below(9),
    threads,
    w: f32(batch * m * n, { fill }),
    ...(random.chance(0.6) ? factors : {}),
    ...(random.chance(0.6) ? { dense: f32(batch * m * n) } : {}),
    ...(random.chance(0.1)
      ? { dense: f32(batch * m * n, { buffer: 7 }), w: f32(batch * m * n, { buffer: 7, fill }) }
      : {}),
    ...(random.chance(0.3) ? moments(random, m, n) : {}),
    ...(random.chance(0.1) ? { maxMemory: random.pick([1, 1000, 1e5]) } : {}),
    ...(random.chance(0.2) ? { control: { t: 'i32', n: 2 } } : {}),
    out: f64(batch * 9),
  };
  const svd = {
    batch,
    m,
    n,
    threads,
    w: f32(batch * m * n, { fill }),
    s: f32(batch * r),
    out: f64(batch),
    ...(random.chance(0.6) ? { u: f32(batch * m * r), vt: f32(batch * r * n) } : {}),
    ...(random.chance(0.3) ? { gesvd: true } : {}),
    ...(random.chance(0.3) ? { testHooks: { pretendGesddFails: true } } : {}),
  };
  const gemm = { batch, m, n, k, transposeA: random.chance(0.5), transposeB: random.chance(0.5), threads };
  const product = { ...gemm, a: f32(batch * m * k), b: f32(batch * k * n), c: f32(batch * m * n) };
  const format = random.below(4);
  const bytes: ArraySpec = { t: 'u8', n: count * [8, 4, 2, 2][format]!, at: random.below(8) };
  const map = { dim: m, dimOut: n, r: k, scale: 0.5, a: f32(m * k), b: f32(k * n), threads };
  const blocks = Math.ceil(n / 16);
  const rows = random.pick([0, 1, 2, 9]);
  const forward = { ...map, rows, x: f32(rows * m), h: f32(rows * k), y: f32(rows * n), add: random.chance(0.5) };
  const backward = {
    ...map,
    rows,
    x: f32(rows * m),
    h: f32(rows * k),
    gradY: f32(rows * n),
    gradH: f32(rows * k),
    gradA: f32(m * k),
    addA: true,
    gradB: f32(k * n),
    addB: false,
    gradX: f32(rows * m),
    addX: true,
  };
  const step = { count, p: f32(count), gradient: f32(count), rate: 0.1, weightDecay: 0.01, threads };
  const calls: Call[] = [
    { fn: 'approximate', job: approximate },
    { fn: 'approximateAsync', job: approximate },
    { fn: 'svd', job: svd },
    { fn: 'svdAsync', job: svd },
    { fn: 'gemm', job: product },
    { fn: 'gemmAsync', job: product },
    { fn: 'toFloat32', job: { format, count, source: bytes, target: f32(count) } },
    { fn: 'fromFloat32', job: { format, count, source: f32(count), target: bytes } },
    { fn: 'estimateApproximate', job: { batch, m, n, ...chosen, method: 0, factors: true, dense: true, threads } },
    {
      fn: 'accumulateMoments',
      job: { rows: m, n, diagonal: true, x: f32(m * n, { fill }), sum: f64(n), second: f64(n) },
    },
    {
      fn: 'accumulateMomentsAsync',
      job: { rows: m, n, diagonal: false, x: f32(m * n, { fill }), sum: f64(n), second: f64(n * n), threads },
    },
    {
      fn: random.chance(0.5) ? 'interpolate' : 'interpolateAsync',
      job: { m, k: r, b: f32(m * r, { fill }), order: { t: 'i32', n: m }, c: f32((m - r) * r), threads },
    },
    {
      fn: 'quantizeBlocksAsync',
      job: {
        ...{ m, n, w: f32(m * n, { fill }), bits: 4, block: 16, symmetric: false, half: true, rounding: 1 },
        ...{ damping: 0.01, sweeps: 1, codes: { t: 'u8', n: 8 * m * blocks }, scales: f32(m * blocks) },
        ...{ zeros: { t: 'u8', n: m * Math.ceil(blocks / 2) }, dense: f32(m * n), threads },
      },
    },
    {
      fn: 'quantizeBlocksAsync',
      job: {
        ...{ m, n, w: f32(m * n, { fill }), bits: 2, block: 32, symmetric: true, half: false, rounding: 2 },
        ...{ damping: 0.01, sweeps: 2, moments: f64(n * n), momentsKind: 0, threads },
        ...{ codes: { t: 'u8', n: 8 * m * Math.ceil(n / 32) }, scales: f32(m * Math.ceil(n / 32)) },
      },
    },
    {
      fn: 'quantizeChannelsAsync',
      job: { m, n, w: f32(m * n, { fill }), codes: { t: 'u8', n: n * m }, scales: f32(m), threads },
    },
    { fn: 'weightedSquaresAsync', job: { m, n, e: f32(m * n, { fill }), out: f64(1), threads } },
    { fn: 'orthonormaliseRows', job: { k: Math.min(k, n), n, a: f32(Math.min(k, n) * n, { fill }) } },
    { fn: 'loraForward', job: forward },
    { fn: 'loraBackward', job: backward },
    { fn: 'addLowRank', job: { ...map, w: f32(m * n) } },
    { fn: 'affine', job: { rows, dim: m, dimOut: n, x: f32(rows * m), w: f32(m * n), bias: f32(n), y: f32(rows * n) } },
    {
      fn: 'dropout',
      job: { count, probability: 0.3, seed: 1, offset: 2, source: f32(count), target: f32(count), add: false },
    },
    {
      fn: 'sgdStep',
      job: { ...step, velocity: f32(count), momentum: 0.9, dampening: 0, nesterov: true, first: false },
    },
    {
      fn: 'adamWStep',
      job: { ...step, mean: f32(count), square: f32(count), beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1 },
    },
    { fn: 'sumOfSquares', job: { count, x: f32(count), out: f64(1) } },
    { fn: 'scale', job: { count, x: f32(count), factor: 2 } },
  ];
  return random.pick(calls);
}

const SPECIALS: readonly unknown[] = [
  ...['NaN', 'Infinity', '-Infinity', '-0', '9007199254740993', '1e300'].map((number) => ({ number })),
  { getter: 'throws' },
  { getter: 'detaches' },
  { big: '7' },
  null,
  true,
  'text',
  [],
  {},
  0,
  -1,
  0.5,
  1,
  2 ** 31,
  2 ** 32,
  2 ** 40,
  2 ** 52,
  2 ** 53,
  2 ** 53 - 1,
];

/** Spoils a few fields of a sound job. */
function spoil(random: Random, { fn, job }: Call): Call {
  const spoilt = { ...job };
  for (let times = random.below(4); times > 0; times--) {
    const field = random.pick(Object.keys(spoilt));
    const value = spoilt[field];
    if (isArraySpec(value) && random.chance(0.8)) {
      const other = random.pick(Object.values(spoilt).filter(isArraySpec));
      const changes: Partial<ArraySpec>[] = [
        { n: Math.max(0, value.n + random.pick([-1, 1, 7])) },
        { t: random.pick(['f32', 'f64', 'i32', 'u8', 'u16', 'view', 'list'] as const) },
        { at: random.pick([0, 1, 3, 1000]) },
        // On the same memory as another one, shifted or not.
        { buffer: random.below(3), at: random.below(4) },
        { buffer: other.buffer ?? 1 },
        { kind: random.pick(['shared', 'shared', 'resizable', 'detached'] as const) },
        { fill: random.pick(['nan', 'infinite', 'huge', 'tiny', 'zero'] as const) },
      ];
      spoilt[field] = { ...value, ...random.pick(changes) };
    } else if (random.chance(0.2)) delete spoilt[field];
    else spoilt[field] = random.pick(SPECIALS);
  }
  // Sizes beyond all bounds, where a size of nothing beside them lets the arrays be empty.
  if (random.chance(0.15)) {
    const sizes = Object.keys(spoilt).filter((field) => typeof spoilt[field] === 'number');
    for (const field of sizes)
      if (random.chance(0.4)) spoilt[field] = random.pick([0, 0, 2 ** 31, 2 ** 40, 2 ** 53 - 1]);
    for (const [field, value] of Object.entries(spoilt)) if (isArraySpec(value)) spoilt[field] = { ...value, n: 0 };
  }
  return { fn, job: spoilt };
}

export const nativeAddon: Target = {
  name: 'addon',
  seeds: () => Array.from({ length: 300 }, (_, seed) => Buffer.from(JSON.stringify(sound(new Random(seed))))),
  mutate(random, input) {
    if (random.chance(0.7)) return Buffer.from(JSON.stringify(spoil(random, sound(random))));
    const text = Buffer.from(input).toString('utf8');
    if (random.chance(0.2)) return Buffer.from(mutateJson(random, text, ['f32', 'f64', 'shared', 'svd', 'nan']));
    const call = read(text);
    return call === undefined ? input : Buffer.from(JSON.stringify(spoil(random, call)));
  },
  async run(input) {
    const call = read(Buffer.from(input).toString('utf8'));
    const native = call && (addon() as unknown as Record<string, (job: unknown) => unknown>)[call.fn];
    if (native === undefined) return 'no function';
    const memory = new Memory();
    const job = memory.job(call!.job);
    try {
      const answer = await native(job);
      memory.requireGuards();
      if (call!.fn.startsWith('approximate') && memory.clean) requireCertificates(job);
      return `${call!.fn}: ${typeof answer}`;
    } catch (error) {
      memory.requireGuards();
      const { code, message } = error as { code?: unknown; message: string };
      // A control whose bytes another array writes to may say stop.
      require(typeof code === 'string' && /^(ERR_|ABORTED$)/.test(code), `an error without a code: ${message}`);
      // Reported as a fault of the native code, which it is where no getter has thrown.
      require(code !== 'ERR_NATIVE' || memory.throws, `a fault of the native code: ${message}`);
      return `${call!.fn}: ${code} ${message.replace(/\d+/g, '')}`;
    }
  },
};

function requireCertificates(job: Record<string, unknown>): void {
  const { out, m, n, batch } = job as { out: Float64Array; m: number; n: number; batch: number };
  for (let i = 0; i < batch; i++) {
    const [rank, route, norm, error] = out.subarray(9 * i) as unknown as [number, number, number, number];
    require(Number.isInteger(rank) && rank >= 0 && rank <= Math.min(m, n), `rank ${rank}`);
    require(Number.isInteger(route) && route >= 0 && route < 8, `route ${route}`);
    require(error >= 0 && error <= norm * 1.001, `error ${error} of norm ${norm}`);
  }
}

function read(text: string): Call | undefined {
  try {
    const call = JSON.parse(text) as Call;
    const isCall = typeof call?.fn === 'string' && typeof call.job === 'object' && call.job !== null;
    return isCall && Object.hasOwn(addon(), call.fn) ? call : undefined;
  } catch {
    return undefined;
  }
}

function isArraySpec(value: unknown): value is ArraySpec {
  const spec = value as ArraySpec | null | undefined;
  return typeof spec === 'object' && spec !== null && typeof spec.t === 'string' && Number.isSafeInteger(spec.n);
}

const GUARD = 64;
const CANARY = 0xa5;
const MOST = 1 << 20;
const SIZES = { f32: 4, f64: 8, i32: 4, u8: 1, u16: 2, view: 4, list: 4 };

/**
 * The buffers of one job. What lies around its arrays must be there, unchanged, when the call has
 * ended.
 */
class Memory {
  readonly #buffers = new Map<number, { bytes: Uint8Array; used: [number, number][]; kind: string }>();
  #own = 1000;
  /** All arrays are of finite numbers, and none lies on another. */
  clean = true;
  throws = false;

  job(spec: Record<string, unknown>): Record<string, unknown> {
    const arrays = Object.entries(spec).filter((entry): entry is [string, ArraySpec] => isArraySpec(entry[1]));
    const placed = arrays.map(([field, array]) => [field, { ...array, buffer: array.buffer ?? this.#own++ }] as const);
    for (const [, array] of placed)
      this.#reserve(
        array,
        placed.map(([, other]) => other),
      );
    const job: Record<string, unknown> = {};
    const made = new Map(placed.map(([field, array]) => [field, this.#array(array)]));
    for (const { bytes, kind } of this.#buffers.values()) {
      const { buffer } = bytes;
      if (kind === 'detached' && buffer instanceof ArrayBuffer) structuredClone(buffer, { transfer: [buffer] });
    }
    for (const [field, value] of Object.entries(spec)) {
      if (made.has(field)) job[field] = made.get(field);
      else this.#define(job, field, value, made);
    }
    return job;
  }

  requireGuards(): void {
    for (const { bytes, used, kind } of this.#buffers.values()) {
      if (kind === 'detached' || bytes.length === 0) continue;
      const isUsed = new Uint8Array(bytes.length);
      for (const [begin, end] of used) isUsed.fill(1, begin, end);
      const touched = bytes.findIndex((byte, i) => isUsed[i] === 0 && byte !== CANARY);
      require(touched < 0, `byte ${touched} beside the arrays was written`);
    }
  }

  #reserve({ buffer }: ArraySpec, all: readonly ArraySpec[]): void {
    if (this.#buffers.has(buffer!)) return;
    const sharing = all.filter((other) => other.buffer === buffer);
    if (sharing.length > 1) this.clean = false;
    const end = ({ t, n, at = 0 }: ArraySpec) => (clamp(at) + clamp(n)) * (SIZES[t] ?? 4);
    const length = 2 * GUARD + Math.max(...sharing.map(end));
    const kind = sharing[0]!.kind ?? 'plain';
    const Resizable = ArrayBuffer as unknown as new (length: number, options: object) => ArrayBuffer;
    const made =
      kind === 'shared'
        ? new SharedArrayBuffer(length)
        : kind === 'resizable'
          ? new Resizable(length, { maxByteLength: 2 * length })
          : new ArrayBuffer(length);
    const bytes = new Uint8Array(made).fill(CANARY);
    this.#buffers.set(buffer!, { bytes, used: [], kind });
  }

  #array(spec: ArraySpec): unknown {
    const { t, n, at = 0, buffer, fill = 'normal' } = spec;
    const { bytes, used } = this.#buffers.get(buffer!)!;
    if (fill === 'nan' || fill === 'infinite') this.clean = false;
    const begin = GUARD + clamp(at) * (SIZES[t] ?? 4);
    const next = normal(buffer! + 1);
    const number = {
      normal: next,
      zero: () => 0,
      nan: () => Number.NaN,
      infinite: () => -1 / 0,
      huge: () => 1e30 * next(),
      tiny: () => 1e-30 * next(),
    };
    const value = number[fill] ?? next;
    const source = bytes.buffer as ArrayBuffer;
    const length = clamp(n);
    const view = {
      f32: () => new Float32Array(source, begin, length).map(value),
      f64: () => new Float64Array(source, begin, length).map(value),
      i32: () => new Int32Array(source, begin, length),
      u8: () => new Uint8Array(source, begin, length),
      u16: () => new Uint16Array(source, begin, length),
      view: () => new DataView(source, begin, length * 4),
      list: () => Array.from({ length }, value),
    }[t];
    if (!Object.hasOwn(SIZES, t)) return undefined;
    const made = view();
    if (t === 'list') return made;
    used.push([begin, begin + length * SIZES[t]]);
    if (t === 'f32') new Float32Array(source, begin, length).set(made as Float32Array);
    else if (t === 'f64') new Float64Array(source, begin, length).set(made as Float64Array);
    else new Uint8Array(source, begin, length * SIZES[t]).fill(0);
    const result =
      t === 'f32'
        ? new Float32Array(source, begin, length)
        : t === 'f64'
          ? new Float64Array(source, begin, length)
          : made;
    return result;
  }

  #define(job: Record<string, unknown>, field: string, value: unknown, made: ReadonlyMap<string, unknown>): void {
    const special = value as Special | null;
    if (typeof special !== 'object' || special === null) job[field] = value;
    else if ('number' in special) job[field] = Number(special.number);
    else if ('big' in special) job[field] = 7n;
    else if ('getter' in special) {
      const detaches = special.getter === 'detaches';
      if (!detaches) this.throws = true;
      Object.defineProperty(job, field, {
        enumerable: true,
        get: () => {
          if (!detaches) throw new Error('a getter');
          for (const array of made.values()) {
            if (!ArrayBuffer.isView(array) || !(array.buffer instanceof ArrayBuffer) || array.buffer.byteLength === 0)
              continue;
            structuredClone(array.buffer, { transfer: [array.buffer] });
            for (const held of this.#buffers.values()) if (held.bytes.buffer === array.buffer) held.kind = 'detached';
          }
          return 1;
        },
      });
    } else job[field] = value;
  }
}

function clamp(value: unknown): number {
  return Number.isSafeInteger(value) ? Math.min(Math.max(value as number, 0), MOST) : 0;
}
