import { constants } from 'node:fs';
import { chmod, copyFile, link, mkdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { ByteRange, Checkpoint } from '../checkpoint/checkpoint.js';
import { listEntries, locate, type SourceEntry } from '../checkpoint/copy/entries.js';
import { mainOfCopy } from '../checkpoint/copy/layouts.js';
import { typeChanges } from '../checkpoint/layout.js';
import { describe, LowRankError } from '../errors.js';
import { ioError, type OpenFile, openFile, readAt, writeAt } from '../files/files.js';

/**
 * Files up to this size are copied, not linked: a program that writes into its settings must not
 * reach the source.
 */
export const COPIED_BYTES = 4e6;

/** A tentative change, and the bytes that undo it. */
interface UndoRecord {
  readonly tensor: string;
  readonly before: Uint8Array;
}

/**
 * A copy of a checkpoint in which some tensors are overwritten, tried and restored, while the
 * source does not change.
 *
 * Files that no change has touched are hard links to the source's, so the copy is made at once and
 * takes no space. A weight file becomes a real copy when the first of its tensors is written
 * (sharing blocks if the file system can). From then on a candidate costs the writing of its own
 * tensors, never of the model.
 *
 * Changes are made in a transaction: {@link write} any number of tensors, then {@link accept} them,
 * or {@link rollback} to restore every byte.
 */
export class WorkingCopy {
  /** The path that an engine opens: of several models in a folder, the edited one. */
  readonly main: string;
  /** A folder or a file, like the source. */
  readonly #path: string;
  readonly #folder: string;
  readonly #checkpoint: Checkpoint;
  readonly #places: ReadonlyMap<string, { readonly file: string; readonly place: ByteRange }>;
  readonly #entries: ReadonlyMap<string, SourceEntry>;
  /** Weight files that are real copies, open for writing. */
  readonly #own = new Map<string, OpenFile>();
  readonly #written = new Set<string>();
  #changes: UndoRecord[] = [];

  private constructor(
    folder: string,
    path: string,
    checkpoint: Checkpoint,
    entries: readonly SourceEntry[],
    places: ReadonlyMap<string, { file: string; place: ByteRange }>,
  ) {
    this.#folder = folder;
    this.#path = path;
    this.main = mainOfCopy(checkpoint, path);
    this.#checkpoint = checkpoint;
    this.#entries = new Map(entries.map((entry) => [entry.path, entry]));
    this.#places = places;
  }

  /**
   * @param folder is created, and must not exist
   * @param editable the tensors that may be written, with their types
   * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`; as `layout` does.
   */
  static async create(checkpoint: Checkpoint, folder: string, editable: ReadonlySet<string>): Promise<WorkingCopy> {
    const { source, isFolder } = await locate(checkpoint);
    const inOwnType = typeChanges([...editable].map((name) => [name, checkpoint.tensors.get(name)!.dtype]));
    const places = new Map<string, { file: string; place: ByteRange }>();
    for (const layout of checkpoint.layout(inOwnType)) {
      if (layout.parts !== undefined) {
        throw new LowRankError('ERR_UNSUPPORTED', `${layout.file}: its tensors cannot be written in place`);
      }
      for (const [name, place] of layout.places) places.set(name, { file: layout.file, place });
    }
    const path = join(folder, isFolder ? 'model' : basename(source));
    const entries = await listEntries(checkpoint);
    const copy = new WorkingCopy(folder, path, checkpoint, entries, places);
    try {
      await mkdir(folder, { mode: 0o700 });
      for (const entry of entries) await copy.#place(entry);
      if (!isFolder) await copySettings(source, folder);
      return copy;
    } catch (cause) {
      await copy.remove();
      throw ioError(folder, 'cannot be created', cause);
    }
  }

  /** Returns a tensor's current bytes. */
  async read(tensor: string): Promise<Uint8Array> {
    const { file, place } = this.#placeOf(tensor);
    const own = this.#own.get(file);
    return own === undefined ? this.#checkpoint.read(tensor) : readAt(own.handle, file, place.offset, place.bytes);
  }

  /** Overwrites a tensor. */
  async write(tensor: string, bytes: Uint8Array): Promise<void> {
    const { file, place } = this.#placeOf(tensor);
    if (bytes.length !== place.bytes) {
      throw new LowRankError('ERR_SHAPE', `${tensor}: expected ${place.bytes} bytes, got ${bytes.length}`);
    }
    const before = await this.read(tensor);
    const { handle } = await this.#ownFile(file);
    // Record the old bytes first: a write that fails halfway is undone too.
    this.#changes.push({ tensor, before });
    this.#written.add(tensor);
    await writeAt(handle, file, place.offset, bytes);
  }

  /** Keeps the changes since the last call. */
  accept(): void {
    this.#changes = [];
  }

  /** Restores every byte that was written since the last {@link accept}, the last change first. */
  async rollback(): Promise<void> {
    while (this.#changes.length > 0) {
      const { tensor, before } = this.#changes.at(-1)!;
      const { file, place } = this.#placeOf(tensor);
      await writeAt(this.#own.get(file)!.handle, file, place.offset, before);
      this.#changes.pop();
    }
  }

  /** Restores every tensor of the source, even accepted ones. */
  async reset(): Promise<void> {
    for (const tensor of this.#written) {
      const { file, place } = this.#placeOf(tensor);
      await writeAt(this.#own.get(file)!.handle, file, place.offset, await this.#checkpoint.read(tensor));
    }
    this.#written.clear();
    this.#changes = [];
  }

  /** The tensors that were written since the last {@link reset}. */
  get written(): ReadonlySet<string> {
    return this.#written;
  }

  /** Removes the copy; does not touch the source. */
  async remove(): Promise<void> {
    for (const { handle } of this.#own.values()) await handle.close();
    this.#own.clear();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #placeOf(tensor: string) {
    const found = this.#places.get(tensor);
    if (found === undefined)
      throw new LowRankError('ERR_NOT_FOUND', `${describe(tensor)} is not among the tensors to edit`);
    return found;
  }

  async #place({ from, path, folder }: SourceEntry): Promise<void> {
    const to = this.#pathOf(path);
    if (folder) {
      await mkdir(to, { mode: 0o700 });
      return;
    }
    const { handle, size } = await openFile(from);
    await handle.close();
    if (size > COPIED_BYTES) {
      try {
        await link(from, to);
        return;
      } catch {
        // Another file system, or one without hard links.
      }
    }
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  }

  /** Makes a weight file a real copy, so that writing to it does not reach the source. */
  async #ownFile(file: string): Promise<OpenFile> {
    const known = this.#own.get(file);
    if (known !== undefined) return known;
    const single = this.#entries.get('');
    const entry = single?.folder === false ? single : this.#entries.get(file)!;
    const path = this.#pathOf(entry.path);
    try {
      await rm(path);
      await copyFile(entry.from, path, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      await chmod(path, 0o600);
    } catch (cause) {
      throw ioError(join(dirname(path), file), 'cannot be copied', cause);
    }
    const own = await openFile(path, 'r+');
    this.#own.set(file, own);
    return own;
  }

  #pathOf(entry: string): string {
    return entry === '' ? this.#path : join(this.#path, entry);
  }
}

/**
 * Copies what engines look for beside a model that is a single file, or in the folder above: the
 * tokenizer, the configuration.
 */
async function copySettings(source: string, folder: string): Promise<void> {
  for (const from of [dirname(dirname(source)), dirname(source)]) {
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json', 'generation_config.json']) {
      try {
        await copyFile(join(from, name), join(folder, name), constants.COPYFILE_FICLONE);
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
      }
    }
  }
}
