import type { Checkpoint, TensorChange } from '../checkpoint/checkpoint.js';
import { locate, weightFile } from '../checkpoint/copy/entries.js';
import { lengthOf } from '../checkpoint/copy/layouts.js';
import { ArgumentError, LowRankError } from '../errors.js';
import { statusOf } from '../files/files.js';
import { formatBytes } from '../text/format.js';
import type { Storage } from './allocate.js';
import type { Layer } from './select.js';
import { storedTensors } from './stored-factors.js';

/** How small a model is to become. Exactly one is given. */
export interface Budget {
  /** The share of the numbers of the linear layers that the result holds, above 0 and up to 1. */
  keep?: number | undefined;
  /** The bytes of all weight files of the result. */
  size?: number | undefined;
  /**
   * The largest mean KL divergence from the original's outputs, in nats, measured on the texts or
   * inputs.
   */
  maxKl?: number | undefined;
}

/** @throws ArgumentError unless exactly one is given, with a value in its range. */
export function checkBudget({ keep, size, maxKl }: Budget): void {
  const given = [keep, size, maxKl].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw new ArgumentError('options', 'exactly one of keep, size and maxKl', given.length === 0 ? 'none' : 'several');
  }
  if (keep !== undefined && !(keep > 0 && keep <= 1)) {
    throw new ArgumentError('keep', 'a number above 0 and up to 1', keep);
  }
  if (size !== undefined && !(size > 0 && size < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError('size', 'a number of bytes above 0', size);
  }
  if (maxKl !== undefined && !(maxKl > 0 && maxKl < Number.POSITIVE_INFINITY)) {
    throw new ArgumentError('maxKl', 'a number above 0', maxKl);
  }
}

/** The numbers that all layers hold. */
export function numbersOf(layers: readonly Layer[]): number {
  return layers.reduce((sum, { m, n }) => sum + m * n, 0);
}

/** The bytes of all weight files of a copy. */
export async function weightBytes(
  checkpoint: Checkpoint,
  changes: ReadonlyMap<string, TensorChange> = new Map(),
): Promise<number> {
  const { isFolder } = await locate(checkpoint);
  let bytes = 0;
  for (const { file, parts } of checkpoint.layout(changes)) {
    bytes +=
      parts?.reduce((sum, part) => sum + lengthOf(part), 0) ??
      (await statusOf(weightFile(checkpoint, file, isFolder))).size;
  }
  return bytes;
}

/** Ranks with which the room that names, nodes and headers take is found. */
const SOME_RANK = 8;

/**
 * Returns how many numbers the layers may hold in files of `size` bytes. What factors take besides
 * their numbers is reserved for every layer, so the result is never larger.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` where everything else is larger.
 */
export async function numbersWithin(
  checkpoint: Checkpoint,
  layers: readonly Layer[],
  size: number,
  storage: Storage,
): Promise<number> {
  const whole = await weightBytes(checkpoint);
  if (size >= whole) return numbersOf(layers);
  const factored = new Map<string, TensorChange>(
    layers.map((layer) => [layer.info.name, { by: storedTensors(layer, rankFor(layer), storage) }]),
  );
  const numbers = layers.reduce((sum, layer) => sum + numbersIn(layer, rankFor(layer), storage), 0);
  const widths = layers.map(({ info, m, n }) => info.bytes / (m * n));
  // With layers of different types, each number counts as one of the widest.
  const width = Math.max(...widths);
  const stored = layers.reduce((sum, layer, i) => sum + widths[i]! * numbersIn(layer, rankFor(layer), storage), 0);
  const rest = (await weightBytes(checkpoint, factored)) - stored;
  const room = Math.floor((size - rest) / width);
  if (room >= numbers) return room;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${checkpoint.path}: cannot become ${formatBytes(size)}: all but its linear layers takes ${formatBytes(rest)}`,
    { hint: `Allow more than ${formatBytes(rest + width * numbers)}, or compress heads too.` },
  );
}

function rankFor({ m, n }: Layer): number {
  return Math.min(SOME_RANK, m - 1, n);
}

/** The numbers of float tensors among those that stand for a layer. */
function numbersIn(layer: Layer, rank: number, storage: Storage): number {
  return storedTensors(layer, rank, storage)
    .filter(({ dtype }) => dtype === layer.info.dtype)
    .reduce((sum, { shape }) => sum + shape.reduce((product, d) => product * d, 1), 0);
}
