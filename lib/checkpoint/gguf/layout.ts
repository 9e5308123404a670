import { describe, LowRankError } from '../../errors.js';
import { blockOf, isWritableType, type StoredType } from '../../tensor/dtype.js';
import type { ByteRange, FileLayout } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { encodeKey, QUANTIZATION_VERSION, QUANTIZATION_VERSION_KEY } from './encode.js';
import type { GgufFile } from './file.js';
import { aligned, type GgufTensor, KEY_COUNT_AT } from './header.js';
import type { GgufFiles } from './split.js';
import { type GgmlType, ggmlBytes, ggmlCode } from './types.js';

/**
 * Lays out the files of a copy in which some tensors have new numbers. A file in which no tensor
 * changes its type keeps its layout, with the edited tensors in place. In the other files the
 * tensors' descriptions get the new types and offsets, and the data follow in the same order, with
 * zeros up to the alignment.
 *
 * The metadata do not change, even `general.file_type`: it describes the type of most tensors, and
 * programs that load a model read each tensor's own type. The one exception is required by the
 * format: the first file gets `general.quantization_version`, as its last key, if a tensor becomes
 * Q8_0 in a model without quantised tensors.
 *
 * @param edited the types of the edited tensors; every name is one of the files' own
 * @throws LowRankError `ERR_UNSUPPORTED` for a new type that cannot be written, or whose blocks the
 *   rows do not fill.
 */
export function ggufLayout(files: GgufFiles, edited: ReadonlyMap<string, StoredType>): readonly FileLayout[] {
  const tensors = [...files.values()].flatMap(({ header }) => header.tensors);
  const newTypes = new Map<string, GgmlType>();
  for (const tensor of tensors) {
    const type = edited.get(tensor.name);
    if (type !== undefined && type !== tensor.type) newTypes.set(tensor.name, writableType(tensor, type));
  }
  const [first] = files.values();
  const version =
    [...newTypes.values()].includes('Q8_0') && !first!.header.metadata.entries.has(QUANTIZATION_VERSION_KEY)
      ? encodeKey(QUANTIZATION_VERSION_KEY, { u32: QUANTIZATION_VERSION })
      : undefined;
  return [...files].map(([name, file]) => {
    const added = file === first ? version : undefined;
    const changes = added !== undefined || file.header.tensors.some((tensor) => newTypes.has(tensor.name));
    return changes ? rewritten(name, file, edited, newTypes, added) : unchanged(name, file, edited);
  });
}

function unchanged(name: string, { header }: GgufFile, edited: ReadonlyMap<string, StoredType>): FileLayout {
  const places = header.tensors
    .filter((tensor) => edited.has(tensor.name))
    .map(({ name: tensor, offset, bytes }): [string, ByteRange] => [tensor, { offset, bytes }]);
  return { file: name, parts: undefined, places: new Map(places) };
}

function rewritten(
  name: string,
  { header, size }: GgufFile,
  edited: ReadonlyMap<string, StoredType>,
  newTypes: ReadonlyMap<string, GgmlType>,
  addedKey: Uint8Array | undefined,
): FileLayout {
  const { alignment, tensors, tensorsAt } = header;
  const file = new PartList();
  const places = new Map<string, ByteRange>();
  const head = Buffer.from(header.bytes);
  file.bytes(head.subarray(0, tensorsAt));
  if (addedKey !== undefined) {
    head.writeBigUInt64LE(head.readBigUInt64LE(KEY_COUNT_AT) + 1n, KEY_COUNT_AT);
    file.bytes(addedKey);
  }
  file.bytes(head.subarray(tensorsAt));

  const dataStart = aligned(file.end, alignment);
  let sourceEnd = header.dataStart;
  for (const tensor of tensors) {
    file.zeros(aligned(file.end, alignment) - file.end);
    const type = newTypes.get(tensor.name) ?? tensor.type;
    const bytes = ggmlBytes(type, tensor.shape);
    head.writeUInt32LE(ggmlCode(type), tensor.typeAt);
    head.writeBigUInt64LE(BigInt(file.end - dataStart), tensor.typeAt + 4);
    if (edited.has(tensor.name)) {
      places.set(tensor.name, { offset: file.end, bytes });
      file.tensor(tensor.name, bytes);
    } else {
      file.copy(name, tensor.offset, bytes);
    }
    sourceEnd = tensor.offset + tensor.bytes;
  }
  // The bytes after the last tensor: its padding, which a file may lack, and anything else that
  // somebody put there.
  const paddedEnd = aligned(sourceEnd, alignment);
  if (size >= paddedEnd) {
    file.zeros(aligned(file.end, alignment) - file.end);
    file.copy(name, paddedEnd, size - paddedEnd);
  }
  return { file: name, parts: file.parts, places };
}

function writableType({ name, shape }: GgufTensor, type: StoredType): GgmlType {
  const what = describe(name);
  if (!isWritableType(type)) {
    throw new LowRankError('ERR_UNSUPPORTED', `${what}: tensors cannot be written as ${type}`, {
      hint: 'Choose Q8_0, F16, BF16 or F32.',
    });
  }
  const row = shape.at(-1) ?? 1;
  const { numbers } = blockOf(type);
  if (row % numbers !== 0) {
    const message = `${what}: rows of ${row} numbers are not whole blocks of ${type}, which have ${numbers}`;
    throw new LowRankError('ERR_UNSUPPORTED', message, { hint: 'Choose F16, BF16 or F32 for it.' });
  }
  return type;
}
