import { LowRankError } from '../../errors.js';
import { DTYPE_BITS, type DType } from '../../tensor/dtype.js';
import { elements } from '../../tensor/tensor.js';
import type { ByteRange, FileLayout, NewTensorInfo } from '../checkpoint.js';
import { PartList } from '../parts.js';
import { packedBytes } from './element-types.js';
import type { DataFile } from './external-data.js';
import type { Field } from './protobuf.js';

/** A tensor of the model, wherever in it, whose numbers lie in a file of external data. */
export interface ExternalTensor {
  readonly name: string;
  readonly file: DataFile;
  readonly offset: number;
  readonly bytes: number;
  /** The entry that states its offset; undefined for one at the beginning of the file. */
  readonly entry: Field | undefined;
  /** The messages around that entry, the outermost first; the last is its TensorProto. */
  readonly within: readonly Field[];
}

/** A file of external data with factors in place of weights. */
export interface DataLayout {
  readonly layout: FileLayout;
  /** Where the other tensors lie in it. */
  readonly offsets: ReadonlyMap<ExternalTensor, number>;
}

/** Up to this a tensor keeps the alignment that it had: systems map files by pages of no more. */
const LARGEST_PAGE = 65536;
/** Where new tensors begin: at the least a line of the cache, and large ones a page. */
const [LINE, PAGE, LARGE] = [64, 4096, 2 ** 20];

/**
 * Lays out a file of external data without the weights that are replaced, and with the new tensors
 * instead. All others keep their bytes and their order; they move up to where the space has become
 * free.
 *
 * @param file its name in the checkpoint
 * @param tensors all that lie in it
 * @param edited the places of tensors that get new bytes, by their names
 * @throws LowRankError `ERR_UNSUPPORTED` where a replaced weight shares bytes with another tensor.
 */
export function relaid(
  file: string,
  tensors: readonly ExternalTensor[],
  replaced: ReadonlyMap<ExternalTensor, readonly NewTensorInfo[]>,
  edited: ReadonlyMap<string, ByteRange>,
): DataLayout {
  const list = new PartList();
  const places = new Map<string, ByteRange>();
  const offsets = new Map<ExternalTensor, number>();
  const names = new Map([...edited].map(([name, { offset, bytes }]) => [`${offset} ${bytes}`, name]));
  for (const { offset, end, sharing } of stretches(tensors)) {
    const by = replaced.get(sharing.find((tensor) => replaced.has(tensor))!);
    const bytes = end - offset;
    if (by !== undefined) {
      requireOwnBytes(file, sharing, replaced);
      for (const tensor of by) {
        const own = bytesOf(tensor);
        align(list, own < LARGE ? LINE : PAGE);
        places.set(tensor.name, { offset: list.end, bytes: own });
        list.tensor(tensor.name, own);
      }
      continue;
    }
    if (bytes > 0) align(list, alignmentOf(offset, bytes));
    for (const tensor of sharing) offsets.set(tensor, list.end + tensor.offset - offset);
    const name = names.get(`${offset} ${bytes}`);
    if (name === undefined) {
      list.copy(file, offset, bytes);
    } else {
      places.set(name, { offset: list.end, bytes });
      list.tensor(name, bytes);
    }
  }
  return { layout: { file, parts: list.parts, places }, offsets };
}

export function bytesOf({ shape, dtype }: NewTensorInfo): number {
  return packedBytes(elements(shape), DTYPE_BITS[dtype as DType]);
}

/** Bytes that tensors share in any way, in the order of the file. */
function stretches(tensors: readonly ExternalTensor[]) {
  const found: { offset: number; end: number; sharing: ExternalTensor[] }[] = [];
  for (const tensor of [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    const { offset, bytes } = tensor;
    const last = found.at(-1);
    if (last === undefined || offset >= last.end) {
      found.push({ offset, end: offset + bytes, sharing: [tensor] });
    } else {
      last.end = Math.max(last.end, offset + bytes);
      last.sharing.push(tensor);
    }
  }
  return found;
}

function requireOwnBytes(
  file: string,
  sharing: readonly ExternalTensor[],
  replaced: ReadonlyMap<ExternalTensor, unknown>,
): void {
  if (sharing.length === 1) return;
  const weight = sharing.find((tensor) => replaced.has(tensor))!;
  const other = sharing.find((tensor) => tensor !== weight)!;
  throw new LowRankError(
    'ERR_UNSUPPORTED',
    `${weight.name}: cannot become factors: it shares bytes of ${file} with ${other.name}`,
    { hint: 'Export the model again with a separate weight for each use, or leave this one as it is.' },
  );
}

/** The largest power of two that divides an offset, if tensors of this size are laid out by it. */
function alignmentOf(offset: number, bytes: number): number {
  let alignment = 1;
  while (alignment < LARGEST_PAGE && 2 * alignment <= bytes && offset % (2 * alignment) === 0) alignment *= 2;
  return alignment;
}

function align(list: PartList, alignment: number): void {
  list.zeros((alignment - (list.end % alignment)) % alignment);
}
