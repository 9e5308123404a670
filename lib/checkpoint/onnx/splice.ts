import { describe, LowRankError } from '../../errors.js';
import type { DType } from '../../tensor/dtype.js';
import type { FileLayout } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { type Cut, withCuts } from './cuts.js';
import { attribute, elementCode, field, node, zeroTensor } from './encode.js';
import { expansionCuts } from './expansion.js';
import { turnName } from './factored.js';
import { quantizedCuts } from './quantized-cuts.js';
import {
  initializersOf,
  inputCuts,
  Names,
  type Replacement,
  refusal,
  requireOnly,
  type ShapeTensor,
  type SplicedFile,
} from './replacement.js';
import { insertion, removed, rewired } from './rewrite.js';
import type { Multiplication } from './wiring.js';

/**
 * Lays out a model in which weights are replaced by factors, or by whole numbers with scales, or
 * factors by the weight again. All bytes but those of the weights, and of the nodes that multiply
 * by them, are copied.
 *
 * Of factors: a node that computes x W, W of shape [in, out] (or x W^T, of a Gemm with `transB` or
 * of a weight that is transposed before), becomes two that compute (x F) G. `by` is either F [in,
 * k] and G [k, out]; or, pivoted, F, C [k, out - k] and an I32 `order` [out], from which constant
 * nodes make G = [I, C] with its columns in that order. Programs compute those nodes once, when
 * they load the model. Where factors of rank k would cost more than the matrix, F G is computed
 * there too, and the node multiplies by the product.
 *
 * @param others more to change: tensors that keep their shapes and get new bytes, and where
 *   external data lie
 * @throws LowRankError `ERR_UNSUPPORTED` where something else than such nodes uses the weight;
 *   `ERR_SHAPE` where the new
 * tensors do not make up the weight.
 */
export function splice(source: SplicedFile, replacements: readonly Replacement[], others: readonly Cut[]): FileLayout {
  const names = new Names(source.wiring, replacements);
  const factors = new Set(replacements.flatMap(({ times }) => [times?.right, times?.order]));
  const cuts = replacements.flatMap((replacement) => {
    const { info, form, times } = replacement;
    if (form !== undefined || factors.has(info.name)) return [];
    return (times === undefined ? cutsFor : expansionCuts)(source, names, replacement);
  });
  return withCuts(source, [...cuts, ...quantizedCuts(source, names, replacements), ...others]);
}

/** From this version of the operators on there are those that make pivoted factors. */
const PIVOTED_SINCE = 9;
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
  const replaced = multiplications.map((multiplication): Cut => {
    const { start, end, scope } = multiplication;
    const parts = new PartList();
    if (product === undefined) twoNodes(parts, source, names, multiplication, factors.left, constants.right);
    else rewired(parts, source, multiplication, [multiplication.node.inputs[0]!, product], { without: ['transB'] });
    return { start, end, within: scope.within, parts };
  });
  return [
    { ...initializer, within, ...initializersOf(replacement, { shape: constants.shape, turned: factors.turned }) },
    ...passes.map(removed),
    ...inputCuts(source, replacement, constants.shape),
    ...insertion(source, multiplications, before),
    ...replaced,
  ];
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
  /** Whether the weight lies as [out, in]. */
  readonly turned: boolean;
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
    turned: turned.has(true),
  };
}

/** Nodes that have constants alone as their inputs, and what they make. */
interface Constants {
  readonly nodes: readonly Uint8Array[];
  /** The second factor, [k, out]. */
  readonly right: string;
  /** A constant of its own that they need. */
  readonly shape?: ShapeTensor;
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
    parts.bytes(field(1, node('Transpose', turnName(multiplication.node), [inputs[0]!], x)));
  }
  // Not the operator of the node itself: Gemm wants a third input before version 11.
  parts.bytes(field(1, node('MatMul', `${own}.inner`, [x, left], inner)));
  rewired(parts, source, multiplication, [inner, right], { without: ['transA', 'transB'] });
}
