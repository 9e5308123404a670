import type { GraphNode, NodeField, NodeRead } from './node.js';

/** A stretch of the file, with the tag of its field. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** An input, output or initialiser of a graph. */
export interface GraphEnd extends Stretch {
  readonly kind: 'input' | 'output' | 'initializer';
  readonly name: string;
}

/** A node of the model's own graph that multiplies by its second input. */
export interface Multiplication extends Stretch {
  readonly node: GraphNode;
  readonly fields: readonly NodeField[];
}

/** The operators whose second input can be replaced by two. */
const MULTIPLIES: ReadonlySet<string> = new Set(['MatMul', 'Gemm']);

/** Who is connected to what in the model's graph, and where in the file: what replacing nodes has to know. */
export class Wiring {
  /** By the name of the second input, in the order of the file. */
  readonly #multiplications = new Map<string, Multiplication[]>();
  readonly #initializers = new Map<string, Stretch>();
  readonly #outputs = new Set<string>();
  /** How often each value is used, in all graphs, as an input or an output of the model too. */
  readonly #uses = new Map<string, number>();

  /** @param inner whether the node is in a graph inside a node */
  node({ node, fields }: NodeRead, { start, end }: Stretch, inner: boolean): void {
    for (const name of node.inputs) this.#use(name);
    for (const name of node.outputs) this.#uses.set(name, this.#uses.get(name) ?? 0);
    const [, weight] = node.inputs;
    if (inner || weight === undefined || !MULTIPLIES.has(node.opType)) return;
    const all = this.#multiplications.get(weight) ?? [];
    this.#multiplications.set(weight, [...all, { node, fields, start, end }]);
  }

  ends(ends: readonly GraphEnd[], inner: boolean): void {
    for (const { kind, name, start, end } of ends) {
      if (kind === 'output' && !inner) this.#outputs.add(name);
      if (kind !== 'initializer') this.#use(name);
      else if (!inner) this.#initializers.set(name, { start, end });
    }
  }

  /** The nodes of the model's graph that multiply by a value from the right. */
  multiplications(name: string): readonly Multiplication[] {
    return this.#multiplications.get(name) ?? [];
  }

  /** Where an initialiser of the model's graph lies. */
  initializer(name: string): Stretch | undefined {
    return this.#initializers.get(name);
  }

  isOutput(name: string): boolean {
    return this.#outputs.has(name);
  }

  uses(name: string): number {
    return this.#uses.get(name) ?? 0;
  }

  /** Whether a value of the model has this name. */
  has(name: string): boolean {
    return this.#uses.has(name) || this.#initializers.has(name);
  }

  #use(name: string): void {
    if (name !== '') this.#uses.set(name, (this.#uses.get(name) ?? 0) + 1);
  }
}
