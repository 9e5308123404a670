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
  /** Whether it computes x W^T, of W as it lies in the file. */
  readonly turned: boolean;
}

/** All that uses a weight. */
export interface WeightUse {
  /** In the order of the file. */
  readonly multiplications: readonly Multiplication[];
  /** Nodes that hand the weight on to those, unchanged or transposed. */
  readonly passes: readonly Stretch[];
  /** Everything else, in words. */
  readonly others: readonly string[];
}

/** A node that hands its input on. */
interface Pass extends Stretch {
  readonly output: string;
  readonly turns: boolean;
}

/** A node of the model's own graph that takes rows of its first input. */
export interface Lookup extends Stretch {
  readonly node: GraphNode;
}

/** The operators whose second input can be replaced by two. */
const MULTIPLIES: ReadonlySet<string> = new Set(['MatMul', 'Gemm']);

/**
 * Who is connected to what in the model's graph, and where in the file: what replacing nodes has to
 * know.
 */
export class Wiring {
  /** By the name of the second input, in the order of the file. */
  readonly #multiplications = new Map<string, Multiplication[]>();
  readonly #passes = new Map<string, Pass[]>();
  /**
   * By the name of the first input: nodes that look rows up. They are among the other uses, too.
   */
  readonly #lookups = new Map<string, Lookup[]>();
  /** Other uses of a value, in all graphs, in words. */
  readonly #others = new Map<string, string[]>();
  /** By a value to which an initialiser is added: the initialiser. */
  readonly #added = new Map<string, string>();
  readonly #initializers = new Map<string, Stretch>();
  readonly #inputs = new Map<string, Stretch>();
  readonly #outputs = new Set<string>();
  readonly #values = new Set<string>();

  /** @param inner whether the node is in a graph inside a node */
  node({ node, fields }: NodeRead, { start, end }: Stretch, inner: boolean): void {
    const { opType, inputs, outputs, attributes } = node;
    for (const name of [...inputs, ...outputs]) this.#values.add(name);
    const [first, second] = inputs;
    const own = !inner && node.domain === '';
    const multiplies = own && MULTIPLIES.has(opType);
    const turns = own ? turnsOf(node) : undefined;
    for (const [index, name] of inputs.entries()) {
      if (multiplies && index === 1) {
        const turned = (attributes.get('transB')?.[0] ?? 0) !== 0;
        append(this.#multiplications, name, { node, fields, start, end, turned });
      } else if (turns !== undefined && outputs[0] !== undefined) {
        append(this.#passes, name, { start, end, output: outputs[0], turns });
      } else {
        append(this.#others, name, inner ? `${opType} in a graph inside a node` : opType);
        const looksUp = own && opType === 'Gather' && index === 0 && (attributes.get('axis')?.[0] ?? 0) === 0;
        if (looksUp) append(this.#lookups, name, { node, start, end });
      }
    }
    // Before version 7 of the operators, attributes could say which dimensions are added to.
    if (own && opType === 'Add' && first !== undefined && second !== undefined && attributes.size === 0) {
      if (this.#initializers.has(second)) this.#added.set(first, second);
      else if (this.#initializers.has(first)) this.#added.set(second, first);
    }
  }

  ends(ends: readonly GraphEnd[], inner: boolean): void {
    for (const { kind, name, start, end } of ends) {
      this.#values.add(name);
      if (kind === 'output') append(this.#others, name, 'an output of a graph');
      if (inner) continue;
      if (kind === 'output') this.#outputs.add(name);
      else (kind === 'input' ? this.#inputs : this.#initializers).set(name, { start, end });
    }
  }

  /** Finds all that uses a weight, through nodes that hand it on. */
  use(name: string): WeightUse {
    const found = { multiplications: [] as Multiplication[], passes: [] as Stretch[], others: [] as string[] };
    const seen = new Set<string>();
    const follow = (value: string, turned: boolean): void => {
      // A damaged graph may lead back to where it began.
      if (seen.has(value)) return;
      seen.add(value);
      for (const each of this.#multiplications.get(value) ?? []) {
        found.multiplications.push({ ...each, turned: each.turned !== turned });
      }
      found.others.push(...(this.#others.get(value) ?? []));
      for (const { output, turns, start, end } of this.#passes.get(value) ?? []) {
        found.passes.push({ start, end });
        follow(output, turned !== turns);
      }
    };
    follow(name, false);
    found.multiplications.sort((a, b) => a.start - b.start);
    return found;
  }

  /**
   * Finds the initialiser that is added to every product with a weight, and to nothing else: C of a
   * Gemm, or what the Add after a MatMul adds. Undefined where there is none, and where product and
   * bias are scaled differently.
   */
  biasOf(weight: string): string | undefined {
    const { multiplications, others } = this.use(weight);
    const biases = new Set(multiplications.map((each) => this.#biasOf(each)));
    const [bias] = biases;
    if (biases.size !== 1 || bias === undefined || others.length > 0 || !this.#initializers.has(bias)) return undefined;
    return this.#count(bias) === multiplications.length ? bias : undefined;
  }

  /**
   * The nodes of the model's graph that look up rows of a weight; none if something else uses it,
   * too.
   */
  lookups(name: string): readonly Lookup[] {
    const { multiplications, passes, others } = this.use(name);
    const all = this.#lookups.get(name) ?? [];
    return multiplications.length + passes.length === 0 && others.length === all.length ? all : [];
  }

  /** Where an initialiser of the model's graph lies. */
  initializer(name: string): Stretch | undefined {
    return this.#initializers.get(name);
  }

  /**
   * Where an input of the model's graph is declared; initialisers may be declared as inputs too.
   */
  input(name: string): Stretch | undefined {
    return this.#inputs.get(name);
  }

  isOutput(name: string): boolean {
    return this.#outputs.has(name);
  }

  /** Whether a value of the model has this name. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  #biasOf({ node }: Multiplication): string | undefined {
    const { opType, inputs, outputs, floats } = node;
    const [alpha, beta] = opType === 'Gemm' ? [floats.get('alpha') ?? 1, floats.get('beta') ?? 1] : [1, 1];
    const [, , c] = inputs;
    if (c) return alpha === beta ? c : undefined;
    const [product] = outputs;
    if (product === undefined || alpha !== 1 || this.#count(product) !== 1) return undefined;
    return this.#added.get(product);
  }

  #count(name: string): number {
    const all = [this.#multiplications, this.#passes, this.#others] as const;
    return all.reduce((sum, uses) => sum + (uses.get(name)?.length ?? 0), 0);
  }
}

/** Whether a node hands its input on transposed; undefined for one that does something else. */
function turnsOf({ opType, attributes }: GraphNode): boolean | undefined {
  if (opType === 'Identity') return false;
  if (opType !== 'Transpose') return undefined;
  return (attributes.get('perm') ?? [1, 0]).join() === '1,0' ? true : undefined;
}

function append<T>(lists: Map<string, T[]>, key: string, value: T): void {
  if (key === '') return;
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
