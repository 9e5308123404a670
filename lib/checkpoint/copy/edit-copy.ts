import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, type FileHandle, lstat, mkdir, open, readdir, realpath, rm } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../../errors.js';
import { publishFile, publishFolder } from '../../files/atomic.js';
import {
  absolutePath,
  copyRange,
  exists,
  ioError,
  openFile,
  passRange,
  refuseExisting,
  sameRange,
  syncFolder,
  writeAt,
} from '../../files/files.js';
import { digestOf, digestOfJson, invalidJournal, Journal } from '../../files/journal.js';
import type { Check } from '../../files/schema.js';
import { type Demand, requireSpace } from '../../files/space.js';
import type { StoredType } from '../../tensor/dtype.js';
import type { Checkpoint, FileLayout, FilePart, Place } from '../checkpoint.js';
import {
  checkIdentity,
  checkPlaces,
  type Entry,
  type Identity,
  identify,
  isInside,
  listEntries,
  locate,
  weightFile,
} from './identity.js';
import { bytesInCopy, lengthOf } from './size.js';
import { checkedLines, type HeadLine, type Line, type TensorLine, Work, workFolder } from './staging.js';

/** What makes an interrupted copy one that can be gone on with. */
export interface Job {
  /** All that decides the bytes, apart from the source: of two jobs with the same description the results are equal. */
  readonly description: unknown;
  /** What the job chose for itself. When it goes on, it is given what it chose first. */
  readonly settings?: unknown;
  /** What settings have to be that are read back. */
  readonly checkSettings?: Check;
  /** What the note of a tensor has to be that is read back. */
  readonly checkNote?: (tensor: string) => Check;
}

export interface CopyOptions {
  /** Ends the copying between two files; what waits for the copy is rejected with the signal's reason. */
  readonly signal?: AbortSignal;
  /** The tensors that will be written and their types; by default any may be, each in the type that it has. */
  readonly edited?: ReadonlyMap<string, StoredType>;
  /** Without it, nothing can be gone on with, and a failure leaves nothing. */
  readonly job?: Job;
  /** Throws away what another job, or this one, has left unfinished for the same output. */
  readonly restart?: boolean;
  /** Called when nothing stands against the copy any more, before its first file is made. */
  readonly onCopy?: () => void;
}

/**
 * Copies a checkpoint to `out`, so that tensors can be replaced in the copy. The copy is made in the folder
 * `.<name>.lowrank` beside `out` and appears there, whole, by {@link EditCopy.commit}; the source is never written to.
 * Where the file system can share blocks (Btrfs, XFS, APFS) the copy costs no space until it is changed.
 *
 * A folder becomes a folder, with all its other files (configuration, tokenizer, folders inside) except `.git`, `.cache`
 * and unfinished work. A single file becomes a single file, whatever the ending of `out`. Links to files are copied as what they
 * lead to, if that is a weight file of the checkpoint, lies in the folder, or in the `blobs` of the same Hugging Face
 * cache; another link is refused. Links to folders are refused. Permissions of files are kept.
 *
 * With a `job`, a journal says what is done. The same job finds it again, holds all of it against the source and the
 * digests in the journal, and has to do only the rest.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT` when `out` is there already (kind `OutputExists`), is the source, lies in it,
 * has no folder to lie in, or names a folder for a file (`OutputIsFolder`) or a file for a folder (`OutputIsFile`); when another process writes it (`InUse`) or another job began it (`UnfinishedWork`);
 * `ERR_CHECKPOINT_IO` when the disk has too little room (`NoSpace`), something cannot be copied, or the source was changed meanwhile (`Changed`).
 */
export async function copyForEdit(checkpoint: Checkpoint, out: string, options: CopyOptions = {}): Promise<EditCopy> {
  const { signal, job, restart = false } = options;
  const { target, isFolder } = await requireOutput(checkpoint, out);
  signal?.throwIfAborted();
  const layouts = layoutsOf(checkpoint, options.edited);
  const identity = await identify(checkpoint);
  const copy = new EditCopy(checkpoint, target, isFolder, await Work.open(workFolder(target)), identity, layouts);
  try {
    await copy.begin(job, restart, await exists(target));
    if (!copy.isFinished) await copy.fill(signal, options.onCopy);
  } catch (cause) {
    await copy.abandon(cause, signal).catch(() => undefined);
    throw signal?.aborted && cause === signal.reason ? cause : ioError(target, 'cannot be written', cause);
  }
  return copy;
}

