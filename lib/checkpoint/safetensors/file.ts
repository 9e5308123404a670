import type { FileHandle } from 'node:fs/promises';
import { ArgumentError, describe, LowRankError } from '../../errors.js';
import { writeAtomically } from '../../files/atomic.js';
import { absolutePath, openFile, readAt, refuseExisting } from '../../files/files.js';
import { requireSpace } from '../../files/space.js';
import type { DType } from '../../tensor/dtype.js';
import {
  checkDescription,
  checkText,
  formatHeader,
  PREFIX_BYTES,
  parseHeader,
  parseHeaderLength,
  referenceOrder,
  type SafetensorsHeader,
  type TensorSpan,
} from './header.js';

/** An open safetensors file with a valid header. It holds the header in memory, but no data. */
export class SafetensorsFile {
  private constructor(
    /** The path passed to {@link SafetensorsFile.open}. */
    readonly file: string,
    readonly header: SafetensorsHeader,
    private readonly handle: FileHandle,
  ) {}

  /**
   * Opens a file and checks its header.
   *
   * @throws CheckpointError `ERR_CHECKPOINT_IO`, or `ERR_CHECKPOINT_FORMAT` with the kinds of
   *   `parseHeader`.
   */
  static async open(file: string): Promise<SafetensorsFile> {
    const { handle, size } = await openFile(file);
    try {
      const prefix = await readAt(handle, file, 0, Math.min(PREFIX_BYTES, size));
      const length = parseHeaderLength(prefix, size, file);
      const header = parseHeader(await readAt(handle, file, PREFIX_BYTES, length), size, file);
      return new SafetensorsFile(file, header, handle);
    } catch (cause) {
      await handle.close();
      throw cause;
    }
  }

  /** Returns the position of a tensor in the file. */
  offset(span: TensorSpan): number {
    return this.header.dataStart + span.begin;
  }

  /** Reads a tensor's bytes. */
  read(span: TensorSpan): Promise<Uint8Array> {
    return readAt(this.handle, this.file, this.offset(span), span.end - span.begin);
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** A tensor to write: little-endian, row-major. */
export interface NewTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/**
 * Writes a new safetensors file. It appears completely or not at all: it is written under a
 * temporary name beside `path`, synced to the disk and then renamed.
 *
 * The bytes are those of the reference implementation: tensors ordered by dtype, large elements
 * first, then by name, so that each is aligned to its elements. Several keys of `metadata` are
 * written in the given order.
 *
 * @param metadata - becomes `__metadata__`; transformers refuses a file that has one without
 *   `format` (`pt`)
 * @param options - `replace: true` lets it replace a file at `path`
 * @throws ArgumentError for a name, dtype or shape that cannot be written; `ERR_SHAPE` if bytes and
 *   shape disagree.
 * @throws CheckpointError `ERR_OUTPUT` if `path` already exists; `ERR_CHECKPOINT_IO`; kind
 *   `HeaderTooLarge`.
 */
export async function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, NewTensor>,
  metadata?: ReadonlyMap<string, string>,
  options: { replace?: boolean } = {},
): Promise<void> {
  for (const [name, tensor] of tensors) checkTensor(name, tensor);
  for (const [key, value] of metadata ?? []) {
    checkText('metadata', key);
    checkText(`metadata ${describe(key)}`, value);
  }
  const ordered = [...tensors].map(([name, { dtype, shape, bytes }]) => ({ name, dtype, shape, bytes }));
  ordered.sort(referenceOrder);
  const out = absolutePath(path);
  const layouts = ordered.map((tensor) => ({ ...tensor, bytes: tensor.bytes.length }));
  const header = formatHeader(layouts, metadata, out);
  if (!options.replace) await refuseExisting(out);
  await requireSpace(out, { bytes: ordered.reduce((sum, { bytes }) => sum + bytes.length, header.length) });

  await writeAtomically(out, [header, ...ordered.map(({ bytes }) => bytes)], options);
}

function checkTensor(name: string, { dtype, shape, bytes }: NewTensor): void {
  const bits = checkDescription(name, dtype, shape);
  const at = `tensor ${describe(name)}`;
  if (!(bytes instanceof Uint8Array)) throw new ArgumentError(`${at} bytes`, 'a Uint8Array', bytes);
  if (bits !== BigInt(bytes.length) * 8n) {
    const message = `${at}: ${dtype} of shape ${describe(shape)} takes ${bits} bits, got ${bytes.length} bytes`;
    throw new LowRankError('ERR_SHAPE', message);
  }
}
