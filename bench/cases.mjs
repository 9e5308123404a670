// The tasks of the bench, each an input and a rank, in the order in which they run.

/** @import { Task } from './types.js' */

import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const models = fileURLToPath(new URL('../../shared/data/models', import.meta.url));

/** Descriptions of the inputs, which reference/inputs.py makes. @type {Record<string, string>} */
export const KINDS = {
  decaying: 's_i = (1 + i/20)^-0.7, random orthogonal U and V',
  bulk: 's_i = 0.7 (1 + i/4)^-1.5 + 0.3 (1 - 0.9 i/r): few strong directions on a bulk, random orthogonal U and V',
  trained: 's_i = i^-0.7 up to r/8, then a bulk that falls along a line to 0, random orthogonal U and V',
  deficient: 'the decaying spectrum, of rank r/8',
  outlier: 'the decaying spectrum with s_1 = 1000',
  gaussian: 'independent N(0, 1) entries',
  real: 'trained weights',
};

const BABYLLAMA = { file: `${models}/babyllama-tok105/model.safetensors`, name: 'BabyLlama' };
const gateProjections = (/** @type {number[]} */ layers) =>
  layers.map((layer) => `model.layers.${layer}.mlp.gate_proj.weight`);

/** @param {Omit<Task, 'id'>} task @returns {Task} */
function named(task) {
  const { op, batch, m, n, k, rho, energy, kind, weights } = task;
  const size = `${batch > 1 ? `${batch}x` : ''}${m}x${n}`;
  const amounts = {
    gemm: '',
    laser: ` rho ${rho}`,
    energy: ` energy ${energy}`,
    values: ' singular values',
    layer: '',
  };
  const id = op === 'gemm' ? `gemm ${m}x${k}x${n}` : `${size} ${weights?.name ?? kind}${amounts[op]}`;
  return { id, ...task };
}

/** Returns the rank of a fraction with at most six decimals. @type {(rho: number, r: number) => number} */
const rankOf = (rho, r) => Math.floor(Math.round(rho * r * 1e6) / 1e6);

const gemm = (/** @type {number} */ n) => named({ op: 'gemm', kind: 'gemm', batch: 1, m: n, n, k: n });

/**
 * @param {string} kind
 * @param {number} batch
 * @param {number} m
 * @param {number} n
 * @param {number} rho
 * @param {Partial<Task>} more
 */
function laser(kind, batch, m, n, rho, more = {}) {
  return named({ op: 'laser', kind, batch, m, n, rho, k: rankOf(rho, Math.min(m, n)), ...more });
}

/**
 * A task on trained weights; missing ones are reported as absent.
 *
 * @param {number} batch
 * @param {number} m
 * @param {number} n
 * @param {number} rho
 * @param {NonNullable<Task['weights']>} weights
 * @param {string[]} tensors
 */
function real(batch, m, n, rho, weights, tensors) {
  const absent = existsSync(weights.file) ? undefined : `no weights of ${weights.name} in ../shared/data/models`;
  return laser('real', batch, m, n, rho, { weights, tensors, absent });
}

/** The smallest rank that keeps a share of the energy; the reference knows it. */
const byEnergy = (/** @type {number} */ n, /** @type {number} */ energy) =>
  named({ op: 'energy', kind: 'decaying', batch: 1, m: n, n, k: n, energy });

const values = (/** @type {number} */ n) => named({ op: 'values', kind: 'decaying', batch: 1, m: n, n, k: n });

/** Returns the rows and columns of the matrices of a layer: attention's four, then the feed-forward part's three. */
const llama = (/** @type {number} */ n, /** @type {number} */ shared, /** @type {number} */ wide) =>
  /** @type {[number, number][]} */ ([
    [n, n],
    [shared, n],
    [shared, n],
    [n, n],
    [wide, n],
    [wide, n],
    [n, wide],
  ]);

/**
 * All matrices of one layer, each at the same fraction of its smaller side.
 *
 * @param {string} name
 * @param {[number, number][]} shapes
 * @param {number} rho
 * @returns {Task}
 */