/**
 * Checks, before a long job, that a copy of the checkpoint may be made at `out`.
 *
 * @throws CheckpointError `ERR_OUTPUT`, as {@link copyForEdit}.
 */
export async function requireOutput(
  checkpoint: Checkpoint,
  out: string,
): Promise<{ readonly target: string; readonly isFolder: boolean }> {
  const target = absolutePath(out);
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder && /[/\\]$/.test(out)) {
    throw new CheckpointError('ERR_OUTPUT', 'OutputIsFolder', out, 'names a folder, but the checkpoint is a file', {
      hint: `Give the copy's own name too, such as ${join(out, basename(source))}.`,
    });
  }
  await checkOutput(checkpoint, source, isFolder, target);
  // Where there is unfinished work, the output may be its own, and only the cleaning up be left.
  if (!(await exists(workFolder(target)))) await refuseExisting(target);
  return { target, isFolder };
}

/** What an earlier run had done already. */
export interface Resumed {
  readonly tensors: number;
  /** Of these tensors. */
  readonly bytes: number;
}

/** A copy of a checkpoint in the making. */
export class EditCopy {
  private state: 'open' | 'committed' | 'discarded' | 'kept' = 'open';
  private journal: Journal | undefined;
  private readonly handles = new Map<string, FileHandle>();
  private readonly places = new Map<string, { file: string; place: Place }>();
  /** Weight files that an earlier run's journal vouches for. */
  private readonly copied = new Set<string>();
  private readonly tensors = new Map<string, TensorLine>();
  /** For each weight file, when its copy is on the disk and the journal says so. */
  private readonly settled = new Map<string, Promise<void>>();
  private copying: Promise<void> = Promise.resolve();
  private entries: readonly Entry[] = [];
  private complete = false;
  private resumes = false;
  private refused = false;
  private progress = false;
  private last: Promise<unknown> = Promise.resolve();
  private chosen: unknown;

