import { ArgumentError, describe, LowRankError } from '../../errors.js';
import type { DType } from '../../tensor/dtype.js';
import type { ByteRange, FileLayout, NewTensorInfo, TensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { type Cut, withCuts } from './cuts.js';
import { bytesOf } from './data-layout.js';
import {
  attribute,
  elementCode,
  externalTensor,
  field,
  integersTensor,
  joined,
  node,
  prefix,
  tensorStart,
  valueInfo,
  zeroTensor,
} from './encode.js';
import type { Field } from './protobuf.js';
import type { Multiplication, WeightUse, Wiring } from './wiring.js';

/** A model's file, and where its graph lies. */
export interface SplicedFile {
  /** Relative to the checkpoint's folder. */
  readonly file: string;
  readonly size: number;
  readonly graph: Field;
  readonly wiring: Wiring;
  /** The version of the format. */
  readonly irVersion: number;
  /** The version of ONNX's own operators. */
  readonly opset: number;
}

/** A weight and the tensors that take its place. */
export interface Replacement {
  readonly info: TensorInfo;
  readonly by: readonly NewTensorInfo[];
  /** Where the new tensors lie, if not in the model's file. */
  readonly data?: { readonly location: string; readonly places: ReadonlyMap<string, ByteRange> } | undefined;
}

/**
 * Lays out a model in which weights are replaced by factors. All bytes but those of the weights, and of the nodes that
 * multiply by them, are copied.
 *
 * A node that computes x W, W of shape [in, out] (or x W^T, of a Gemm with `transB` or of a weight that is transposed
 * before), becomes two that compute (x F) G.
 * `by` is either F [in, k] and G [k, out]; or, pivoted, F, C [k, out - k] and an I32 `order` [out], from which constant nodes
 * make G = [I, C] with its columns in that order. Programs compute those nodes once, when they load the model. Where factors
 * of rank k would cost more than the matrix, F G is computed there too, and the node multiplies by the product.
 *
 * @param others more to change: tensors that keep their shapes and get new bytes, and where external data lie
 * @throws LowRankError `ERR_UNSUPPORTED` where something else than such nodes uses the weight; `ERR_SHAPE` where the new
 * tensors do not make up the weight.
 */
export function splice(source: SplicedFile, replacements: readonly Replacement[], others: readonly Cut[]): FileLayout {
  const names = new Names(source.wiring, replacements);
  const cuts = replacements.flatMap((replacement) => cutsFor(source, names, replacement));
  return assembled(source, [...cuts, ...others]);
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

/** Adds values of the model's graph to its outputs; a runtime finds their types itself. */
export function withOutputs(source: SplicedFile, values: Iterable<string>): FileLayout {
  const parts = new PartList();
  for (const name of values) {
    if (!source.wiring.isOutput(name)) parts.bytes(field(12, field(1, name)));
  }
  const { end } = source.graph;
  return assembled(source, [{ start: end, end, within: [source.graph], parts }]);
}

/** Makes inputs of weights of the model's graph: whoever runs it has to give them. */
export function withInputs(source: SplicedFile, weights: Iterable<TensorInfo>): FileLayout {
  const cuts: Cut[] = [];
  for (const { name, dtype, shape } of weights) {
    const initializer = source.wiring.initializer(name);
    if (initializer === undefined) throw refusal(name, 'it is no initializer of the graph');
    const parts = new PartList();
    if (source.wiring.input(name) === undefined) parts.bytes(field(11, valueInfo(name, dtype, shape)));
    cuts.push({ ...initializer, within: [source.graph], parts });
  }
  return assembled(source, cuts);
}

function assembled({ file, size }: SplicedFile, cuts: readonly Cut[]): FileLayout {
  return { file, ...withCuts(file, size, cuts) };
}

/** From this version of the operators on there are those that make pivoted factors. */
const PIVOTED_SINCE = 9;
/** Before this version of the format, every initialiser is an input of the graph too. */
const OWN_INITIALIZERS_SINCE = 4;

/** The initialisers in place of a weight, and the nodes in place of each that multiplies by it. */
function cutsFor(source: SplicedFile, names: Names, replacement: Replacement): Cut[] {
  const { name } = replacement.info;
  const { wiring, graph, opset } = source;
  const within = [graph];
  const initializer = wiring.initializer(name);
  if (initializer === undefined) throw refusal(name, 'it is no initializer of the graph');
  const { multiplications, passes } = requireOnly(name, wiring.use(name));
  const factors = factorsOf(replacement, multiplications);
  if (factors.pivoted && opset < PIVOTED_SINCE) {
    const hint = `Choose the storage "factors", or convert the model to opset ${PIVOTED_SINCE} or later.`;
    throw refusal(name, `opset ${opset} has no operators for pivoted factors`, hint);
  }
  const constants: Constants = factors.pivoted ? pivotedNodes(names, factors) : { nodes: [], right: factors.right };
  const product = factors.dense ? names.unused(`${name}.product`) : undefined;
  const before = [
    ...constants.nodes,
    ...(product === undefined ? [] : [node('MatMul', product, [factors.left, constants.right], product)]),
  ];
  const replaced = multiplications.map((multiplication, i): Cut => {
    const { start, end } = multiplication;
    const parts = new PartList();
    if (i === 0) for (const bytes of before) parts.bytes(field(1, bytes));
    if (product === undefined) twoNodes(parts, source, names, multiplication, factors.left, constants.right);
    else rewired(parts, source, multiplication, [multiplication.node.inputs[0]!, product], ['transB']);
    return { start, end, within, parts };
  });
  return [
    { ...initializer, within, ...initializersOf(replacement, constants) },
    ...passes.map((pass) => ({ ...pass, within, parts: new PartList() })),
    ...inputCuts(source, replacement, constants),
    ...replaced,
  ];
}

/** The new tensors, in the file or by where they lie in another. */
function initializersOf({ by, data }: Replacement, { shape }: Constants): Pick<Cut, 'parts' | 'places'> {
  const parts = new PartList();
  const places = new Map<string, ByteRange>();
  for (const tensor of by) {
    const { name, dtype, shape: dims } = tensor;
    const place = data?.places.get(name);
    if (place !== undefined) {
      parts.bytes(field(5, externalTensor(name, dtype, dims, data!.location, place)));
      continue;
    }
    const bytes = bytesOf(tensor);
    const start = tensorStart(name, dtype, dims, bytes);
    parts.bytes(joined(prefix(5, start.length + bytes), start));
    places.set(name, { offset: parts.end, bytes });
    parts.tensor(name, bytes);
  }
  if (shape !== undefined) parts.bytes(field(5, integersTensor(shape.name, shape.numbers)));
  return { parts, places };
}

/** Removes the input that an initialiser may be as well; in old versions the new ones have to be. */
function inputCuts({ wiring, graph, irVersion }: SplicedFile, { info, by }: Replacement, { shape }: Constants): Cut[] {
  const input = wiring.input(info.name);
  if (input === undefined) return [];
  const parts = new PartList();
  if (irVersion < OWN_INITIALIZERS_SINCE) {
    const added = [
      ...by,
      ...(shape ? [{ name: shape.name, dtype: 'I64', shape: [shape.numbers.length] } as const] : []),
    ];
    for (const { name, dtype, shape: dims } of added) parts.bytes(field(11, valueInfo(name, dtype, dims)));
  }
  return [{ ...input, within: [graph], parts }];
}

/** Operators that multiply by several weights in one. */
const FUSED = /Attention/;

/** Refuses a weight that something else uses than nodes which multiply by it. */
function requireOnly(name: string, use: WeightUse): WeightUse {
  const { multiplications, others } = use;
  const users = [...new Set(others)];
  if (users.length === 0 && multiplications.length > 0) return use;
  if (users.length === 0) throw refusal(name, 'no node of the graph multiplies by it from the right');
  const fused = users.find((user) => FUSED.test(user));
  if (fused !== undefined) {
    const hint = 'Compress the model before an optimiser fuses its attention.';
    throw refusal(name, `the fused operator ${fused} multiplies by it`, hint);
  }
  const text = users.slice(0, 3).join(', ');
  throw refusal(name, `it is used by ${text} ${multiplications.length === 0 ? 'alone' : 'too'}`);
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
  const turned = new Set(nodes.map((each) => each.turned));
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

/** Nodes that have constants alone as their inputs, and what they make. */
interface Constants {
  readonly nodes: readonly Uint8Array[];
  /** The second factor, [k, out]. */
  readonly right: string;
  /** A constant of its own that they need. */
  readonly shape?: { readonly name: string; readonly numbers: readonly number[] };
}

/** Nodes that make [I, C] with its columns in order. */
function pivotedNodes(names: Names, { right, order, rank, dtype }: Factors): Constants {
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
  return { shape: { name: shape, numbers: [rank, rank] }, nodes, right: ordered };
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
  const { name, inputs, outputs, attributes } = multiplication.node;
  const own = name || outputs[0]!;
  const inner = names.unused(`${outputs[0]}.inner`);
  let x = inputs[0]!;
  if ((attributes.get('transA')?.[0] ?? 0) !== 0) {
    x = names.unused(`${outputs[0]}.turned`);
    parts.bytes(field(1, node('Transpose', `${own}.turned`, [inputs[0]!], x)));
  }
  // Not the operator of the node itself: Gemm wants a third input before version 11.
  parts.bytes(field(1, node('MatMul', `${own}.inner`, [x, left], inner)));
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

function refusal(name: string, why: string, hint = 'Leave this weight as it is, and choose others.'): LowRankError {
  return new LowRankError('ERR_UNSUPPORTED', `${name}: cannot become factors: ${why}`, { hint });
}
