import { ArgumentError, describe, LowRankError } from '../errors.js';

/**
 * Layers of a model: all of them, or numbers from 0. Negative numbers count from the last layer,
 * which is -1. A pair is a range that includes both ends.
 */
export type Layers = 'all' | readonly (number | LayerRange)[];
export type LayerRange = readonly [first: number, last: number];

/** No model has as many layers, and `0-999999999` must not fill the memory. */
export const MAX_LAYERS = 100_000;

/** The notation of layers, for messages. */
const LAYERS_IN_WORDS = 'a number, a range 20-27, a list 0,2,5-7, last, -1, -4.., 20.. or all';

const NUMBER = '(-?\\d{1,6}|last)';
const DASHED = /^(\d{1,6})-(\d{1,6})$/;
const SINGLE = new RegExp(`^${NUMBER}$`);
const DOTTED = new RegExp(`^${NUMBER}?\\.\\.${NUMBER}?$`);

/**
 * Parses layers: `26`, `20-27`, `0,2,5-7`, `last` or `-1`, `-4..` (the last four), `..3`, `20..-2`,
 * `all`. Without negative numbers the result is in ascending order.
 *
 * @throws {@link ArgumentError} naming `argument`.
 */
export function parseLayers(text: string, argument: string): Layers {
  if (text === 'all') return 'all';
  const refused = () => new ArgumentError(argument, `layers as ${LAYERS_IN_WORDS}`, text);
  const found = text.split(',').flatMap((item): (number | LayerRange)[] => {
    const [, single] = SINGLE.exec(item) ?? [];
    if (single !== undefined) return [numberOf(single)];
    const [, first, last] = DASHED.exec(item) ?? [];
    const [dotted, from = '0', to = 'last'] = DOTTED.exec(item) ?? [];
    const range: LayerRange | undefined =
      first !== undefined && last !== undefined
        ? [Number(first), Number(last)]
        : dotted === undefined || dotted === '..'
          ? undefined
          : [numberOf(from), numberOf(to)];
    if (range === undefined) throw refused();
    const [start, end] = range;
    // Whether a range with ends of both kinds is empty depends on the model.
    if (start < 0 !== end < 0) return [range];
    if (start > end) throw refused();
    if (end >= MAX_LAYERS) throw refused();
    return Array.from({ length: end - start + 1 }, (_, i) => start + i);
  });
  const numbers = found.filter((item) => typeof item === 'number');
  if (numbers.some((layer) => Math.abs(layer) >= MAX_LAYERS)) throw refused();
  const ranges = found.filter((item) => typeof item !== 'number');
  return [...[...new Set(numbers)].sort((a, b) => a - b), ...ranges];
}

/**
 * Returns the numbers of layers in a model, each once.
 *
 * @param count how many layers the model has
 * @throws LowRankError `ERR_NOT_FOUND` for a layer that it does not have, and for an empty range.
 */
export function layerNumbers(layers: Exclude<Layers, 'all'>, count: number): number[] {
  const numbers = layers.flatMap((item) => {
    const [first, last] = typeof item === 'number' ? [item, item] : item;
    const [start, end] = [counted(first, count), counted(last, count)];
    if (start > end) {
      throw new LowRankError(
        'ERR_NOT_FOUND',
        `layers ${first}..${last}: none in a model with layers 0 to ${count - 1}`,
      );
    }
    return Array.from({ length: end - start + 1 }, (_, i) => start + i);
  });
  return [...new Set(numbers)];
}

function counted(layer: number, count: number): number {
  const number = layer < 0 ? layer + count : layer;
  if (Number.isInteger(number) && number >= 0 && number < count) return number;
  throw new LowRankError('ERR_NOT_FOUND', `layer ${describe(layer)}: this model has layers 0 to ${count - 1}`, {
    hint: `Layers are numbered from 0: the last is ${count - 1}, -1 or last.`,
  });
}

function numberOf(text: string): number {
  return text === 'last' ? -1 : Number(text);
}