  /** @internal made by {@link copyForEdit} */
  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly out: string,
    private readonly isFolder: boolean,
    private readonly work: Work,
    private readonly identity: Identity,
    private readonly layouts: readonly FileLayout[],
  ) {
    for (const { file, places } of layouts) {
      for (const [name, place] of places) this.places.set(name, { file, place });
    }
  }

  /** An earlier run of the job had done all, up to the last renaming or beyond it: only `commit` is left. */
  get isFinished(): boolean {
    return this.complete;
  }

  /** Undefined where nothing was there to go on with. */
  get resumed(): Resumed | undefined {
    if (!this.resumes) return undefined;
    const bytes = [...this.tensors.values()].reduce((sum, line) => sum + line.bytes, 0);
    return { tensors: this.tensors.size, bytes };
  }

  /** The job's settings: those of the run that began it. */
  get settings(): unknown {
    return this.chosen;
  }

  /** What was noted with a tensor that an earlier run finished; undefined for one that is to be done. */
  finished(name: string): { readonly note: unknown } | undefined {
    return this.tensors.get(name);
  }

  /**
   * Replaces one tensor's bytes.
   *
   * @param note kept in the journal; told by {@link finished} to a run that goes on
   * @throws LowRankError `ERR_NOT_FOUND`, `ERR_SHAPE` when the length differs, `ERR_CHECKPOINT_IO`.
   */
  write(name: string, bytes: Uint8Array, note?: unknown): Promise<void> {
    return this.inTurn(async () => {
      this.checkOpen();
      const found = this.places.get(name);
      if (found === undefined) {
        throw new LowRankError('ERR_NOT_FOUND', `${this.out}: no tensor is called ${describe(name)}`);
      }
      const { file, place } = found;
      if (bytes.length !== place.bytes) {
        const message = `tensor ${describe(name)}: expected ${place.bytes} bytes, got ${bytes.length}`;
        throw new LowRankError('ERR_SHAPE', message, { hint: 'An edit keeps dtype and shape.' });
      }
      const path = this.inCopy(file);
      await this.settled.get(file);
      const handle = await this.handleOf(path);
      await writeAt(handle, path, place.offset, bytes);
      if (this.journal === undefined) return;
      const sha256 = await digestOf(bytes);
      await sync(handle, path);
      await this.note({ tensor: name, bytes: bytes.length, sha256, note });
      this.progress = true;
    });
  }

  /** Makes the copy appear at its path, whole. */
  commit(): Promise<void> {
    return this.inTurn(async () => {
      this.checkOpen();
      if (!this.complete) {
        await refuseExisting(this.out);
        await Promise.all(this.settled.values());
        await this.closeFiles();
        await this.settle();
        await checkIdentity(this.checkpoint, this.identity);
        if (this.journal !== undefined) await this.note({ complete: true });
      }
      await this.publish();
      await this.journal?.close();
      this.state = 'committed';
      await this.work.clear();
      await this.work.leave();
    });
  }

  /** Removes all that was written. Harmless after `commit`. */
  discard(): Promise<void> {
    return this.inTurn(async () => {
      if (this.state !== 'open') return;
      this.state = 'discarded';
      await this.close();
      await this.work.clear();
      await this.work.leave();
    });
  }

  /**
   * Ends after a failure: keeps what the same job can go on with, where the failure is one that may pass (an abort, a full
   * disk, a lack of permission), and removes all otherwise.
   */
  async abandon(cause: unknown, signal?: AbortSignal): Promise<void> {
    // What is not understood is not ours to throw away.
    const isForeign = cause instanceof CheckpointError && cause.kind === 'InvalidJournal';
    if (this.refused || isForeign) return this.keep();
    const passes = signal?.aborted === true || mayPass(cause);
    if (!passes || this.journal === undefined) return this.discard();
    await Promise.allSettled([...this.settled.values(), this.last]);
    return this.progress || this.tensors.size > 0 ? this.keep() : this.discard();
  }

  /** Leaves what is done where it is, for the same job to go on. */
  private keep(): Promise<void> {
    return this.inTurn(async () => {
      if (this.state !== 'open') return;
      this.state = 'kept';
      await this.close();
      await this.work.leave();
    });
  }

  /** Decides whether the work that is there, if any, can be gone on with. @internal */
  async begin(job: Job | undefined, restart: boolean, taken: boolean): Promise<void> {
    this.chosen = job?.settings;
    const wanted: Omit<HeadLine, 'settings'> | undefined = job && {
      lowrank: 1,
      job: digestOfJson([job.description, this.identity.digest]),
      source: this.identity.digest,
    };
    // Thrown away unread: it may be what the user wants to be rid of.
    if (restart) await this.work.clear();
    const { journal, entries } = await Journal.open(this.work.journal);
    this.journal = journal;
    const { head, lines } = checkedLines(entries, this.work.journal);
    if (head !== undefined) {
      if (wanted === undefined || head.job !== wanted.job) {
        this.refused = true;
        throw unfinished(this.work.folder, this.checkpoint, wanted !== undefined && head.source !== wanted.source);
      }
      this.checkOwn(job, head, lines);
      this.resumes = true;
      this.chosen = head.settings;
      await this.believe(lines, taken);
    } else {
      if (taken) {
        // Nothing of value lies here; the output is another's.
        await this.restartJournal(undefined);
        await refuseExisting(this.out);
      }
      await this.restartJournal(wanted && { ...wanted, settings: job?.settings });
    }
  }

  /** Holds what the job itself wrote into the journal against what it says that this has to be. */
  private checkOwn(job: Job | undefined, head: HeadLine, lines: readonly Line[]): void {
    const { journal } = this.work;
    const fault = job?.checkSettings?.(head.settings, 'settings');
    if (fault !== undefined) invalidJournal(journal, `line 1: ${fault}`);
    for (const [i, line] of lines.entries()) {
      if (!('tensor' in line) || !this.places.has(line.tensor)) continue;
      const fault = job?.checkNote?.(line.tensor)(line.note, 'note');
      if (fault !== undefined) invalidJournal(journal, `line ${i + 2}: ${fault}`);
    }
  }

  /** Makes the files of the copy, apart from those that an earlier run made. @internal */
  async fill(signal: AbortSignal | undefined, onCopy: CopyOptions['onCopy']): Promise<void> {
    this.entries = await listEntries(this.checkpoint, signal);
    await checkPlaces(this.checkpoint);
    if (this.resumes) await this.removeStrangers();
    const layouts = new Map(this.layouts.map((layout) => [this.pathOf(layout.file), layout]));
    await requireSpace(this.out, await this.demand(layouts));
    onCopy?.();
    for (const entry of this.entries) {
      signal?.throwIfAborted();
      const to = join(this.work.copy, entry.path);
      const layout = layouts.get(entry.path);
      if (entry.folder) await makeFolder(to);
      else if (layout !== undefined) await this.fillWeights(layout, entry, to, signal);
      else await this.fillOther(entry, to);
    }
  }

  /** What is still to be written; of files that an earlier run has made, nothing. */
  private async demand(layouts: ReadonlyMap<string, FileLayout>): Promise<Demand> {
    // Whether blocks can be shared, the largest file tells as well as any.
    let largest: Entry | undefined;
    let [bytes, shared] = [0, 0];
    for (const entry of this.entries) {
      if (entry.folder) continue;
      const layout = layouts.get(entry.path);
      const own = bytesInCopy(entry, layout);
      const there = await allocatedBytes(join(this.work.copy, entry.path));
      bytes += Math.max(0, own - there);
      const edited = [...(layout?.places.values() ?? [])].reduce((sum, place) => sum + place.bytes, 0);
      shared += layout?.parts === undefined ? Math.min(edited, own) : Math.max(0, own - there);
      if (largest === undefined || entry.size > largest.size) largest = entry;
    }
    const journal = this.journal === undefined ? 0 : JOURNAL_LINE_BYTES * (this.places.size - this.tensors.size);
    return { bytes: bytes + journal, ...(largest && { shared: { from: largest.from, bytes: shared + journal } }) };
  }

  private async fillWeights(layout: FileLayout, entry: Entry, to: string, signal?: AbortSignal): Promise<void> {
    const { file } = layout;
    if (this.copied.has(file) && (await this.verify(layout, to))) {
      this.progress = true;
      for (const [name, place] of layout.places) {
        const line = this.tensors.get(name);
        if (line !== undefined && !(await this.holds(to, place, line))) this.tensors.delete(name);
      }
      return;
    }
    for (const name of layout.places.keys()) this.tensors.delete(name);
    // One file after the other, while the first tensors are computed; nothing is written to a file that is not there yet.
    const made = this.copying.then(async () => {
      signal?.throwIfAborted();
      await rm(to, { recursive: true, force: true });
      if (layout.parts === undefined) await copyWhole(entry, to);
      else await this.assemble(layout.parts, to);
    });
    this.copying = made.catch(() => undefined);
    // The disk takes its time for the bytes; the next file is dealt with meanwhile.
    const settled = made.then(() => this.settleFile(file, to));
    settled.catch(() => undefined);
    this.settled.set(file, settled);
  }

  private async settleFile(file: string, path: string): Promise<void> {
    if (this.journal === undefined) return;
    const handle = await this.handleOf(path);
    await sync(handle, path);
    await this.note({ file });
    this.progress = true;
  }

  private async fillOther(entry: Entry, to: string): Promise<void> {
    if (this.resumes && (await sameFile(entry.from, to))) return;
    await rm(to, { recursive: true, force: true });
    await copyWhole(entry, to);
  }

  /** Writes a file from its parts. */
  private async assemble(parts: readonly FilePart[], to: string): Promise<void> {
    const sources = new Map<string, FileHandle>();
    let target: FileHandle | undefined;
    try {
      target = await open(to, 'wx', 0o600);
      let offset = 0;
      for (const part of parts) {
        if (part.kind === 'bytes') await writeAt(target, to, offset, part.data);
        else if (part.kind === 'copy') {
          const file = weightFile(this.checkpoint, part.file, this.isFolder);
          const handle = sources.get(file) ?? (await openFile(file)).handle;
          sources.set(file, handle);
          await copyRange({ handle, file, offset: part.offset }, { handle: target, file: to, offset }, part.bytes);
        }
        offset += lengthOf(part);
      }
      await target.truncate(offset);
    } catch (cause) {
      throw ioError(to, 'cannot be written', cause);
    } finally {
      await target?.close();
      for (const handle of sources.values()) await handle.close();
    }
  }

  /** Whether a weight file of the copy is what it has to be, apart from its edited tensors. */
  private async verify(layout: FileLayout, path: string): Promise<boolean> {
    if (!(await isRegular(path))) return false;
    const files = new Map<string, FileHandle>();
    const ours = await openFile(path);
    try {
      const source = await openFile(weightFile(this.checkpoint, layout.file, this.isFolder));
      files.set(layout.file, source.handle);
      const parts = layout.parts ?? aroundPlaces(layout, source.size);
      if (ours.size !== parts.reduce((sum, part) => sum + lengthOf(part), 0)) return false;
      let offset = 0;
      for (const part of parts) {
        const here = { handle: ours.handle, file: path, offset };
        if (part.kind === 'bytes' && !(await sameRange(here, part.data, part.data.length))) return false;
        if (part.kind === 'copy') {
          const file = weightFile(this.checkpoint, part.file, this.isFolder);
          const handle = files.get(part.file) ?? (await openFile(file)).handle;
          files.set(part.file, handle);
          if (!(await sameRange(here, { handle, file, offset: part.offset }, part.bytes))) return false;
        }
        offset += lengthOf(part);
      }
      return true;
    } finally {
      await ours.handle.close();
      for (const handle of files.values()) await handle.close();
    }
  }

  /** Whether a finished tensor's bytes are those that the journal vouches for. */
  private async holds(path: string, place: Place, line: TensorLine): Promise<boolean> {
    if (line.bytes !== place.bytes) return false;
    const { handle } = await openFile(path);
    try {
      const hash = createHash('sha256');
      await passRange({ handle, file: path, offset: place.offset }, place.bytes, async (part) => {
        hash.update(part);
      });
      return hash.digest('hex') === line.sha256;
    } finally {
      await handle.close();
    }
  }

  /** Takes over what a journal says. All of it is verified before it counts. */
  private async believe(lines: readonly Line[], taken: boolean): Promise<void> {
    for (const line of lines) {
      if ('complete' in line) this.complete = true;
      else if ('file' in line) this.copied.add(line.file);
      else if (this.places.has(line.tensor)) this.tensors.set(line.tensor, line);
    }
    if (!taken) {
      // The process ended between the last line and the renaming: the whole copy is looked at once more.
      this.complete = false;
      return;
    }
    if (this.complete && (await this.verifyAll(this.out))) return;
    this.refused = true;
    await refuseExisting(this.out);
  }

  /** Whether what lies at the output is this job's result: the process ended after the renaming. */
  private async verifyAll(base: string): Promise<boolean> {
    for (const layout of this.layouts) {
      const path = this.isFolder ? join(base, layout.file) : base;
      if (!(await exists(path)) || !(await this.verify(layout, path))) return false;
      for (const [name, place] of layout.places) {
        const line = this.tensors.get(name);
        if (line === undefined || !(await this.holds(path, place, line))) return false;
      }
    }
    return true;
  }

  private async restartJournal(head: HeadLine | undefined): Promise<void> {
    await this.journal?.close();
    this.journal = undefined;
    await this.work.clear();
    if (head === undefined) return;
    const { journal } = await Journal.open(this.work.journal);
    this.journal = journal;
    await journal.append(head);
    await syncFolder(this.work.folder);
    await syncFolder(dirname(this.work.folder));
  }

  /** Removes from an earlier run's copy what is not, or no longer, in the source. */
  private async removeStrangers(): Promise<void> {
    const known = new Set(this.entries.map(({ path }) => path));
    const visit = async (folder: string, path: string): Promise<void> => {
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const own = path === '' ? entry.name : `${path}/${entry.name}`;
        if (!known.has(own)) await rm(join(folder, entry.name), { recursive: true, force: true });
        else if (entry.isDirectory()) await visit(join(folder, entry.name), own);
      }
    };
    try {
      if ((await exists(this.work.copy)) && (await lstat(this.work.copy)).isDirectory())
        await visit(this.work.copy, '');
    } catch (cause) {
      throw ioError(this.work.copy, 'cannot be looked through', cause);
    }
  }

  /** Gives files and folders their permissions, and brings all to the disk. */
  private async settle(): Promise<void> {
    for (const { path, mode, folder } of this.entries) {
      if (folder) continue;
      const file = join(this.work.copy, path);
      const { handle } = await openFile(file, 'r+');
      try {
        await handle.chmod(mode);
        await handle.sync();
      } catch (cause) {
        throw ioError(file, 'cannot be brought to the disk', cause);
      } finally {
        await handle.close();
      }
    }
    for (const { path, mode } of this.entries.filter((entry) => entry.folder).reverse()) {
      const folder = join(this.work.copy, path);
      try {
        await chmod(folder, mode);
      } catch (cause) {
        throw ioError(folder, 'cannot be given its permissions', cause);
      }
      await syncFolder(folder);
    }
  }

  private async publish(): Promise<void> {
    if (this.complete) return;
    await (this.isFolder ? publishFolder : publishFile)(this.work.copy, this.out);
  }

  private inCopy(file: string): string {
    return join(this.work.copy, this.pathOf(file));
  }

  /** Of a weight file in the copy. */
  private pathOf(file: string): string {
    return this.isFolder ? file : '';
  }

  private async handleOf(path: string): Promise<FileHandle> {
    const known = this.handles.get(path);
    if (known !== undefined) return known;
    const { handle } = await openFile(path, 'r+');
    const meanwhile = this.handles.get(path);
    if (meanwhile !== undefined) {
      await handle.close();
      return meanwhile;
    }
    this.handles.set(path, handle);
    return handle;
  }

  private noting: Promise<unknown> = Promise.resolve();

  /** Lines come from several sides, and go into the journal one after the other. */
  private note(line: Line): Promise<void> {
    const noted = this.noting.then(() => this.journal!.append(line));
    this.noting = noted.catch(() => undefined);
    return noted;
  }

  /** One after the other: `commit` waits for writes that were not awaited. */
  private inTurn<T>(action: () => Promise<T>): Promise<T> {
    const done = this.last.then(action);
    this.last = done.catch(() => undefined);
    return done;
  }

  private checkOpen(): void {
    if (this.state !== 'open') {
      throw new LowRankError('ERR_ARGUMENT', `${this.out}: the writer is ${this.state} and cannot be used again`);
    }
  }

  private async close(): Promise<void> {
    await Promise.allSettled(this.settled.values());
    await this.noting;
    await this.closeFiles();
    await this.journal?.close();
    this.journal = undefined;
  }

  private async closeFiles(): Promise<void> {
    for (const handle of this.handles.values()) await handle.close();
    this.handles.clear();
  }
}

