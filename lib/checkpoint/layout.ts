import { describe, LowRankError } from '../errors.js';
import type { StoredType } from '../tensor/dtype.js';
import type { ByteRange, Checkpoint, FileLayout, TensorChange } from './checkpoint.js';

/**
 * Returns the types of changed tensors, for a format that cannot replace one tensor by others.
 *
 * @param why completes "cannot be replaced by 2 tensors: "
 * @throws LowRankError `ERR_NOT_FOUND` for a name that the checkpoint lacks; `ERR_UNSUPPORTED` for
 *   a replaced tensor.
 */
export function typesOnly(
  checkpoint: Pick<Checkpoint, 'path' | 'tensors'>,
  changes: ReadonlyMap<string, TensorChange>,
  { why, hint }: { readonly why: string; readonly hint: string },
): Map<string, StoredType> {
  const types = new Map<string, StoredType>();
  for (const [name, change] of changes) {
    if (!checkpoint.tensors.has(name)) throw unknownTensor(checkpoint, name);
    if ('by' in change) {
      const message = `${name}: cannot be replaced by ${change.by.length} tensors: ${why}`;
      throw new LowRankError('ERR_UNSUPPORTED', message, { hint });
    }
    types.set(name, change.as);
  }
  return types;
}

/**
 * Lays out a copy whose tensors keep their types, and so their places: every weight file is a copy
 * of the source's.
 *
 * @throws LowRankError `ERR_NOT_FOUND` for a name that the checkpoint lacks; `ERR_UNSUPPORTED` for
 *   another type.
 */
export function inPlaceLayout(
  checkpoint: Pick<Checkpoint, 'path' | 'format' | 'tensors'>,
  types: ReadonlyMap<string, StoredType>,
): readonly FileLayout[] {
  const { format, tensors } = checkpoint;
  const places = new Map<string, Map<string, ByteRange>>();
  for (const { file } of tensors.values()) {
    if (!places.has(file)) places.set(file, new Map());
  }
  for (const [name, type] of types) {
    const info = tensors.get(name);
    if (info === undefined) throw unknownTensor(checkpoint, name);
    if (info.dtype !== type) {
      throw new LowRankError('ERR_UNSUPPORTED', `${name}: in ${format} its type ${info.dtype} cannot become ${type}`);
    }
    places.get(info.file)!.set(name, { offset: info.offset, bytes: info.bytes });
  }
  return [...places].map(([file, inFile]) => ({ file, parts: undefined, places: inFile }));
}

/**
 * Checks that the format can store a copy with these changes. Only the format knows, by laying it
 * out.
 *
 * @throws as {@link Checkpoint.layout}.
 */
export function requireStorable(
  checkpoint: Pick<Checkpoint, 'layout'>,
  changes: ReadonlyMap<string, TensorChange>,
): void {
  checkpoint.layout(changes);
}

/** Returns the changes of tensors that keep their names and shapes. */
export function typeChanges(types: Iterable<readonly [string, StoredType]>): Map<string, TensorChange> {
  return new Map([...types].map(([name, as]) => [name, { as }]));
}

/** Makes the error for a name that the checkpoint lacks. */
export function unknownTensor({ path, tensors }: Pick<Checkpoint, 'path' | 'tensors'>, name: string): LowRankError {
  return new LowRankError('ERR_NOT_FOUND', `${path}: there is no tensor ${describe(name)}`, {
    hint: `It has ${tensors.size} tensors; \`lowrank inspect --tensors\` lists them.`,
  });
}
