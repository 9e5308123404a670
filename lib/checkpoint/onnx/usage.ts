import type { Orientation } from '../checkpoint.js';
import type { GraphNode } from './node.js';
import type { Constant } from './tensor-proto.js';

/** The use of a constant by the nodes of a graph. */
export interface Usage {
  /** The different places that use it: modules, and nodes outside any module. */
  readonly users: ReadonlySet<string>;
  /**
   * The path, with dots, of the only module that multiplies by it, once or several times:
   * `model.layers.0.self_attn.q_proj`.
   */
  readonly module: string | undefined;
  /** Its orientation, if all nodes that multiply by it agree. */
  readonly orientation: Orientation | undefined;
  /**
   * The operator whose scale or zero point it is, so that it defines how other numbers are packed.
   */
  readonly quantizes: string | undefined;
}

/** An operator's input for a weight. */
interface WeightInput {
  readonly input: number;
  /** The orientation of a weight that is used unchanged. */
  readonly orientation: Orientation;
  /** The attribute that transposes it if it is 1. */
  readonly turn?: string;
}

const LEFT: WeightInput = { input: 0, orientation: 'out x in', turn: 'transA' };
const RIGHT: WeightInput = { input: 1, orientation: 'in x out', turn: 'transB' };
const RIGHT_ALONE: WeightInput = { input: 1, orientation: 'in x out' };

/**
 * Operators that multiply by a weight. Source: the operator documents of ONNX and of onnxruntime's
 * com.microsoft domain.
 */
const MULTIPLICATIONS: ReadonlyMap<string, readonly WeightInput[]> = new Map([
  ['MatMul', [LEFT, RIGHT]],
  ['Gemm', [LEFT, RIGHT]],
  ['FusedMatMul', [LEFT, RIGHT]],
  ['FusedGemm', [LEFT, RIGHT]],
  ['MatMulInteger', [RIGHT]],
  ['MatMulIntegerToFloat', [RIGHT]],
  ['DynamicQuantizeMatMul', [RIGHT]],
  ['QLinearMatMul', [{ input: 3, orientation: 'in x out' }]],
  ['QGemm', [{ input: 3, orientation: 'in x out', turn: 'transB' }]],
  // The weights of q, k and v beside each other.
  ['Attention', [RIGHT_ALONE]],
  ['PackedAttention', [RIGHT_ALONE]],
  ['QAttention', [RIGHT_ALONE]],
  // Blocks of packed numbers, one row of blocks for each output.
  ['MatMulNBits', [{ input: 1, orientation: 'out x in' }]],
  ['MatMulBnb4', [{ input: 1, orientation: 'out x in' }]],
]);

/** Operators whose further inputs define how the numbers of another one are packed. */
const QUANTIZED = /^(?:(?:Q|Deq)uantizeLinear|QLinear\w*|QGemm|MatMul(?:Integer\w*|NBits|Bnb4)|DynamicQuantizeMatMul)$/;

/** The most constants to which a value is traced. An If has two; more count as uses of the If. */
const MAX_SOURCES = 16;

/** A value that is a constant, except for its type and a transposition. */
interface Source {
  readonly constant: Constant;
  readonly turned: boolean;
}

/** The constants that a value can be: one from each branch of an If. */
export type Sources = readonly Source[];

/** The values of a graph that are constants, by name. */
type Scope = Map<string, Sources>;

interface Record {
  readonly users: Set<string>;
  readonly modules: Set<string | undefined>;
  readonly orientations: Set<Orientation | undefined>;
  quantizes: string | undefined;
}

/**
 * Finds out, from a graph's nodes in their order, where each constant is used. It traces constants
 * through `Identity`, `Cast`, `DequantizeLinear`, a `Transpose` of the last two dimensions and out
 * of the branches of an `If`; anything else counts as a use. The nodes of a graph inside a node
 * come right after that node, between `enter` and `leave`.
 */
export class Usages {
  readonly #records = new Map<Constant, Record>();
  /** The graphs that are being visited, the innermost last. Its nodes see the values of all. */
  readonly #scopes: Scope[] = [];
  #nodes = 0;