/** Of the copy's weight files; by default each keeps its places, and every tensor may be written. */
function layoutsOf(checkpoint: Checkpoint, edited: CopyOptions['edited']): readonly FileLayout[] {
  if (edited !== undefined) return checkpoint.layout(edited);
  const files = new Map<string, Map<string, Place>>();
  for (const { name, file, offset, bytes } of checkpoint.tensors.values()) {
    const places = files.get(file) ?? new Map<string, Place>();
    files.set(file, places.set(name, { offset, bytes }));
  }
  return [...files].map(([file, places]) => ({ file, parts: undefined, places }));
}

/** A file that keeps its places, as parts: what lies between its edited tensors. */
function aroundPlaces({ file, places }: FileLayout, size: number): FilePart[] {
  const parts: FilePart[] = [];
  let offset = 0;
  const ordered = [...places].sort(([, a], [, b]) => a.offset - b.offset);
  for (const [name, place] of ordered) {
    // Names for the same bytes lie in one another.
    if (place.offset + place.bytes <= offset) continue;
    if (place.offset > offset) parts.push({ kind: 'copy', file, offset, bytes: place.offset - offset });
    const begin = Math.max(offset, place.offset);
    parts.push({ kind: 'tensor', name, bytes: place.offset + place.bytes - begin });
    offset = place.offset + place.bytes;
  }
  if (offset < size) parts.push({ kind: 'copy', file, offset, bytes: size - offset });
  return parts;
}

