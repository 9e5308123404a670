import { callSync } from '../addon/call.js';
import { CERTIFICATE_FIELDS, METHOD_CODE, ROUTES } from '../addon/contract.js';
import { addon } from '../addon/load.js';
import { matmul } from './matmul.js';
import { singularValues } from './svd.js';

/** The result of a short test of the native code. */
export interface SelfTest {
  /**
   * True if products of whole numbers are exact, known singular values are correct to float32
   * precision, and block Krylov, lowrank's own kernel, finds a known best approximation.
   */
  readonly passed: boolean;
  /** What was wrong; undefined if everything passed. */
  readonly fault: string | undefined;
  /** Speed of one large matrix product, in 10^9 multiplications and additions a second. */
  readonly gigaflops: number;
}

const SIZE = 1024;

/** Tests the native code in a second or two. */
export async function selfTest(): Promise<SelfTest> {
  const fault = (await productFault()) ?? (await singularValueFault()) ?? krylovFault();
  return { passed: fault === undefined, fault, gigaflops: await gemmRate() };
}

/**
 * Sums of products of small whole numbers are exact in float32, in whatever order they are added.
 */
async function productFault(): Promise<string | undefined> {
  const n = 96;
  const a = Float32Array.from({ length: n * n }, (_, i) => (i % 7) - 3);
  const b = Float32Array.from({ length: n * n }, (_, i) => (i % 5) - 2);
  const { data: c } = await matmul({ data: a, shape: [n, n] }, { data: b, shape: [n, n] });
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      let expected = 0;
      for (let t = 0; t < n; t++) expected += a[i * n + t]! * b[t * n + j]!;
      if (c[i * n + j] !== expected) return `product [${i}, ${j}]: expected ${expected}, got ${c[i * n + j]}`;
    }
  }
  return undefined;
}

/** The characteristic polynomial of W W^T gives the squares 9 +- sqrt(29) by hand. */
async function singularValueFault(): Promise<string | undefined> {
  const expected = [Math.sqrt(9 + Math.sqrt(29)), Math.sqrt(9 - Math.sqrt(29))];
  const { data: s } = await singularValues({ data: Float32Array.of(2, 0, 0, 1, 2, 3), shape: [2, 3] });
  const wrong = expected.findIndex((value, i) => !(Math.abs(s[i]! - value) < 1e-5));
  return wrong < 0 ? undefined : `singular value ${wrong}: expected ${expected[wrong]}, got ${s[wrong]}`;
}

/** The best approximation of a diagonal matrix keeps the largest entries. */
function krylovFault(): string | undefined {
  const [n, rank] = [256, 3];
  const w = new Float32Array(n * n);
  for (let i = 0; i < n; i++) w[i * n + i] = 1 / (1 + ((i * 5) % n));
  const dense = new Float32Array(w.length);
  const out = new Float64Array(CERTIFICATE_FIELDS.length);
  const method = METHOD_CODE.krylov;
  callSync(addon().approximate, { batch: 1, m: n, n, w, rank, method, target: 1e-6, dense, out });
  const route = ROUTES[out[CERTIFICATE_FIELDS.indexOf('route')]!];
  if (route !== 'krylov') return `block Krylov: handed over to ${route}`;
  const kept = new Set([1, 1 / 2, 1 / 3].map(Math.fround));
  const wrong = dense.findIndex((value, i) => !(Math.abs(value - (kept.has(w[i]!) ? w[i]! : 0)) < 1e-4));
  return wrong < 0 ? undefined : `block Krylov: entry ${wrong} of the approximation is ${dense[wrong]}`;
}

/** Returns the best of a few runs: the first ones also start threads and touch fresh memory. */
async function gemmRate(): Promise<number> {
  const w = { data: Float32Array.from({ length: SIZE * SIZE }, (_, i) => (i % 13) / 13), shape: [SIZE, SIZE] };
  let best = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 4; run++) {
    const started = performance.now();
    await matmul(w, w);
    best = Math.min(best, (performance.now() - started) / 1000);
  }
  return (2 * SIZE ** 3) / best / 1e9;
}
