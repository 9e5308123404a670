import type { FileHandle } from 'node:fs/promises';
import { openFile } from './files.js';

/** Opens files for reading and writing, each only once. */
export class OpenFiles {
  readonly #handles = new Map<string, FileHandle>();

  /** @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`. */
  async get(path: string): Promise<FileHandle> {
    const known = this.#handles.get(path);
    if (known !== undefined) return known;
    const { handle } = await openFile(path, 'r+');
    const meanwhile = this.#handles.get(path);
    if (meanwhile !== undefined) {
      await handle.close();
      return meanwhile;
    }
    this.#handles.set(path, handle);
    return handle;
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close();
    this.#handles.clear();
  }
}
