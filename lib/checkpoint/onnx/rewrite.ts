import { PartList } from '../parts.js';
import type { Cut } from './cuts.js';
import { attribute, field, prefix } from './encode.js';
import type { SplicedFile } from './replacement.js';
import { outermostStart, type PlacedNode } from './scope.js';

/** Takes a node out. */
export function removed({ start, end, scope }: PlacedNode): Cut {
  return { start, end, within: scope.within, parts: new PartList() };
}

/**
 * Inserts nodes into the model's own graph, where bodies see what they make: before the first that
 * need it.
 */
export function insertion({ graph }: SplicedFile, users: readonly PlacedNode[], nodes: readonly Uint8Array[]): Cut[] {
  if (nodes.length === 0) return [];
  const start = Math.min(...users.map(outermostStart));
  const parts = new PartList();
  for (const bytes of nodes) parts.bytes(field(1, bytes));
  return [{ start, end: start, within: [graph], parts }];
}

interface Attributes {
  /** Those that the node loses. */
  readonly without: readonly string[];
  /** Those that it gets. */
  readonly with?: Readonly<Record<string, number>>;
}

/** Writes a node with other first inputs and attributes; all else is copied. */
export function rewired(
  parts: PartList,
  { file }: SplicedFile,
  { fields }: PlacedNode,
  inputs: readonly string[],
  attributes: Attributes,
): void {
  const node = new PartList();
  let input = 0;
  for (const { number, start, end, attribute: own } of fields) {
    if (number === 1 && input < inputs.length) node.bytes(field(1, inputs[input++]!));
    else if (own === undefined || !attributes.without.includes(own)) node.copy(file, start, end - start);
  }
  for (const [name, value] of Object.entries(attributes.with ?? {})) node.bytes(attribute(name, value));
  parts.bytes(prefix(1, node.end));
  for (const part of node.parts) parts.append(part);
}
