import type { TensorInfo } from '../checkpoint/checkpoint.js';
import type { LayerType } from '../model/types.js';

/** A tensor, and the types of which it is a matrix or contains a part. */
export interface InspectedTensor extends TensorInfo {
  readonly parameters: number;
  readonly layer: number | undefined;
  readonly types: readonly LayerType[];
}

/**
 * Tensors that differ only in the numbers in their names: the same matrix of several layers or
 * experts.
 */
export interface TensorGroup {
  /** Their name, with `*` for the numbers that differ. */
  readonly name: string;
  readonly types: readonly LayerType[];
  /** The layers, ascending; empty if their names have no numbers, or numbers of something else. */
  readonly layers: readonly number[];
  readonly tensors: number;
  /** The shape of each. */
  readonly shape: readonly number[];
  readonly dtype: InspectedTensor['dtype'];
  /** Of all together. */
  readonly parameters: number;
  readonly bytes: number;
}

/** The numbers in a name that count something: a whole word, or what exporters add to `onnx::`. */
const NUMBERS = /(?<=^|[./])\d+(?=[./]|$)|(?<=^onnx::\w+_)\d+$/g;
/** A layer's number is the first of a name, and a word of its own. */
const LAYER = /(?:^|[./])(\d+)(?=[./])/;

/**
 * Groups tensors that are alike, in the order of the first of each, but with the matrices of
 * interventions first.
 */
export function summarise(tensors: readonly InspectedTensor[]): TensorGroup[] {
  const groups = new Map<string, InspectedTensor[]>();
  for (const tensor of tensors) {
    const { shape, dtype, types } = tensor;
    const key = JSON.stringify([nameOf(tensor).replace(NUMBERS, '*'), shape, dtype, types]);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [tensor]);
    else group.push(tensor);
  }
  const all = [...groups.values()].map(groupOf);
  return [...all.filter(({ types }) => types.length > 0), ...all.filter(({ types }) => types.length === 0)];
}

function groupOf(group: readonly InspectedTensor[]): TensorGroup {
  const { shape, dtype, types } = group[0]!;
  const sum = (of: (tensor: InspectedTensor) => number) => group.reduce((total, tensor) => total + of(tensor), 0);
  return {
    name: commonName(group.map(nameOf)),
    types,
    layers: layersOf(group),
    tensors: group.length,
    shape,
    dtype,
    parameters: sum(({ parameters }) => parameters),
    bytes: sum(({ bytes }) => bytes),
  };
}

function nameOf({ name, alias }: InspectedTensor): string {
  return alias ?? name;
}

/** Replaces the numbers in which the names differ. */
function commonName(names: readonly string[]): string {
  const numbers = names.map((name) => name.match(NUMBERS) ?? []);
  let place = 0;
  return names[0]!.replace(NUMBERS, (number) => {
    const same = numbers.every((found) => found[place] === number);
    place++;
    return same ? number : '*';
  });
}

function layersOf(group: readonly InspectedTensor[]): number[] {
  const layers = group.map((tensor) => tensor.layer ?? Number(LAYER.exec(nameOf(tensor))?.[1] ?? Number.NaN));
  if (layers.some(Number.isNaN)) return [];
  return [...new Set(layers)].sort((a, b) => a - b);
}
