import { LowRankError } from '../../errors.js';
import type { OtherFactors } from '../checkpoint.js';
import type { GraphNode } from './node.js';
import type { PlacedNode } from './scope.js';
import { isOperator, multiplies, type Wiring } from './wiring.js';

/** A node that multiplies by a weight as factors, with the one before it. */
export interface FactoredProduct {
  /** x F; undefined where the node multiplies by the whole product. */
  readonly inner: PlacedNode | undefined;
  /** (x F) G, or x (F G). */
  readonly outer: PlacedNode;
  /** What turns x for them, of a Gemm with `transA`. */
  readonly turn: PlacedNode | undefined;
}

/** All that a graph does with the factors of a weight. */
export interface FactoredUse {
  readonly products: readonly FactoredProduct[];
  /** Nodes that make G, or F G, from the factors. */
  readonly made: readonly PlacedNode[];
  /** An initialiser that those need besides. */
  readonly shape: string | undefined;
}

/**
 * Finds the nodes that multiply by factors: those that `splice` writes, whatever their values are
 * called.
 *
 * @throws LowRankError `ERR_UNSUPPORTED` for any others.
 */
export function factoredUse(wiring: Wiring, weight: string, left: string, { right, order }: OtherFactors): FactoredUse {
  const { model } = wiring;
  const fail = () => notFactored(weight);
  const missing = [left, right, order].find((name) => name !== undefined && wiring.initializer(name) === undefined);
  if (missing !== undefined) throw fail();
  const constants: Constants =
    order === undefined
      ? { value: right, made: [], shape: undefined }
      : (orderedColumns(wiring, right, order) ?? thrown(fail()));
  const { value, made, shape } = constants;
  const users = wiring.usersOf(model, value);
  const whole = users.find(
    ({ node, scope }) => scope === model && isOperator(node, 'MatMul') && node.inputs[0] === left,
  );
  const outer = whole === undefined ? users : wiring.usersOf(model, whole.node.outputs[0]!);
  const products = outer.map(
    (node) => productBy(wiring, node, whole === undefined ? left : undefined) ?? thrown(fail()),
  );
  const second = whole === undefined ? value : whole.node.outputs[0]!;
  const uses = [
    [second, outer.length],
    [left, whole === undefined ? products.length : 1],
    ...(whole === undefined ? [] : [[value, 1] as const]),
  ] as const;
  const isAll = uses.every(([name, count]) => wiring.count(model, name) === count);
  if (!isAll || products.length === 0 || outer.some(({ node }) => node.inputs[1] !== second)) throw fail();
  return { products, made: whole === undefined ? made : [...made, whole], shape };
}

interface Constants {
  /** The right factor, whole. */
  readonly value: string;
  readonly made: readonly PlacedNode[];
  readonly shape: string | undefined;
}

/** Finds the nodes that make [I, C] with its columns in order. */
function orderedColumns(wiring: Wiring, right: string, order: string): Constants | undefined {
  const { model } = wiring;
  const onlyUser = (value: string, opType: string, index: number): PlacedNode | undefined => {
    const [user] = wiring.usersOf(model, value);
    const fits = user?.scope === model && isOperator(user.node, opType) && user.node.inputs[index] === value;
    return fits && wiring.count(model, value) === 1 ? user : undefined;
  };
  const columns = onlyUser(right, 'Concat', 1);
  const gather = columns && onlyUser(columns.node.outputs[0]!, 'Gather', 0);
  if (gather === undefined || gather.node.inputs[1] !== order || wiring.count(model, order) !== 1) return undefined;
  const chain: PlacedNode[] = [];
  let value = columns!.node.inputs[0]!;
  for (const opType of ['Cast', 'EyeLike', 'ConstantOfShape']) {
    const maker = wiring.makerOf(model, value);
    if (maker === undefined || wiring.count(model, value) !== 1) return undefined;
    if (!isOperator(maker.node, opType)) {
      // Only types other than float32 are cast.
      if (opType === 'Cast') continue;
      return undefined;
    }
    chain.push(maker);
    value = maker.node.inputs[0]!;
  }
  if (wiring.initializer(value) === undefined || wiring.count(model, value) !== 1) return undefined;
  return { value: gather.node.outputs[0]!, made: [...chain, columns!, gather], shape: value };
}

/** @param left undefined where the node multiplies by the product of the factors */
function productBy(wiring: Wiring, outer: PlacedNode, left: string | undefined): FactoredProduct | undefined {
  if (!multiplies(outer.node)) return undefined;
  if (left === undefined) return { inner: undefined, outer, turn: undefined };
  const { scope, node } = outer;
  const made = node.inputs[0]!;
  const inner = wiring.makerOf(scope, made);
  const fits =
    inner !== undefined &&
    isOperator(inner.node, 'MatMul') &&
    inner.node.inputs[1] === left &&
    wiring.homeOf(scope, left) === wiring.model &&
    wiring.count(scope, made) === 1;
  if (!fits) return undefined;
  const x = inner.node.inputs[0]!;
  const turn = wiring.makerOf(scope, x);
  const isOurs =
    turn !== undefined &&
    isOperator(turn.node, 'Transpose') &&
    isOperator(node, 'Gemm') &&
    turn.node.name === turnName(node) &&
    wiring.count(scope, x) === 1;
  return { inner, outer, turn: isOurs ? turn : undefined };
}

/** The name of the node that turns the input of a Gemm. */
export function turnName({ name, outputs }: GraphNode): string {
  return `${name || outputs[0]}.turned`;
}

function notFactored(weight: string): LowRankError {
  return new LowRankError(
    'ERR_UNSUPPORTED',
    `${weight}: cannot be multiplied out: the graph does not use its factors as \`lowrank compress\` writes them`,
    { hint: 'Pass the model as it was written, before another program changed it.' },
  );
}

function thrown(error: Error): never {
  throw error;
}
