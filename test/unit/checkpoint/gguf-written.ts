import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import type { StoredType } from '../../../lib/tensor/dtype.js';

/** The files of an edited copy, put together in memory as the layout says: slow, and simple enough to be believed. */
export async function assembled(
  checkpoint: Checkpoint,
  folder: string,
  edited: ReadonlyMap<string, StoredType>,
  bytes: ReadonlyMap<string, Uint8Array>,
): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const { file, parts, places } of checkpoint.layout(edited)) {
    const source = await readFile(join(folder, file));
    const pieces = parts?.map((part) => {
      if (part.kind === 'bytes') return part.data;
      if (part.kind === 'tensor') return new Uint8Array(part.bytes);
      return source.subarray(part.offset, part.offset + part.bytes);
    });
    const copy = pieces === undefined ? Buffer.from(source) : Buffer.concat(pieces);
    for (const [name, place] of places) {
      const own = bytes.get(name)!;
      if (own.length !== place.bytes) throw new Error(`${name}: room for ${place.bytes} bytes, not ${own.length}`);
      copy.set(own, place.offset);
    }
    files.set(file, copy);
  }
  return files;
}
