import type { Orientation } from '../checkpoint.js';
import type { GraphNode } from './graph.js';

/** What the nodes of a graph do with an initialiser. */
export interface Usage {
  /** How many different places use it: modules, and nodes that tell no module. */
  readonly places: number;
  /** The first of them. */
  readonly users: readonly string[];
  /** The path, with dots, of the only module that multiplies by it: `model.layers.0.self_attn.q_proj`. */
  readonly module: string | undefined;
  /** How it lies, where all that multiply by it agree. */
  readonly orientation: Orientation | undefined;
  /** The operator whose scale or zero point it is, so that it says how other numbers are packed. */
  readonly quantizes: string | undefined;
}

/** An operator's input that takes a weight. */
interface WeightInput {
  readonly input: number;
  /** How a weight lies there that is used as it is. */
  readonly orientation: Orientation;
  /** The attribute that turns it when it is 1. */
  readonly turn?: string;
}

const LEFT: WeightInput = { input: 0, orientation: 'out x in', turn: 'transA' };
const RIGHT: WeightInput = { input: 1, orientation: 'in x out', turn: 'transB' };

/** Operators that multiply by a weight. Source: the operator documents of ONNX and of onnxruntime's com.microsoft domain. */
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
  // Blocks of packed numbers, one row of blocks for each output.
  ['MatMulNBits', [{ input: 1, orientation: 'out x in' }]],
  ['MatMulBnb4', [{ input: 1, orientation: 'out x in' }]],
]);

/** Operators whose further inputs say how the numbers of another one are packed. */
const QUANTIZED = /^(?:(?:Q|Deq)uantizeLinear|QLinear\w*|QGemm|MatMul(?:Integer\w*|NBits|Bnb4)|DynamicQuantizeMatMul)$/;

/** So many users are named in messages. */
const MAX_USERS = 4;

/** A value that is an initialiser, apart from its type and from being turned. */
interface Source {
  readonly initializer: string;
  readonly turned: boolean;
}

interface Record {
  readonly places: Set<string>;
  readonly modules: Set<string | undefined>;
  readonly orientations: Set<Orientation | undefined>;
  quantizes: string | undefined;
}

/**
 * Learns from a graph's nodes, shown in their order, where each initialiser is used. It is followed through `Identity`,
 * `Cast`, `DequantizeLinear` and a `Transpose` of the last two dimensions; whatever else is done to it counts as a use.
 */
export class Usages {
  readonly #records = new Map<string, Record>();
  readonly #derived = new Map<string, Source>();
  #nodes = 0;

  constructor(private readonly initializers: ReadonlyMap<string, { readonly dims: readonly number[] }>) {}

  visit(node: GraphNode): void {
    this.#nodes++;
    for (const [index, input] of node.inputs.entries()) {
      const source = this.initializers.has(input) ? { initializer: input, turned: false } : this.#derived.get(input);
      if (source === undefined) continue;
      const dimensions = this.initializers.get(source.initializer)!.dims.length;
      const passed = index === 0 ? passes(node, dimensions) : undefined;
      if (passed !== undefined && node.outputs[0] !== undefined) {
        this.#derived.set(node.outputs[0], { ...source, turned: source.turned !== passed.turns });
      } else {
        this.#use(source, node, index);
      }
    }
  }

  /** Undefined for one that no node uses. */
  of(initializer: string): Usage | undefined {
    const record = this.#records.get(initializer);
    if (record === undefined) return undefined;
    return {
      places: record.places.size,
      users: [...record.places].slice(0, MAX_USERS),
      module: only(record.modules),
      orientation: only(record.orientations),
      quantizes: record.quantizes,
    };
  }

  #use({ initializer, turned }: Source, node: GraphNode, index: number): void {
    let record = this.#records.get(initializer);
    if (record === undefined) {
      record = { places: new Set(), modules: new Set(), orientations: new Set(), quantizes: undefined };
      this.#records.set(initializer, record);
    }
    const weight = MULTIPLICATIONS.get(node.opType)?.find(({ input }) => input === index);
    const module = weight === undefined ? undefined : moduleOf(node.name);
    // Two uses by one module, such as in both branches of an If, are one place.
    record.places.add(module ?? (node.name || node.outputs[0] || `${node.opType} (node ${this.#nodes})`));
    record.modules.add(module);
    record.orientations.add(weight && turnedIf(turned !== isSet(node, weight.turn), weight.orientation));
    if (weight === undefined && index > 0 && QUANTIZED.test(node.opType)) record.quantizes ??= node.opType;
  }
}

/** Whether a node's first input comes out as it was but for its type, and whether turned. */
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
 * The path of the module that a node belongs to. Exporters name a node by its module's path and its operator:
 * `/model/layers.0/self_attn/q_proj/MatMul`; later passes append to the operator's name.
 */
function moduleOf(node: string): string | undefined {
  const [, path] = /^\/(.+)\/[^/]*(?:MatMul|Gemm)[^/]*$/.exec(node) ?? [];
  return path?.split('/').join('.');
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
