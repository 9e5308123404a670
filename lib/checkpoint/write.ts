import { constants, type Dirent } from 'node:fs';
import { chmod, copyFile, type FileHandle, mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../errors.js';
import type { Checkpoint, CheckpointWriter, TensorInfo } from './checkpoint.js';
import {
  ioError,
  openFile,
  publishFile,
  refuseExisting,
  renameTo,
  syncFolder,
  temporarySibling,
  writeAt,
} from './files.js';
import { MAX_COPIED_ENTRIES, MAX_FOLDER_DEPTH } from './limits.js';
import { SafetensorsFile } from './safetensors.js';

/** What belongs to the tools that fetched a folder, not to the model. */
const LEFT_OUT = new Set(['.git', '.cache']);

/**
 * Copies a checkpoint to `out`, so that tensors can be replaced in the copy. The copy is made under a temporary name
 * beside `out` and appears there, whole, by {@link CheckpointWriter.commit}; the source is never written to. Where the file
 * system can share blocks (Btrfs, XFS, APFS) the copy costs no space until it is changed.
 *
 * A folder becomes a folder, with all its other files (configuration, tokenizer, folders inside) except `.git` and
 * `.cache`. A single file becomes a single file, whatever the ending of `out`. Links to files are copied as what they
 * lead to, if that is a weight file of the checkpoint, lies in the folder, or in the `blobs` of the same Hugging Face
 * cache; another link is refused, since a foreign folder could otherwise carry private files into the copy. Links to
 * folders are refused. Permissions of files are kept.
 *
 * @param options - `signal` ends the copying between two files and removes what was written
 * @throws {@link CheckpointError} `ERR_OUTPUT` when `out` is there already (kind `OutputExists`), is the source, lies in it or
 * has no folder to lie in; `ERR_CHECKPOINT_IO` when something cannot be copied, or the source was changed meanwhile.
 */
export async function copyForEdit(
  checkpoint: Checkpoint,
  out: string,
  options: { signal?: AbortSignal } = {},
): Promise<CheckpointWriter> {
  const { signal } = options;
  const target = resolve(out);
  const source = await realPath(checkpoint.path);
  const isFolder = (await stat(source)).isDirectory();
  await checkOutput(source, isFolder, target);
  const temporary = temporarySibling(target);
  const copied: Copied = { files: [], folders: [] };
  try {
    signal?.throwIfAborted();
    if (isFolder) await copyFolder(checkpoint, source, temporary, copied, signal);
    else await copyOne(source, temporary, copied);
    await checkUnchanged(checkpoint, isFolder, temporary);
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    throw signal?.aborted && cause === signal.reason ? cause : ioError(target, 'cannot be written', cause);
  }
  return new FileWriter(checkpoint.tensors, isFolder, temporary, target, copied);
}

/** What was copied, with the permissions that it gets at the end. */
interface Copied {
  readonly files: { path: string; mode: number }[];
  /** Outer folders before inner ones. They stay writable for their owner, or they could not be removed again. */
  readonly folders: { path: string; mode: number }[];
}

async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw ioError(path, 'cannot be opened', cause);
  }
}

