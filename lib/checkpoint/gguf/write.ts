import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { writeAtomically } from '../../files/atomic.js';
import { absolutePath, refuseExisting } from '../../files/files.js';
import { MAX_GGUF_DIMENSIONS, MAX_GGUF_TENSORS } from '../../files/limits.js';
import { requireSpace } from '../../files/space.js';
import { blockOf, isQuantizedType } from '../../tensor/dtype.js';
import {
  encodeKey,
  encodeString,
  encodeU32,
  encodeU64,
  type GgufValue,
  QUANTIZATION_VERSION,
  QUANTIZATION_VERSION_KEY,
} from './encode.js';
import { aligned } from './header.js';
import { type GgmlType, ggmlBytes, ggmlCode } from './types.js';

/** A tensor to write: little-endian, row-major. */
export interface NewGgufTensor {
  readonly type: GgmlType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

const MAGIC = 'GGUF';
const VERSION = 3;
const ALIGNMENT = 32;
/** Builds of ggml keep names in 64 bytes, the last of them a zero. */
const MOST_NAME_BYTES = 63;

/**
 * Writes a new GGUF file, which appears completely or not at all. Tensors lie in the given order.
 *
 * @param metadata without `general.quantization_version`, which is added if a tensor is quantised
 * @throws ArgumentError for a name or shape that cannot be written; `ERR_SHAPE` if bytes and shape
 *   disagree.
 * @throws CheckpointError `ERR_OUTPUT` if `path` already exists; `ERR_CHECKPOINT_IO`.
 */
export async function writeGguf(
  path: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: ReadonlyMap<string, NewGgufTensor>,
): Promise<void> {
  if (tensors.size > MAX_GGUF_TENSORS) throw new ArgumentError('tensors', `at most ${MAX_GGUF_TENSORS}`, tensors.size);
  for (const [name, tensor] of tensors) checkTensor(name, tensor);
  const keys = [...metadata].map(([key, value]) => encodeKey(key, value));
  if ([...tensors.values()].some(({ type }) => isQuantizedType(type))) {
    keys.push(encodeKey(QUANTIZATION_VERSION_KEY, { u32: QUANTIZATION_VERSION }));
  }
  const descriptions: Uint8Array[] = [];
  const data: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { type, shape, bytes }] of tensors) {
    const dimensions = shape.toReversed().map(encodeU64);
    descriptions.push(encodeString(name), encodeU32(shape.length), ...dimensions, encodeU32(ggmlCode(type)));
    descriptions.push(encodeU64(offset));
    const end = aligned(offset + bytes.length, ALIGNMENT);
    data.push(bytes, new Uint8Array(end - offset - bytes.length));
    offset = end;
  }
  const counts = [encodeU32(VERSION), encodeU64(tensors.size), encodeU64(keys.length)];
  const header = Buffer.concat([Buffer.from(MAGIC), ...counts, ...keys, ...descriptions]);
  const padding = new Uint8Array(aligned(header.length, ALIGNMENT) - header.length);
  const out = absolutePath(path);
  await refuseExisting(out);
  await requireSpace(out, { bytes: header.length + padding.length + offset });
  await writeAtomically(out, [header, padding, ...data]);
}

function checkTensor(name: string, { type, shape, bytes }: NewGgufTensor): void {
  const length = Buffer.byteLength(name);
  if (length > MOST_NAME_BYTES || name.includes('\0')) {
    throw new ArgumentError('tensor name', `at most ${MOST_NAME_BYTES} bytes without a NUL`, name);
  }
  if (shape.length > MAX_GGUF_DIMENSIONS) {
    throw new ArgumentError(`${describe(name)} shape`, `at most ${MAX_GGUF_DIMENSIONS} dimensions`, shape);
  }
  const { numbers } = blockOf(type);
  const row = shape.at(-1) ?? 1;
  if (row % numbers !== 0 || ggmlBytes(type, shape) !== bytes.length) {
    const message = `tensor ${describe(name)}: ${bytes.length} bytes are not ${type} of shape ${describe(shape)}`;
    throw new LowRankError('ERR_SHAPE', message);
  }
}
