import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { DTYPE_BITS, type DType } from '../../tensor/dtype.js';
import { elements } from '../../tensor/tensor.js';
import type { ByteRange, FileLayout, NewTensorInfo, TensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import {
  attribute,
  elementCode,
  field,
  integersTensor,
  joined,
  node,
  prefix,
  tensorStart,
  zeroTensor,
} from './encode.js';
import type { Field } from './protobuf.js';
import type { Multiplication, Stretch, Wiring } from './wiring.js';

/** A model's file, and where its graph lies. */
export interface SplicedFile {
  /** Relative to the checkpoint's folder. */
  readonly file: string;
  readonly size: number;
  readonly graph: Field;
  readonly wiring: Wiring;
}

/** A weight and the tensors that take its place. */
export interface Replacement {
  readonly info: TensorInfo;
  readonly by: readonly NewTensorInfo[];
}

/** What stands in a stretch of the file instead. */
interface Cut extends Stretch {
  readonly parts: PartList;
  /** Where in `parts` new tensors lie. */
  readonly places: ReadonlyMap<string, ByteRange>;
}

/**
 * Lays out a model in which weights are replaced by factors. All bytes but those of the weights, and of the nodes that
 * multiply by them, are copied.
 *
 * A node that computes x W, W of shape [in, out] (or x W^T, of a Gemm with `transB`), becomes two that compute (x F) G.
 * `by` is either F [in, k] and G [k, out]; or, pivoted, F, C [k, out - k] and an I32 `order` [out], from which constant nodes
 * make G = [I, C] with its columns in that order. Programs compute those nodes once, when they load the model. Where factors
 * of rank k would cost more than the matrix, F G is computed there too, and the node multiplies by the product.
 *
 * @param places of the tensors that keep their shapes and get new bytes
 * @throws LowRankError `ERR_UNSUPPORTED` where something else than such nodes uses the weight; `ERR_SHAPE` where the new
 * tensors do not make up the weight.
 */
export function splice(
  source: SplicedFile,
  replacements: readonly Replacement[],
  places: ReadonlyMap<string, ByteRange>,
): FileLayout {
  const names = new Names(source.wiring, replacements);
  const cuts = replacements.flatMap((replacement) => cutsFor(source, names, replacement));
  for (const [name, { offset, bytes }] of places) {
    const parts = new PartList();
    parts.tensor(name, bytes);
    cuts.push({ start: offset, end: offset + bytes, parts, places: new Map([[name, { offset: 0, bytes }]]) });
  }
  return assembled(source, cuts);
}

/** Names for new values, which no other value has. */
class Names {
  readonly #taken = new Set<string>();

  /** @throws ArgumentError where a new tensor has the name of a value. */
  constructor(
    private readonly wiring: Wiring,
    replacements: readonly Replacement[],
  ) {
    for (const { name } of replacements.flatMap(({ by }) => by)) {
      if (this.#isTaken(name))
        throw new ArgumentError('name of a new tensor', 'one that no value of the model has', name);
      this.#taken.add(name);
    }
  }

  /** `base`, or `base` with a number. */
  unused(base: string): string {
    let name = base;
    for (let i = 2; this.#isTaken(name); i++) name = `${base}.${i}`;
    this.#taken.add(name);
    return name;
  }

  #isTaken(name: string): boolean {
    return this.#taken.has(name) || this.wiring.has(name);
  }
}

/** Adds values of the model's graph to its outputs, as float32 of any shape. */
export function withOutputs(source: SplicedFile, values: Iterable<string>): FileLayout {
  const parts = new PartList();
  for (const name of values) {
    if (source.wiring.isOutput(name)) continue;
    const tensorType = field(1, field(1, elementCode('F32')));
    parts.bytes(field(12, joined(field(1, name), field(2, tensorType))));
  }
  const { end } = source.graph;
  return assembled(source, [{ start: end, end, parts, places: new Map() }]);
}

/** Makes inputs of weights of the model's graph: whoever runs it has to give them. */
export function withInputs(source: SplicedFile, weights: Iterable<TensorInfo>): FileLayout {
  const cuts: Cut[] = [];
  for (const { name, dtype, shape } of weights) {
    const initializer = source.wiring.initializer(name);
    if (initializer === undefined) throw refusal(name, 'it is no initializer of the graph');
    const dims = shape.map((size) => field(1, field(1, size)));
    const tensorType = field(1, joined(field(1, elementCode(dtype)), field(2, joined(...dims))));
    const parts = new PartList();
    parts.bytes(field(11, joined(field(1, name), field(2, tensorType))));
    cuts.push({ ...initializer, parts, places: new Map() });
  }
  return assembled(source, cuts);
}

function assembled({ file, size, graph }: SplicedFile, cuts: readonly Cut[]): FileLayout {
  const inside = new PartList();
  const relative = new Map<string, ByteRange>();
  let at = graph.begin;
  for (const cut of [...cuts].sort((a, b) => a.start - b.start)) {
    inside.copy(file, at, cut.start - at);
    for (const [name, { offset, bytes }] of cut.places) relative.set(name, { offset: inside.end + offset, bytes });
    for (const part of cut.parts.parts) inside.append(part);
    at = cut.end;
  }
  inside.copy(file, at, graph.end - at);

  const whole = new PartList();
  whole.copy(file, 0, graph.start);
  whole.bytes(prefix(graph.number, inside.end));
  const begin = whole.end;
  for (const part of inside.parts) whole.append(part);
  whole.copy(file, graph.end, size - graph.end);
  const places = new Map([...relative].map(([name, place]) => [name, { ...place, offset: place.offset + begin }]));
  return { file, parts: whole.parts, places };
}

/** The initialisers in place of a weight, and the nodes in place of each that multiplies by it. */
function cutsFor(source: SplicedFile, names: Names, replacement: Replacement): Cut[] {
  const { name } = replacement.info;
  const { wiring } = source;
  const initializer = wiring.initializer(name);
  const nodes = wiring.multiplications(name);
  if (initializer === undefined) throw refusal(name, 'it is no initializer of the graph');
  if (nodes.length === 0) throw refusal(name, 'no node of the graph multiplies by it from the right');
  if (nodes.length !== wiring.uses(name)) throw refusal(name, 'other nodes use it than MatMul and Gemm');
  const factors = factorsOf(replacement, nodes);
  const initializers = new PartList();
  const places = new Map<string, ByteRange>();
  for (const { name: own, dtype, shape } of replacement.by) {
    const bytes = (elements(shape) * DTYPE_BITS[dtype as DType]) / 8;
    const start = tensorStart(own, dtype, shape, bytes);
    initializers.bytes(joined(prefix(5, start.length + bytes), start));
    places.set(own, { offset: initializers.end, bytes });
    initializers.tensor(own, bytes);
  }
  const constants = factors.pivoted
    ? pivotedNodes(names, factors)
    : { shape: undefined, nodes: [], right: factors.right };
  if (constants.shape !== undefined) initializers.bytes(field(5, constants.shape));
  const product = factors.dense ? names.unused(`${name}.product`) : undefined;
  const before = [
    ...constants.nodes,
    ...(product === undefined ? [] : [node('MatMul', product, [factors.left, constants.right], product)]),
  ];
  const parts = nodes.map((multiplication, i) => {
    const list = new PartList();
    if (i === 0) for (const bytes of before) list.bytes(field(1, bytes));
    if (product === undefined) twoNodes(list, source, names, multiplication, factors.left, constants.right);
    else rewired(list, source, multiplication, [multiplication.node.inputs[0]!, product], ['transB']);
    return { start: multiplication.start, end: multiplication.end, parts: list, places: new Map() };
  });
  return [{ ...initializer, parts: initializers, places }, ...parts];
}

/** How a weight is put together from its factors. */
interface Factors {
  /** [in, k]. */
  readonly left: string;
  /** [k, out]; of pivoted factors, the coefficients [k, out - k]. */
  readonly right: string;
  readonly order: string | undefined;
  readonly pivoted: boolean;
  /** Whether the product is cheaper to compute with than the factors. */
  readonly dense: boolean;
  readonly rank: number;
  readonly dtype: DType;
}

function factorsOf({ info, by }: Replacement, nodes: readonly Multiplication[]): Factors {
  const { name, shape, dtype } = info;
  const turned = new Set(nodes.map(({ node: { attributes } }) => (attributes.get('transB')?.[0] ?? 0) !== 0));
  if (shape.length !== 2) throw refusal(name, `it has ${shape.length} dimensions`);
  if (turned.size > 1) throw refusal(name, 'some nodes use it transposed, others do not');
  const [inputs, outputs] = turned.has(true) ? [shape[1]!, shape[0]!] : [shape[0]!, shape[1]!];
  const [left, right, order] = by;
  const rank = left?.shape[1] ?? 0;
  const pivoted = order !== undefined;
  const expected = [
    { dtype, shape: [inputs, rank] },
    { dtype, shape: [rank, pivoted ? outputs - rank : outputs] },
    ...(pivoted ? [{ dtype: 'I32', shape: [outputs] }] : []),
  ];
  const fits = expected.every((each, i) => by[i]?.dtype === each.dtype && by[i]!.shape.join() === each.shape.join());
  if (!fits || by.length !== expected.length || rank < 1) {
    const text = by.map((tensor) => `${tensor.dtype} ${describe(tensor.shape)}`).join(', ');
    throw new LowRankError(
      'ERR_SHAPE',
      `${name}: ${text} are not the factors of a weight ${dtype} [${inputs}, ${outputs}]`,
    );
  }
  return {
    left: left!.name,
    right: right!.name,
    order: order?.name,
    pivoted,
    dense: pivoted && rank * (inputs + outputs) >= inputs * outputs,
    rank,
    dtype: dtype as DType,
  };
}

/** Nodes that make [I, C] with its columns in order, from constants alone. */
function pivotedNodes(names: Names, { right, order, rank, dtype }: Factors) {
  const value = (what: string) => names.unused(`${right}.${what}`);
  const shape = value('shape');
  const nodes: Uint8Array[] = [];
  const add = (what: string, opType: string, inputs: readonly string[], ...attributes: readonly Uint8Array[]) => {
    const output = value(what);
    nodes.push(node(opType, output, inputs, output, ...attributes));
    return output;
  };
  const zeros = add('zeros', 'ConstantOfShape', [shape], attribute('value', zeroTensor('F32', 4)));
  const eye = add('eye', 'EyeLike', [zeros]);
  // Few programs make an identity of other types.
  const identity = dtype === 'F32' ? eye : add('identity', 'Cast', [eye], attribute('to', elementCode(dtype)));
  const all = add('columns', 'Concat', [identity, right], attribute('axis', 1));
  const ordered = add('ordered', 'Gather', [all, order!], attribute('axis', 1));
  return { shape: integersTensor(shape, [rank, rank]), nodes, right: ordered };
}

/** x F and then G, with the attributes and the bias of the node that they stand for. */
function twoNodes(
  parts: PartList,
  source: SplicedFile,
  names: Names,
  multiplication: Multiplication,
  left: string,
  right: string,
): void {
  const { name, opType, inputs, outputs } = multiplication.node;
  const inner = names.unused(`${outputs[0]}.inner`);
  const first = node(opType, `${name || outputs[0]}.inner`, [inputs[0]!, left], inner);
  const turns = multiplication.fields.filter(({ attribute: own }) => own === 'transA');
  const turnBytes = turns.reduce((sum, { start, end }) => sum + end - start, 0);
  parts.bytes(joined(prefix(1, first.length + turnBytes), first));
  for (const { start, end } of turns) parts.copy(source.file, start, end - start);
  rewired(parts, source, multiplication, [inner, right], ['transA', 'transB']);
}

/** The node with other first inputs and without some attributes; all else is copied. */
function rewired(
  parts: PartList,
  { file }: SplicedFile,
  { fields }: Multiplication,
  inputs: readonly string[],
  without: readonly string[],
): void {
  const node = new PartList();
  let input = 0;
  for (const { number, start, end, attribute: own } of fields) {
    if (number === 1 && input < inputs.length) node.bytes(field(1, inputs[input++]!));
    else if (own === undefined || !without.includes(own)) node.copy(file, start, end - start);
  }
  parts.bytes(prefix(1, node.end));
  for (const part of node.parts) parts.append(part);
}

function refusal(name: string, why: string): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `${name}: cannot become factors: ${why}`, {
    hint: 'Leave this weight as it is, and choose others.',
  });
}
