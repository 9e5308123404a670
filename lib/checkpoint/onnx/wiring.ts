import type { GraphNode, NodeField, NodeRead } from './node.js';
import type { PlacedNode, Scope, Stretch } from './scope.js';

/** An input, output or initialiser of a graph. */
export interface GraphEnd extends Stretch {
  readonly kind: 'input' | 'output' | 'initializer';
  readonly name: string;
}

/** A node that multiplies by its second input. */
export interface Multiplication extends PlacedNode {
  /** Whether it computes x W^T, of W as it lies in the file. */
  readonly turned: boolean;
}

/** All that uses a weight. */
export interface WeightUse {
  /** In the order of the file. */
  readonly multiplications: readonly Multiplication[];
  /** Nodes that hand the weight on to those, unchanged or transposed. */
  readonly passes: readonly PlacedNode[];
  /** Everything else, in words. */
  readonly others: readonly string[];
}

/** The operators whose second input can be replaced by two. */
const MULTIPLIES: ReadonlySet<string> = new Set(['MatMul', 'Gemm']);
const NO_FIELDS: readonly NodeField[] = [];

/**
 * Who is connected to what in the model's graph and in the bodies of its nodes, and where in the
 * file: what replacing nodes has to know. Weights are the initialisers of the model's own graph,
 * which its bodies see.
 */
export class Wiring {
  /** The nodes that have a value of this name among their inputs, of whatever graph. */
  readonly #users = new Map<string, PlacedNode[]>();
  /** The graphs that return a value of this name. */
  readonly #returned = new Map<string, Scope[]>();
  /** The nodes that make a value of this name. */
  readonly #makers = new Map<string, PlacedNode[]>();
  readonly #initializers = new Map<string, Stretch>();
  readonly #inputs = new Map<string, Stretch>();
  readonly #outputs = new Set<string>();
  /** The names that the bodies of nodes define for themselves. */
  readonly #own = new Map<Scope, Set<string>>();
  readonly #values = new Set<string>();
  #model: Scope | undefined;