async function checkOutput(source: string, isFolder: boolean, out: string): Promise<void> {
  const fault = (kind: string, message: string, hint: string) =>
    new CheckpointError('ERR_OUTPUT', kind, out, message, { hint });
  let parent: string;
  try {
    parent = await realpath(dirname(out));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError(dirname(out), 'cannot be opened', cause);
    throw fault('NoFolder', `the folder ${dirname(out)} is not there`, 'Make it first.');
  }
  const real = join(parent, basename(out));
  const existing = await realpath(out).catch(() => real);
  if (existing === source) throw fault('OutputIsInput', 'is the checkpoint itself', 'Give another path.');
  if (isInside(source, existing)) throw fault('OutputHoldsInput', 'holds the checkpoint', 'Give a new path.');
  if (isFolder && isInside(existing, source)) {
    throw fault('OutputInsideInput', `lies in the checkpoint ${source}`, 'Give a path outside of it.');
  }
  await refuseExisting(out);
  if (isFolder && out.endsWith('.safetensors')) {
    const hint = 'Give the name of a folder, or open the single .safetensors file in it.';
    throw fault('OutputIsFile', 'names a file, but the checkpoint is a folder, and so becomes its copy', hint);
  }
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

async function copyFolder(
  checkpoint: Checkpoint,
  source: string,
  target: string,
  copied: Copied,
  signal: AbortSignal | undefined,
): Promise<void> {
  const weights = new Set([...checkpoint.tensors.values()].map(({ file }) => join(source, file)));
  // <cache>/snapshots/<revision> holds links into <cache>/blobs.
  const snapshots = dirname(source);
  const blobs = basename(snapshots) === 'snapshots' ? join(dirname(snapshots), 'blobs') : undefined;
  const isOurs = (link: string, real: string) =>
    weights.has(link) || isInside(real, source) || (blobs !== undefined && isInside(real, blobs));
  let entries = 0;

  const copyInto = async (from: string, to: string, depth: number): Promise<void> => {
    if (depth > MAX_FOLDER_DEPTH) {
      const message = `more than ${MAX_FOLDER_DEPTH} folders inside each other`;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'FolderTooDeep', from, message);
    }
    await mkdir(to, { mode: 0o700 });
    copied.folders.push({ path: to, mode: ((await stat(from)).mode & 0o777) | 0o700 });
    for (const entry of await listFolder(from)) {
      if (LEFT_OUT.has(entry.name)) continue;
      signal?.throwIfAborted();
      if (++entries > MAX_COPIED_ENTRIES) {
        const message = `has more than ${MAX_COPIED_ENTRIES} files`;
        throw new CheckpointError('ERR_CHECKPOINT_IO', 'FolderTooLarge', source, message, {
          hint: 'Give a folder that holds nothing but the model.',
        });
      }
      const path = join(from, entry.name);
      const copy = join(to, entry.name);
      if (entry.isDirectory()) await copyInto(path, copy, depth + 1);
      else if (entry.isSymbolicLink()) await copyOne(await followLink(path, isOurs), copy, copied);
      else await copyOne(path, copy, copied);
    }
  };
  await copyInto(source, target, 0);
}

async function listFolder(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (cause) {
    throw ioError(folder, 'cannot be listed', cause);
  }
}

async function followLink(link: string, isOurs: (link: string, real: string) => boolean): Promise<string> {
  const real = await realPath(link);
  if (!isOurs(link, real)) {
    const message = `is a link to ${describe(real)}, outside of the checkpoint`;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'LinkOutside', link, message, {
      hint: 'Replace the link by the file that it leads to, or remove it.',
    });
  }
  if ((await stat(real)).isDirectory()) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_IO',
      'LinkToFolder',
      link,
      'is a link to a folder, which is not followed',
      {
        hint: 'Replace the link by the folder that it leads to, or remove it.',
      },
    );
  }
  return real;
}

async function copyOne(from: string, to: string, copied: Copied): Promise<void> {
  // Opened only to refuse pipes and devices, and to see the permissions.
  const { handle, mode } = await openFile(from);
  await handle.close();
  copied.files.push({ path: to, mode });
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // The copy of a read-only file must take the new bytes; its permissions come back at the end.
    await chmod(to, mode | 0o600);
  } catch (cause) {
    throw ioError(from, 'cannot be copied', cause);
  }
}

/** New bytes go to the places that the source had when it was opened, so the copy must have the same ones. */
async function checkUnchanged(checkpoint: Checkpoint, isFolder: boolean, copy: string): Promise<void> {
  const byFile = new Map<string, TensorInfo[]>();
  for (const info of checkpoint.tensors.values()) {
    const infos = byFile.get(info.file);
    if (infos === undefined) byFile.set(info.file, [info]);
    else infos.push(info);
  }
  for (const [name, infos] of byFile) {
    const spans = await readSpans(isFolder ? join(copy, name) : copy);
    const same =
      spans?.length === infos.length &&
      spans.every((span, i) => {
        const { name, offset, bytes } = infos[i]!;
        return span.name === name && span.offset === offset && span.bytes === bytes;
      });
    if (!same) {
      const file = isFolder ? join(checkpoint.path, name) : checkpoint.path;
      throw new CheckpointError('ERR_CHECKPOINT_IO', 'Changed', file, 'was changed since it was opened', {
        hint: 'Let nothing write to the checkpoint meanwhile.',
      });
    }
  }
}