/** What a line of the journal takes with the certificates of a few matrices. */
const JOURNAL_LINE_BYTES = 2000;

/** Bytes that a file takes on the disk; none where there is no file. */
async function allocatedBytes(path: string): Promise<number> {
  try {
    const { blocks } = await lstat(path);
    return 512 * blocks;
  } catch {
    return 0;
  }
}

async function checkOutput(checkpoint: Checkpoint, source: string, isFolder: boolean, out: string): Promise<void> {
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
  const work = workFolder(real);
  if (source === work || isInside(source, work)) {
    throw fault('OutputHoldsInput', `is made in ${work}, where the checkpoint lies`, 'Give another path.');
  }
  if (isFolder && isInside(existing, source)) {
    throw fault('OutputInsideInput', `lies in the checkpoint ${source}`, 'Give a path outside of it.');
  }
  if (isFolder && WEIGHT_ENDINGS.has(extname(out)) && !(await exists(out))) {
    const hint = 'Give the name of a folder, or open the single file in it.';
    throw fault('OutputIsFile', 'names a file, but the checkpoint is a folder, and so becomes its copy', hint);
  }
  const files = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  files.add(basename(checkpoint.path));
  if (!isFolder && files.size > 1) {
    const message = `would be one file, but the checkpoint is several: ${[...files].slice(0, 3).map(describe).join(', ')}`;
    throw fault('SeveralFiles', message, 'Open the folder of the checkpoint instead.');
  }
}