  /** Begins with a graph: its scope, for its nodes. */
  enter(ends: readonly GraphEnd[], around: Omit<Scope, 'outputs'>): Scope {
    const outputs = ends.filter(({ kind }) => kind === 'output').map(({ name }) => name);
    const scope = { ...around, outputs };
    const inner = scope.outer !== undefined;
    if (inner) this.#own.set(scope, new Set());
    else this.#model = scope;
    for (const { kind, name, start, end } of ends) {
      this.#values.add(name);
      if (kind === 'output') append(this.#returned, name, scope);
      else this.#own.get(scope)?.add(name);
      if (inner) continue;
      if (kind === 'output') this.#outputs.add(name);
      else (kind === 'input' ? this.#inputs : this.#initializers).set(name, { start, end });
    }
    return scope;
  }

  /** @param bodies will be filled with the graphs inside the node */
  node({ node, fields }: NodeRead, { start, end }: Stretch, scope: Scope, bodies: readonly Scope[]): PlacedNode {
    const placed = { node, fields: multiplies(node) ? fields : NO_FIELDS, start, end, scope, bodies };
    for (const name of new Set(node.inputs)) append(this.#users, name, placed);
    for (const name of node.outputs) {
      append(this.#makers, name, placed);
      this.#own.get(scope)?.add(name);
    }
    for (const name of [...node.inputs, ...node.outputs]) this.#values.add(name);
    return placed;
  }

  /** The model's own graph. */
  get model(): Scope {
    return this.#model!;
  }

  /** Finds all that uses a weight, through nodes that hand it on. */
  use(weight: string): WeightUse {
    const found = { multiplications: [] as Multiplication[], passes: [] as PlacedNode[], others: [] as string[] };
    const seen = new Map<Scope, Set<string>>();
    const follow = (scope: Scope, value: string, turned: boolean): void => {
      const known = seen.get(scope) ?? new Set();
      // A damaged graph may lead back to where it began.
      if (known.has(value)) return;
      seen.set(scope, known.add(value));
      for (const placed of this.usersOf(scope, value)) {
        const { node } = placed;
        for (const [index, input] of node.inputs.entries()) {
          if (input !== value) continue;
          const turns = node.domain === '' ? turnsOf(node) : undefined;
          if (multiplies(node) && index === 1) {
            found.multiplications.push({ ...placed, turned: isTurned(node) !== turned });
          } else if (turns !== undefined && node.outputs[0] !== undefined) {
            found.passes.push(placed);
            follow(placed.scope, node.outputs[0], turned !== turns);
          } else found.others.push(inWords(placed));
        }
      }
      for (const _ of this.#returnedFrom(scope, value)) found.others.push('an output of a graph');
    };
    follow(this.model, weight, false);
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
    if (biases.size !== 1 || bias === undefined || others.length > 0) return undefined;
    return this.count(this.model, bias) === multiplications.length ? bias : undefined;
  }

  /** The nodes that look up rows of a weight; none if something else uses it, too. */
  lookups(weight: string): readonly PlacedNode[] {
    const users = this.usersOf(this.model, weight);
    const isLookup = ({ node: { opType, domain, inputs, attributes } }: PlacedNode) =>
      domain === '' && opType === 'Gather' && inputs[0] === weight && (attributes.get('axis')?.[0] ?? 0) === 0;
    return users.every(isLookup) && this.count(this.model, weight) === users.length ? users : [];
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

  /** Whether a value of the model has this name, in whatever graph. */
  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The graph that defines the value that has a name in another: that one, or one around it. */
  homeOf(scope: Scope, name: string): Scope {
    let home = scope;
    while (home.outer !== undefined && !this.#own.get(home)!.has(name)) home = home.outer;
    return home;
  }

  /** The node that makes a value of a graph; undefined for an input or an initialiser. */
  makerOf(scope: Scope, name: string): PlacedNode | undefined {
    return this.#makers.get(name)?.find((placed) => placed.scope === scope);
  }

  /** The nodes, in whatever graphs, that have a value of a graph among their inputs. */
  usersOf(scope: Scope, name: string): PlacedNode[] {
    return this.#users.get(name)?.filter((placed) => this.homeOf(placed.scope, name) === scope) ?? [];
  }

  /** How often a value of a graph is an input of a node, or returned. */
  count(scope: Scope, name: string): number {
    const inputs = this.usersOf(scope, name).flatMap(({ node }) => node.inputs.filter((input) => input === name));
    return inputs.length + this.#returnedFrom(scope, name).length;
  }

  #returnedFrom(scope: Scope, name: string): Scope[] {
    return this.#returned.get(name)?.filter((by) => this.homeOf(by, name) === scope) ?? [];
  }

  #biasOf({ node, scope }: Multiplication): string | undefined {
    const { opType, inputs, outputs, floats } = node;
    const [alpha, beta] = opType === 'Gemm' ? [floats.get('alpha') ?? 1, floats.get('beta') ?? 1] : [1, 1];
    const [, , c] = inputs;
    if (c) return alpha === beta && this.#isInitializer(scope, c) ? c : undefined;
    const [product] = outputs;
    if (product === undefined || alpha !== 1 || this.count(scope, product) !== 1) return undefined;
    const [user] = this.usersOf(scope, product);
    // Before version 7 of the operators, attributes could say which dimensions are added to.
    if (user === undefined || !isOperator(user.node, 'Add') || user.node.attributes.size > 0) return undefined;
    const added = user.node.inputs.find((input) => input !== product);
    return added !== undefined && this.#isInitializer(user.scope, added) ? added : undefined;
  }

  /** Whether a name stands for an initialiser of the model's graph. */
  #isInitializer(scope: Scope, name: string): boolean {
    return this.#initializers.has(name) && this.homeOf(scope, name) === this.model;
  }
}

/** Whether a node is an operator of ONNX's own. */
export function isOperator({ opType, domain }: GraphNode, wanted: string): boolean {
  return domain === '' && opType === wanted;
}

/** Whether a node multiplies by its second input. */
export function multiplies({ opType, domain }: GraphNode): boolean {
  return domain === '' && MULTIPLIES.has(opType);
}

function isTurned({ attributes }: GraphNode): boolean {
  return (attributes.get('transB')?.[0] ?? 0) !== 0;
}

/** Whether a node hands its input on transposed; undefined for one that does something else. */
function turnsOf({ opType, attributes }: GraphNode): boolean | undefined {
  if (opType === 'Identity') return false;
  if (opType !== 'Transpose') return undefined;
  return (attributes.get('perm') ?? [1, 0]).join() === '1,0' ? true : undefined;
}

function inWords({ node: { opType }, scope }: PlacedNode): string {
  return scope.outer === undefined ? opType : `${opType} in a graph inside a node`;
}

function append<T>(lists: Map<string, T[]>, key: string, value: T): void {
  if (key === '') return;
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}
