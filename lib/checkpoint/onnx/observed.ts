import type { StoredType } from '../../tensor/dtype.js';
import type { FileLayout, TensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { type Cut, withCuts } from './cuts.js';
import { attribute, field, integersTensor, node, tensorStart, valueInfo } from './encode.js';
import { Names, refusal, type SplicedFile } from './replacement.js';
import type { PlacedNode, Scope } from './scope.js';
import type { Wiring } from './wiring.js';

/** A value of the model's graph, or of the body of a node. */
export interface ObservedValue {
  /** What the model returns it as. */
  readonly key: string;
  readonly name: string;
  readonly scope: Scope;
  readonly dtype: StoredType;
}

/**
 * Returns what a model returns a value as; undefined where it cannot return it. Out of the branches
 * of an If, values can be handed; the bodies of other nodes run any number of times.
 */
export function keyOf(wiring: Wiring, scope: Scope, name: string): string | undefined {
  if (scope.outer === undefined) return name;
  if (!isBranch(scope)) return undefined;
  let key = [...scope.path, name].join('.');
  while (wiring.has(key)) key += '.observed';
  return key;
}

/** Whether a body is a branch of an If of the model's graph, or of such a branch. */
function isBranch({ outer, node }: Scope): boolean {
  if (outer === undefined || node === undefined) return true;
  const { opType, domain, outputs } = node.node;
  // Outputs at the end may be left out of the node, so that another one would not be the last.
  const isWhole = node.bodies.every((body) => body.outputs.length === outputs.length);
  return domain === '' && opType === 'If' && isWhole && isBranch(outer);
}

/**
 * Adds values to the outputs of a model; a runtime finds their types itself. A value of a branch of
 * an If comes out of it as a vector, which is empty where another branch was chosen.
 */
export function withOutputs(source: SplicedFile, values: readonly ObservedValue[]): FileLayout {
  const { wiring } = source;
  const cuts = new Additions();
  const names = new Names(wiring, []);
  for (const value of values) {
    if (value.scope.outer !== undefined) handOut(cuts, names, value);
    if (!wiring.isOutput(value.key)) cuts.toGraph(wiring.model, field(12, field(1, value.key)));
  }
  return withCuts(source, cuts.all());
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
  return withCuts(source, cuts);
}

/** Hands a value of a branch out of it, and of those around it. */
function handOut(cuts: Additions, names: Names, { key, name, scope, dtype }: ObservedValue): void {
  const value = (what: string) => names.unused(`${key}.${what}`);
  const constant = (output: string, tensor: Uint8Array) =>
    field(1, node('Constant', output, [], output, attribute('value', tensor)));
  // The branches have to agree in the number of dimensions.
  const [shape, flat] = [value('shape'), value('flat')];
  const flattening = node('Reshape', flat, [name, shape], flat);
  cuts.toGraph(scope, constant(shape, integersTensor('', [-1])), field(1, flattening));
  let inner = flat;
  for (let branch = scope; branch.node !== undefined; branch = branch.node.scope) {
    cuts.toGraph(branch, field(12, field(1, inner)));
    for (const other of branch.node.bodies) {
      if (other === branch) continue;
      const none = value('none');
      const empty = tensorStart('', dtype, [0], 0);
      cuts.toGraph(other, constant(none, empty), field(12, field(1, none)));
    }
    inner = branch.node.scope.node === undefined ? key : value('outer');
    cuts.toNode(branch.node, inner);
  }
}

/** What is added at the ends of graphs and nodes. */
class Additions {
  /** By the first byte of the message. */
  readonly #cuts = new Map<number, Cut>();

  toGraph({ within }: Pick<Scope, 'within'>, ...fields: readonly Uint8Array[]): void {
    const { start, end } = within.at(-1)!;
    const cut = this.#cuts.get(start) ?? { start: end, end, within, parts: new PartList() };
    this.#cuts.set(start, cut);
    for (const bytes of fields) cut.parts.bytes(bytes);
  }

  /** @param output the name of one more output of a node that has bodies */
  toNode({ bodies: [body] }: PlacedNode, output: string): void {
    // The last two are the attribute and the body.
    this.toGraph({ within: body!.within.slice(0, -2) }, field(2, output));
  }

  all(): Cut[] {
    return [...this.#cuts.values()];
  }
}