const WEIGHT_ENDINGS = new Set(['.safetensors', '.gguf', '.onnx']);

function unfinished(folder: string, checkpoint: Checkpoint, sourceDiffers: boolean): CheckpointError {
  if (sourceDiffers) {
    const message = `the source, or which one it is, has changed since the unfinished work in ${folder} began`;
    return new CheckpointError('ERR_OUTPUT', 'UnfinishedWork', checkpoint.path, message, {
      hint: 'Begin anew with --restart (restart: true), which throws that work away.',
    });
  }
  const message = 'holds the unfinished work of another job for the same output';
  return new CheckpointError('ERR_OUTPUT', 'UnfinishedWork', folder, message, {
    hint: 'Finish that job by its own command, or give another output, or throw its work away: remove the folder, or use --restart (restart: true) where the command has it.',
  });
}

/** Faults that are gone when the disk has room again, or the permission is given. */
function mayPass(cause: unknown): boolean {
  if (!(cause instanceof CheckpointError)) return (cause as NodeJS.ErrnoException | null)?.syscall !== undefined;
  // What was copied from a source that changes is worth nothing.
  if (cause.kind === 'Changed' || cause.kind === 'FileShrank') return false;
  return cause.code === 'ERR_CHECKPOINT_IO' || cause.kind === 'OutputExists';
}

