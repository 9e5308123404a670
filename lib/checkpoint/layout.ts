import { describe, LowRankError } from '../errors.js';
import type { StoredType } from '../tensor/dtype.js';
import type { Checkpoint, FileLayout, Place } from './checkpoint.js';

/**
 * The layout of a copy whose tensors keep their types, and so their places: every weight file is a copy of the source's.
 *
 * @throws LowRankError `ERR_NOT_FOUND` for a name that the checkpoint lacks; `ERR_UNSUPPORTED` for another type.
 */
export function inPlaceLayout(
  { path, format, tensors }: Pick<Checkpoint, 'path' | 'format' | 'tensors'>,
  edited: ReadonlyMap<string, StoredType>,
): readonly FileLayout[] {
  const places = new Map<string, Map<string, Place>>();
  for (const { file } of tensors.values()) {
    if (!places.has(file)) places.set(file, new Map());
  }
  for (const [name, type] of edited) {
    const info = tensors.get(name);
    if (info === undefined) throw new LowRankError('ERR_NOT_FOUND', `${path}: no tensor is called ${describe(name)}`);
    if (info.dtype !== type) {
      throw new LowRankError(
        'ERR_UNSUPPORTED',
        `${name}: ${format} keeps ${info.dtype}, it cannot become ${type} here`,
      );
    }
    places.get(info.file)!.set(name, { offset: info.offset, bytes: info.bytes });
  }
  return [...places].map(([file, inFile]) => ({ file, parts: undefined, places: inFile }));
}