  enter(initializers: ReadonlyMap<string, Constant>): void {
    this.#scopes.push(
      new Map([...initializers].map(([name, constant]) => [name, [{ constant, turned: false }]] as const)),
    );
  }

  /** @returns the sources of the graph's outputs, each empty if it is not a constant */
  leave(outputs: readonly string[]): Sources[] {
    const sources = outputs.map((output) => this.#sourcesOf(output));
    this.#scopes.pop();
    return sources;
  }

  /** Defines a value of the graph as a constant. */
  define(output: string, constant: Constant): void {
    this.#scopes.at(-1)!.set(output, [{ constant, turned: false }]);
  }

  /** Gives the outputs of an If the values that its branches return. */
  join(node: GraphNode, branches: readonly (readonly Sources[])[]): void {
    for (const [index, output] of node.outputs.entries()) {
      const sources: Source[] = [];
      for (const source of branches.flatMap((results) => results[index] ?? [])) {
        const { constant, turned } = source;
        if (sources.some((known) => known.constant === constant && known.turned === turned)) continue;
        if (sources.length < MAX_SOURCES) sources.push(source);
        else this.#use(source, node, undefined);
      }
      if (sources.length > 0) this.#scopes.at(-1)!.set(output, sources);
    }
  }

  visit(node: GraphNode): void {
    this.#nodes++;
    for (const [index, input] of node.inputs.entries()) {
      for (const source of this.#sourcesOf(input)) this.#follow(source, node, index);
    }
  }

  /** Returns the use of a constant; undefined if no node uses it. */
  of(constant: Constant): Usage | undefined {
    const record = this.#records.get(constant);
    if (record === undefined) return undefined;
    const { users, modules, orientations, quantizes } = record;
    return { users, module: commonModule(modules), orientation: only(orientations), quantizes };
  }

  #sourcesOf(value: string): Sources {
    for (let depth = this.#scopes.length - 1; depth >= 0; depth--) {
      const sources = this.#scopes[depth]!.get(value);
      if (sources !== undefined) return sources;
    }
    return [];
  }

  #follow(source: Source, node: GraphNode, index: number): void {
    const passed = index === 0 ? passes(node, source.constant.dims.length) : undefined;
    const [output] = node.outputs;
    if (passed === undefined || output === undefined) {
      this.#use(source, node, index);
      return;
    }
    const scope = this.#scopes.at(-1)!;
    scope.set(output, [...(scope.get(output) ?? []), { ...source, turned: source.turned !== passed.turns }]);
  }

  #use({ constant, turned }: Source, node: GraphNode, index: number | undefined): void {
    let record = this.#records.get(constant);
    if (record === undefined) {
      record = { users: new Set(), modules: new Set(), orientations: new Set(), quantizes: undefined };
      this.#records.set(constant, record);
    }
    const weight = MULTIPLICATIONS.get(node.opType)?.find(({ input }) => input === index);
    const module = weight === undefined ? undefined : moduleOf(node.name);
    // Two uses by one module, such as in both branches of an If, are one place.
    record.users.add(module ?? (node.name || node.outputs[0] || `${node.opType} (node ${this.#nodes})`));
    record.modules.add(module);
    record.orientations.add(weight && turnedIf(turned !== isSet(node, weight.turn), weight.orientation));
    if (weight === undefined && index !== undefined && index > 0 && QUANTIZED.test(node.opType))
      record.quantizes ??= node.opType;
  }
}

/**
 * Whether a node's first input passes through unchanged except for its type, and whether it is
 * transposed.
 */
function passes({ opType, attributes }: GraphNode, dimensions: number): { turns: boolean } | undefined {
  if (opType === 'Identity' || opType === 'Cast' || opType === 'DequantizeLinear') return { turns: false };
  if (opType !== 'Transpose' || dimensions < 2) return undefined;
  const axes = Array.from({ length: dimensions }, (_, axis) => axis);
  const permutation = attributes.get('perm') ?? axes.toReversed();
  const [last, before] = [axes.pop()!, axes.pop()!];
  const turning = [...axes, last, before];
  return permutation.join() === turning.join() ? { turns: true } : undefined;
}

/**
 * Returns the path of a node's module. Exporters name a node by its module's path and its operator:
 * `/model/layers.0/self_attn/q_proj/MatMul`; later passes append to the operator's name.
 */
function moduleOf(node: string): string | undefined {
  const [, path] = /^\/(.+)\/[^/]*(?:MatMul|Gemm)[^/]*$/.exec(node) ?? [];
  return path?.split('/').join('.');
}

/**
 * Returns the module to which all uses belong. Exporters count the calls of a module at the end of
 * its path: one that is called three times is `layer`, `layer_1` and `layer_2`.
 */
function commonModule(modules: ReadonlySet<string | undefined>): string | undefined {
  const [first, ...others] = modules;
  if (first === undefined) return undefined;
  const isCall = (other: string | undefined) =>
    other?.startsWith(`${first}_`) === true && /^\d+$/.test(other.slice(first.length + 1));
  return others.every(isCall) ? first : undefined;
}

function isSet({ attributes }: GraphNode, name: string | undefined): boolean {
  return name !== undefined && (attributes.get(name)?.[0] ?? 0) !== 0;
}

function turnedIf(turned: boolean, orientation: Orientation): Orientation {
  if (!turned) return orientation;
  return orientation === 'in x out' ? 'out x in' : 'in x out';
}

function only<T>(values: ReadonlySet<T>): T | undefined {
  return values.size === 1 ? [...values][0] : undefined;
}