async function copyWhole({ from, mode }: Entry, to: string): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    // The copy of a read-only file must take the new bytes; its permissions come back at the end.
    await chmod(to, mode | 0o600);
  } catch (cause) {
    throw ioError(from, 'cannot be copied', cause);
  }
}

async function makeFolder(path: string): Promise<void> {
  try {
    if ((await exists(path)) && !(await lstat(path)).isDirectory()) await rm(path, { force: true });
    await mkdir(path, { mode: 0o700, recursive: true });
  } catch (cause) {
    throw ioError(path, 'cannot be made', cause);
  }
}

async function isRegular(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isFile();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw ioError(path, 'cannot be looked up', cause);
  }
}

async function sameFile(from: string, to: string): Promise<boolean> {
  if (!(await isRegular(to))) return false;
  const [source, copy] = [await openFile(from), await openFile(to)];
  try {
    return (
      source.size === copy.size &&
      (await sameRange(
        { handle: source.handle, file: from, offset: 0 },
        { handle: copy.handle, file: to, offset: 0 },
        source.size,
      ))
    );
  } finally {
    await Promise.all([source.handle.close(), copy.handle.close()]);
  }
}

async function sync(handle: FileHandle, file: string): Promise<void> {
  try {
    await handle.datasync();
  } catch (cause) {
    throw ioError(file, 'cannot be brought to the disk', cause);
  }
}
