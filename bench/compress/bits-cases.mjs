// Which models the bench stores in few bits, by what, and what should be reached.

/** @import { Baseline, BitsCase } from './types.js' */

/** @type {(name: string, settings: Baseline['settings'], scope?: Baseline['scope']) => Baseline} */
const baseline = (name, settings, scope = 'layers') => ({ name, settings, scope });
const nbits = (/** @type {string} */ method, /** @type {number} */ bits, /** @type {number} */ block) =>
  baseline(`MatMulNBits ${method.toUpperCase()}, ${bits} bits/${block}`, { method, bits, block });

const RTN_32 = nbits('rtn', 4, 32);
const RTN_64 = nbits('rtn', 4, 64);
const RTN_2 = nbits('rtn', 2, 16);

/** The whole file counts. */
const FILE = /** @type {const} */ ('file');
const DECODER = /** @type {const} */ ({
  kind: 'passages',
  length: 256,
  calibration: 64,
  figure: 'divergence',
  budgets: [RTN_32, RTN_64, RTN_2].map(({ name }) => ({ like: name, scope: FILE, share: 0.5 })),
  baselines: [RTN_32, RTN_64, RTN_2].map((one) => ({ ...one, scope: FILE })),
});
const NO_3_BITS = "onnxruntime's MatMulNBits has kernels for 2, 4 and 8 bits, none for 3.";

/** @type {readonly BitsCase[]} */
export const BITS_CASES = [
  {
    name: 'minilm-bits',
    model: 'minilm-legacy',
    title: 'MiniLM in few bits',
    kind: 'sentences',
    length: 128,
    calibration: 256,
    figure: 'cosine',
    budgets: [
      { options: ['--bits', '5.6'], scope: 'layers', target: 0.992 },
      { options: ['--bits', '5'], scope: 'layers', target: 0.988 },
      { options: ['--bits', '4.5'], scope: 'layers', target: 0.984 },
      { options: ['--bits', '4'], scope: 'layers', target: 0.96 },
      { options: ['--preset', 'q8'], scope: 'file', target: 0.994, most: 22.9e6 },
      { options: ['--size', '15MB'], scope: 'file', target: 0.98, most: 15e6 },
    ],
    baselines: [
      nbits('rtn', 4, 16),
      RTN_32,
      RTN_64,
      nbits('gptq', 4, 32),
      nbits('gptq', 4, 64),
      nbits('hqq', 4, 32),
      nbits('hqq', 4, 64),
      RTN_2,
      baseline('quantize_dynamic', { method: 'dynamic' }, 'file'),
      baseline('quantize_dynamic, per channel', { method: 'dynamic', channels: true }, 'file'),
      baseline(
        'quantize_dynamic, per channel, reduced range',
        { method: 'dynamic', channels: true, reduceRange: true },
        'file',
      ),
      baseline(
        'MatMulNBits RTN, 4 bits/32, embeddings too',
        { method: 'rtn', bits: 4, block: 32, embeddings: true },
        'file',
      ),
    ],
    timed: true,
    chart: [
      '--preset q8',
      '--size 15MB',
      'quantize_dynamic',
      'quantize_dynamic, per channel',
      'MatMulNBits RTN, 4 bits/32, embeddings too',
    ],
  },
  {
    name: 'babyllama-bits',
    model: 'babyllama',
    title: 'BabyLlama in few bits',
    ...DECODER,
    note: `Its weights are float32. ${NO_3_BITS}`,
  },
  {
    name: 'smollm2-bits',
    model: 'smollm2',
    title: 'SmolLM2-135M in few bits',
    ...DECODER,
    note: `Its weights are those of a GGUF file in Q4_1, so they lie on a grid of 4 bits. ${NO_3_BITS}`,
  },
];

/** One budget and one baseline, to check that everything works. @type {(one: BitsCase) => BitsCase} */
export const quickBits = (one) => ({
  ...one,
  budgets: one.budgets.slice(0, 1),
  baselines: one.baselines.slice(1, 2),
  calibration: 16,
});

/** Whether a model meets its target. @type {(figure: BitsCase['figure'], row: { value: number, bytes: number, target: number, most?: number }) => boolean} */
export const meets = (figure, { value, bytes, target, most = Number.POSITIVE_INFINITY }) =>
  bytes <= most && (figure === 'divergence' ? value <= target : value >= target);