function layer(name, shapes, rho) {
  const [m, n] = /** @type {[number, number]} */ (shapes[0]);
  const ranks = shapes.map((shape) => rankOf(rho, Math.min(...shape)));
  const id = `${name} decaying rho ${rho}`;
  return { id, op: 'layer', kind: 'decaying', batch: shapes.length, m, n, k: ranks[0] ?? 0, rho, shapes, ranks };
}

/** The orders and fractions for which every region of the planner has a target. */
export const ORDERS = [256, 512, 1024, 2048, 4096];
export const MIDDLE_FRACTIONS = [0.01, 0.1, 0.25, 0.5, 0.9];

/** The tasks of the table. */
export function table() {
  const [bound, complete] = [true, true];
  const grid = ORDERS.flatMap((n) => MIDDLE_FRACTIONS.map((rho) => laser('decaying', 1, n, n, rho, { curve: true })));
  const others = [
    ...[512, 1024, 2048].map(gemm),
    laser('decaying', 1, 64, 64, 0.5),
    laser('decaying', 1, 256, 256, 0.5),
    laser('decaying', 1, 512, 512, 0.9),
    laser('gaussian', 1, 512, 512, 0.9),
    laser('decaying', 10, 512, 512, 0.9),
    laser('gaussian', 10, 512, 512, 0.9),
    laser('decaying', 256, 64, 64, 0.9),
    laser('gaussian', 256, 64, 64, 0.9),
    real(1, 352, 128, 0.1, BABYLLAMA, gateProjections([2])),
    real(5, 352, 128, 0.1, BABYLLAMA, gateProjections([0, 1, 2, 3, 4])),
    laser('decaying', 1, 768, 3072, 0.1),
    laser('deficient', 1, 2048, 2048, 0.05, { complete }),
    laser('deficient', 1, 2048, 2048, 0.25),
    laser('outlier', 1, 2048, 2048, 0.05, { complete }),
    laser('decaying', 1, 2048, 2048, 0.01, { bound }),
    laser('decaying', 1, 2048, 2048, 0.1, { bound, complete }),
    laser('decaying', 1, 4096, 4096, 0.01, { bound }),
    laser('decaying', 1, 4096, 4096, 0.1, { bound }),
    laser('gaussian', 1, 4096, 4096, 0.1),
    laser('bulk', 1, 4096, 4096, 0.1),
    laser('decaying', 1, 16384, 4096, 0.01, { bound }),
    laser('trained', 1, 2048, 2048, 0.1, { curve: true }),
    laser('trained', 1, 4096, 4096, 0.01, { curve: true }),
    ...[512, 1024, 2048].map((n) => byEnergy(n, 0.95)),
    ...[512, 1024, 2048, 4096].map(values),
    layer('Llama-1B layer', llama(2048, 512, 8192), 0.4),
  ];
  const listed = new Set(others.map(({ id }) => id));
  return [...others, ...grid.filter(({ id }) => !listed.has(id))];
}

const SIZES = [256, 512, 1024, 2048, 4096, 8192];
const FRACTIONS = [0.01, 0.1, 0.5, 0.9];

/** The tasks of the growth curves. */
export function growth() {
  return SIZES.flatMap((n) => FRACTIONS.map((rho) => laser('decaying', 1, n, n, rho, { bound: true, curve: true })));
}

/**
 * Shrinks tasks to at most this size, for a quick check that everything works.
 *
 * @param {Task[]} tasks
 */
export function quick(tasks, largest = 192) {
  const small = tasks.map((task) => {
    if (task.kind === 'real') return task;
    if (task.op === 'layer') return layer('small layer', llama(largest / 2, largest / 4, largest), 0.4);
    if (task.op === 'energy' || task.op === 'values') {
      const n = Math.min(task.n, largest);
      return task.energy === undefined ? values(n) : byEnergy(n, task.energy);
    }
    const shrink = Math.min(1, largest / Math.max(task.m, task.n));
    const shrunk = (/** @type {number} */ size) => Math.max(Math.round(size * shrink), 8);
    const [m, n, batch] = [shrunk(task.m), shrunk(task.n), Math.min(task.batch, 4)];
    return task.rho === undefined
      ? gemm(m)
      : laser(task.kind, batch, m, n, task.rho, { bound: task.bound, curve: task.curve });
  });
  return [...new Map(small.filter(({ k }) => k > 0).map((task) => [task.id, task])).values()];
}
