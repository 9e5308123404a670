import picomatch from 'picomatch';
import type { Checkpoint, TensorInfo } from '../checkpoint/checkpoint.js';
import { ArgumentError, describe, LowRankError } from '../errors.js';
import { elements } from '../tensor/tensor.js';
import { mostSimilar } from '../text/similar.js';
import { firstMatches } from './bounded-match.js';

type Tensors = Pick<Checkpoint, 'tensors'>;

/** Tensors that a glob matched but that are not matrices, and so were skipped. */
export interface SkippedTensors {
  readonly glob: string;
  /** The number of tensors that the glob matched, including skipped ones. */
  readonly matched: number;
  /** The names of the skipped tensors. */
  readonly tensors: readonly string[];
}

/** The largest size of a range such as `{0..31}`. No model has as many layers. */
const MOST_IN_RANGE = 10_000;
/** The types of positions and masks, which look like matrices but hold no weights. */
const NO_WEIGHTS: readonly string[] = ['I64', 'U64', 'BOOL'];

/**
 * Returns the tensors with exactly this name or, if there is none, those whose names the glob
 * matches, in the checkpoint's order. A tensor's alias counts as its name, too.
 *
 * - `*` matches any characters but a slash, dots included; a leading `**` and slash also matches
 *   the slashes before it
 * - `?`, `[0-9]` and `[!0-9]` match one character
 * - `{a,b}` and `{8..12}` are alternatives
 * - `!(a|b)` matches anything else; a leading `!` negates the whole glob
 *
 * @throws {@link LowRankError} `ERR_NOT_FOUND` if there is none; `ERR_ARGUMENT` for an invalid
 *   glob, or one that takes too long.
 */
export function tensorsNamed(checkpoint: Tensors, glob: string): TensorInfo[] {
  return find(checkpoint, glob).tensors;
}

/**
 * Returns {@link tensorsNamed} without tensors that a glob matches unintentionally, such as the
 * weights of norms. A tensor selected by its exact name is never skipped.
 *
 * @param isMatrix what counts as a matrix; by default also a batch of them, [batch, m, n]
 * @throws {@link LowRankError} as {@link tensorsNamed}; `ERR_SHAPE` if a glob matches only other
 *   tensors.
 */
export function matricesNamed(
  checkpoint: Tensors,
  glob: string,
  isMatrix: (info: TensorInfo) => boolean = isMatrixOrBatch,
): { matrices: TensorInfo[]; skipped: SkippedTensors | undefined } {
  const { tensors, exact } = find(checkpoint, glob);
  const matrices = exact ? tensors : tensors.filter(isMatrix);
  if (matrices.length === tensors.length) return { matrices, skipped: undefined };
  const others = tensors.filter((info) => !matrices.includes(info));
  if (matrices.length === 0) {
    const { name, dtype, shape } = others[0]!;
    const count = others.length === 1 ? '1 tensor' : `${others.length} tensors`;
    throw new LowRankError(
      'ERR_SHAPE',
      `${describe(glob)}: matches ${count}, but no matrix: ${name} is ${dtype} ${describe(shape)}`,
      { hint: 'List names and shapes with: lowrank inspect --tensors.' },
    );
  }
  return { matrices, skipped: { glob, matched: tensors.length, tensors: others.map(({ name }) => name) } };
}

/** Whether a tensor is a matrix [m, n] or a batch of them [batch, m, n] that may hold weights. */
export function isMatrixOrBatch({ shape, dtype }: Pick<TensorInfo, 'shape' | 'dtype'>): boolean {
  return (shape.length === 2 || shape.length === 3) && !shape.includes(0) && !NO_WEIGHTS.includes(dtype);
}

/**
 * Returns a tensor of more than two dimensions as a matrix of its first dimension and all others,
 * which lie in this order in the file.
 */
export function flattened<T extends Pick<TensorInfo, 'shape'>>(info: T): T {
  const [first, ...others] = info.shape;
  if (first === undefined || others.length < 2) return info;
  return { ...info, shape: [first, elements(others)] };
}

function find({ tensors }: Tensors, glob: string): { tensors: TensorInfo[]; exact: boolean } {
  const all = [...tensors.values()];
  const names = all.flatMap(({ name, alias }) => (alias === undefined ? [name] : [name, alias]));
  const exact = names.includes(glob);
  const called = new Set(exact ? [glob] : matched(glob, names));
  const found = all.filter(({ name, alias }) => called.has(name) || (alias !== undefined && called.has(alias)));
  if (found.length > 0) return { tensors: found, exact };
  throw new LowRankError('ERR_NOT_FOUND', `${describe(glob)}: no tensor has this name`, {
    hint: `${suggestionFor(glob, names)}List the names with: lowrank inspect --tensors.`,
  });
}

/** Suggests a name, or a glob, for one that fits nothing: with a space behind it, or nothing. */
function suggestionFor(glob: string, names: readonly string[]): string {
  const similar = mostSimilar(glob, names);
  if (similar !== undefined) return `Did you mean ${describe(similar)}? `;
  const wider = `*${glob.replace(/^\*|\*$/g, '')}*`;
  // A pattern with alternatives may be slow, and has been matched once.
  const count = glob === '' || /[!(]/.test(glob) ? 0 : matched(wider, names).length;
  return count === 0
    ? ''
    : `Did you mean ${describe(wider)}, which ${count} ${count === 1 ? 'name matches' : 'names match'}? `;
}

function matched(glob: string, names: readonly string[]): string[] {
  const matches = firstMatches([toRegExp(glob)], names);
  return names.filter((_, i) => matches[i] === 0);
}

function toRegExp(glob: string): RegExp {
  try {
    return picomatch.makeRe(glob, { dot: true, posix: true, expandRange });
  } catch (cause) {
    throw new ArgumentError('tensor', `a pattern such as model.layers.3.* (${(cause as Error).message})`, glob);
  }
}

/**
 * Expands `{8..12}` to numbers: picomatch alone makes it the class [8-12], which does not match 10.
 */
function expandRange(from: string, to: string, ...others: unknown[]): string {
  // A step would come before the options.
  const isRange = others.length === 1 && (/^\d+ \d+$/.test(`${from} ${to}`) || /^[a-z] [a-z]$/i.test(`${from} ${to}`));
  if (!isRange) throw new Error('a range needs two numbers or two letters');
  if (!/^\d/.test(from)) return `[${[from, to].sort().join('-')}]`;
  const [first, last] = [Number(from), Number(to)].sort((a, b) => a - b) as [number, number];
  if (last - first >= MOST_IN_RANGE) throw new Error(`a range of more than ${MOST_IN_RANGE} numbers`);
  return `(?:${Array.from({ length: last - first + 1 }, (_, i) => first + i).join('|')})`;
}
