import type { GraphNode, NodeField } from './node.js';
import type { Field } from './protobuf.js';

/** A stretch of the file, with the tag of its field. */
export interface Stretch {
  readonly start: number;
  readonly end: number;
}

/** A graph of the model: its own, or the body of a node, which sees the values around it too. */
export interface Scope {
  /** Undefined for the model's own graph. */
  readonly outer: Scope | undefined;
  /** The node whose body it is. */
  readonly node: PlacedNode | undefined;
  /** The messages around its fields, the outermost first; the last is the graph itself. */
  readonly within: readonly Field[];
  /** For each graph around it but the model's own: the node, by its first output, and attribute. */
  readonly path: readonly string[];
  /** The names of what it returns. */
  readonly outputs: readonly string[];
}

/** A node, and where it lies. */
export interface PlacedNode extends Stretch {
  readonly node: GraphNode;
  /** Of the operators that can be rewritten alone. */
  readonly fields: readonly NodeField[];
  readonly scope: Scope;
  /** The graphs inside it, in the order of the file. */
  readonly bodies: readonly Scope[];
}

/** Where the node of the model's own graph begins that a node is, or that it lies in. */
export function outermostStart({ start, scope }: PlacedNode): number {
  return scope.node === undefined ? start : outermostStart(scope.node);
}
