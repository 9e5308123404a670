import type { ByteRange, FileLayout, FilePart } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { prefix } from './encode.js';
import type { Field, Span } from './protobuf.js';
import type { Stretch } from './scope.js';

/** Other bytes in place of a stretch of a model's file. */
export interface Cut extends Stretch {
  /** The messages around the stretch whose lengths are to be stated anew, the outermost first. */
  readonly within: readonly Field[];
  readonly parts: PartList;
  /** Where in `parts` tensors of the copy lie. */
  readonly places?: ReadonlyMap<string, ByteRange>;
}

interface Filled {
  readonly parts: readonly FilePart[];
  readonly places: ReadonlyMap<string, ByteRange>;
}

/** Makes the cuts in a file; the lengths of all messages around them follow. */
export function withCuts(
  { file, size }: { readonly file: string; readonly size: number },
  cuts: readonly Cut[],
): FileLayout {
  const ordered = [...cuts].sort(inOrder);
  const { list, places } = message(file, { begin: 0, end: size }, ordered, 0);
  return { file, parts: list.parts, places };
}

/**
 * At the same byte: first the ends of inner messages, and what is inserted before what is replaced.
 */
function inOrder(a: Cut, b: Cut): number {
  return a.start - b.start || b.within.length - a.within.length || a.end - b.end;
}

function message(file: string, { begin, end }: Span, cuts: readonly Cut[], depth: number) {
  const list = new PartList();
  const places = new Map<string, ByteRange>();
  const add = ({ parts, places: own = new Map() }: Omit<Filled, 'places'> & Partial<Filled>) => {
    for (const [name, { offset, bytes }] of own) places.set(name, { offset: offset + list.end, bytes });
    for (const part of parts) list.append(part);
  };
  let at = begin;
  for (let i = 0; i < cuts.length; ) {
    const inner = cuts[i]!.within[depth];
    const { start, end: after } = inner ?? cuts[i]!;
    list.copy(file, at, start - at);
    at = after;
    if (inner === undefined) {
      const { parts, places: own } = cuts[i++]!;
      add({ parts: parts.parts, ...(own && { places: own }) });
      continue;
    }
    const first = i;
    while (cuts[i]?.within[depth]?.start === inner.start) i++;
    const filled = message(file, inner, cuts.slice(first, i), depth + 1);
    list.bytes(prefix(inner.number, filled.list.end));
    add({ parts: filled.list.parts, places: filled.places });
  }
  list.copy(file, at, end - at);
  return { list, places };
}