/** Where the tensors of a copied file lie, or undefined when it is no valid file. */
async function readSpans(path: string): Promise<{ name: string; offset: number; bytes: number }[] | undefined> {
  let file: SafetensorsFile;
  try {
    file = await SafetensorsFile.open(path);
  } catch (cause) {
    if (cause instanceof CheckpointError && cause.code === 'ERR_CHECKPOINT_FORMAT') return undefined;
    throw cause;
  }
  await file.close();
  return file.header.tensors.map((span) => ({
    name: span.name,
    offset: file.offset(span),
    bytes: span.end - span.begin,
  }));
}

class FileWriter implements CheckpointWriter {
  private state: 'open' | 'committed' | 'discarded' = 'open';
  private readonly handles = new Map<string, FileHandle>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly tensors: ReadonlyMap<string, TensorInfo>,
    private readonly isFolder: boolean,
    private readonly temporary: string,
    private readonly out: string,
    private readonly copied: Copied,
  ) {}

  write(name: string, bytes: Uint8Array): Promise<void> {
    return this.inTurn(async () => {
      this.checkOpen();
      const info = this.tensors.get(name);
      if (info === undefined) {
        throw new LowRankError('ERR_NOT_FOUND', `${this.out}: no tensor is called ${describe(name)}`);
      }
      if (bytes.length !== info.bytes) {
        const message = `tensor ${describe(name)}: expected ${info.bytes} bytes, got ${bytes.length}`;
        throw new LowRankError('ERR_SHAPE', message, { hint: 'An edit keeps dtype and shape.' });
      }
      const file = this.isFolder ? join(this.temporary, info.file) : this.temporary;
      let handle = this.handles.get(file);
      if (handle === undefined) {
        handle = (await openFile(file, 'r+')).handle;
        this.handles.set(file, handle);
      }
      await writeAt(handle, file, info.offset, bytes);
    });
  }

  commit(): Promise<void> {
    return this.inTurn(async () => {
      this.checkOpen();
      await refuseExisting(this.out);
      await this.closeFiles();
      for (const { path, mode } of this.copied.files) {
        const { handle } = await openFile(path, 'r+');
        try {
          await handle.chmod(mode);
          await handle.sync();
        } catch (cause) {
          throw ioError(path, 'cannot be brought to the disk', cause);
        } finally {
          await handle.close();
        }
      }
      for (const { path, mode } of [...this.copied.folders].reverse()) {
        try {
          await chmod(path, mode);
        } catch (cause) {
          throw ioError(path, 'cannot be given its permissions', cause);
        }
        await syncFolder(path);
      }
      if (this.isFolder) {
        // Renaming a folder replaces an empty one, so the question comes again as late as it can.
        await refuseExisting(this.out);
        await renameTo(this.temporary, this.out);
      } else {
        await publishFile(this.temporary, this.out);
      }
      this.state = 'committed';
    });
  }

  discard(): Promise<void> {
    return this.inTurn(async () => {
      if (this.state !== 'open') return;
      this.state = 'discarded';
      await this.closeFiles();
      try {
        await rm(this.temporary, { recursive: true, force: true });
      } catch (cause) {
        throw ioError(this.temporary, 'cannot be removed', cause);
      }
    });
  }

  /** One after the other: `commit` waits for writes that were not awaited. */
  private inTurn(action: () => Promise<void>): Promise<void> {
    const turn = this.last.then(action);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  private checkOpen(): void {
    if (this.state !== 'open') {
      throw new LowRankError('ERR_ARGUMENT', `${this.out}: the writer is ${this.state} and cannot be used again`);
    }
  }

  private async closeFiles(): Promise<void> {
    for (const handle of this.handles.values()) await handle.close();
    this.handles.clear();
  }
}
