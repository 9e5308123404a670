import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CheckpointError, describe, LowRankError } from '../../errors.js';
import { publishFile, publishFolder } from '../../files/atomic.js';
import { exists, refuseExisting, syncFile, syncFolder, writeAt } from '../../files/files.js';
import { digestOf, Journal } from '../../files/journal.js';
import { OpenFiles } from '../../files/open-files.js';
import { SerialQueue } from '../../files/serial-queue.js';
import { requireSpace } from '../../files/space.js';
import type { ByteRange, Checkpoint, FileLayout } from '../checkpoint.js';
import { type CopyEntry, listEntries, newEntries, type SourceEntry, weightFile } from './entries.js';
import { assemble, copyWhole, demandOfCopy, makeFolder, sealCopy } from './fill.js';
import { checkIdentity, checkPlaces, type Identity } from './identity.js';
import {
  checkJobEntries,
  headOf,
  isTransient,
  matchesDigest,
  matchesLayout,
  matchesRecord,
  type ResumableJob,
  recordedIn,
  removeUnknownEntries,
  sameContents,
  unfinishedError,
} from './resume.js';
import { newFiles } from './size.js';
import { checkedLines, type HeadLine, type Line, type StagingFolder, type TensorLine } from './staging.js';

/** The work that an earlier run had already done. */
export interface ResumedWork {
  readonly tensors: number;
  /** The bytes of these tensors. */
  readonly bytes: number;
}

/**
 * The state of a copy:
 *
 * - `deciding`: whether there is unfinished work, and whose
 * - `refused`: another job's work or output exists; it is left unchanged
 * - `filling`: files are copied from the source
 * - `open`: tensors can be written
 * - `published`: an earlier run of the job published the output; only its cleanup is left
 * - `committed`, `discarded`, `kept`: ended; kept means that the same job can resume
 */
type CopyState = 'deciding' | 'refused' | 'filling' | 'open' | 'published' | 'committed' | 'discarded' | 'kept';

/** An unpublished copy of a checkpoint, whose tensors can be replaced. */
export class EditCopy {
  private state: CopyState = 'deciding';
  private journal: Journal | undefined;
  private jobSettings: unknown;
  private entries: readonly CopyEntry[] = [];
  private readonly files = new OpenFiles();
  private readonly places = new Map<string, { file: string; place: ByteRange }>();
  /** Files with a layout that the journal of an earlier run lists. */
  private copied: ReadonlySet<string> = new Set();
  /** Tensors that an earlier run finished. */
  private tensors = new Map<string, TensorLine>();
  /** Whether an earlier run of the same job left work. */
  private resumes = false;
  /** Whether there is anything that a later run could use. */
  private worthKeeping = false;
  /**
   * For each file that is made from its layout, resolves when it is on the disk and in the journal.
   */
  private readonly settled = new Map<string, Promise<void>>();
  /** Writes and the end of the copy: `commit` waits for writes that were not awaited. */
  private readonly actions = new SerialQueue();
  /** Files that are made from their layouts. */
  private readonly copying = new SerialQueue();
  /** Lines for the journal, from both. */
  private readonly notes = new SerialQueue();

  /** @internal made by `copyForEdit` */
  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly out: string,
    private readonly isFolder: boolean,
    private readonly staging: StagingFolder,
    private readonly identity: Identity,
    /** By path in the copy. */
    private readonly layouts: ReadonlyMap<string, FileLayout>,
    /** Paths in the source that are not copied. */
    private readonly leftOut: ReadonlySet<string>,
  ) {
    for (const { file, places } of layouts.values()) {
      for (const [name, place] of places) this.places.set(name, { file, place });
    }
  }

  /**
   * Whether an earlier run of the job published the output, so that only `commit` is left to call.
   */
  get isFinished(): boolean {
    return this.state === 'published';
  }

  /** Undefined if there was nothing to resume. */
  get resumed(): ResumedWork | undefined {
    if (!this.resumes) return undefined;
    const bytes = [...this.tensors.values()].reduce((sum, line) => sum + line.bytes, 0);
    return { tensors: this.tensors.size, bytes };
  }

  /** The job's settings: those of the run that started it. */
  get settings(): unknown {
    return this.jobSettings;
  }

  /**
   * Returns the note of a tensor that an earlier run finished; undefined for a tensor that is still
   * to be written.
   */
  finished(name: string): { readonly note: unknown } | undefined {
    return this.tensors.get(name);
  }

  /**
   * Replaces one tensor's bytes.
   *
   * @param note kept in the journal; {@link finished} returns it to a run that resumes
   * @throws LowRankError `ERR_NOT_FOUND`, `ERR_SHAPE` if the length differs, `ERR_CHECKPOINT_IO`.
   */
  write(name: string, bytes: Uint8Array, note?: unknown): Promise<void> {
    return this.actions.run(async () => {
      this.requireUsable();
      const found = this.places.get(name);
      if (found === undefined) {
        throw new LowRankError('ERR_NOT_FOUND', `${this.out}: there is no tensor ${describe(name)}`);
      }
      const { file, place } = found;
      if (bytes.length !== place.bytes) {
        const message = `tensor ${describe(name)}: expected ${place.bytes} bytes, got ${bytes.length}`;
        throw new LowRankError('ERR_SHAPE', message, {
          hint: 'The changes of the copy define its dtype and shape.',
        });
      }
      const path = this.pathIn(this.staging.copy, file);
      await this.settled.get(file);
      const handle = await this.files.get(path);
      await writeAt(handle, path, place.offset, bytes);
      if (this.journal === undefined) return;
      const sha256 = await digestOf(bytes);
      await syncFile(handle, path);
      await this.note({ tensor: name, bytes: bytes.length, sha256, note });
      this.worthKeeping = true;
    });
  }

  /**
   * Waits until every file of the copy is written, and returns its path, so that the copy can be
   * read before it is published.
   */
  written(): Promise<string> {
    return this.actions.run(async () => {
      this.requireUsable();
      await Promise.all(this.settled.values());
      return this.state === 'published' ? this.out : this.staging.copy;
    });
  }

  /** Publishes the copy as a whole. */
  commit(): Promise<void> {
    return this.actions.run(async () => {
      this.requireUsable();
      if (this.state !== 'published') {
        await refuseExisting(this.out);
        await Promise.all(this.settled.values());
        await this.files.close();
        await sealCopy(this.staging.copy, this.entries);
        await checkIdentity(this.checkpoint, this.identity);
        if (this.journal !== undefined) await this.note({ complete: true });
        await (this.isFolder ? publishFolder : publishFile)(this.staging.copy, this.out);
      }
      await this.journal?.close();
      this.state = 'committed';
      await this.staging.clear();
      await this.staging.leave();
    });
  }

  /** Removes everything that was written. Does nothing after `commit`. */
  discard(): Promise<void> {
    return this.end('discarded', () => this.staging.clear());
  }

  /**
   * Ends the copy after a failure. Keeps what the same job can resume if the failure may pass (an
   * abort, a full disk, a lack of permission), and removes everything otherwise.
   */
  async abandon(cause: unknown, signal?: AbortSignal): Promise<void> {
    // A journal that cannot be read may still be of use to its owner.
    const isForeign = cause instanceof CheckpointError && cause.kind === 'InvalidJournal';
    if (this.state === 'refused' || isForeign) return this.keep();
    const mayPass = signal?.aborted === true || isTransient(cause);
    if (!mayPass || this.journal === undefined) return this.discard();
    await Promise.allSettled([...this.settled.values(), this.actions.idle()]);
    return this.worthKeeping || this.tensors.size > 0 ? this.keep() : this.discard();
  }

  /** Leaves the finished work, so that the same job can resume. */
  private keep(): Promise<void> {
    return this.end('kept', async () => undefined);
  }

  private end(state: 'discarded' | 'kept', cleanUp: () => Promise<void>): Promise<void> {
    return this.actions.run(async () => {
      if (this.hasEnded()) return;
      this.state = state;
      await Promise.allSettled(this.settled.values());
      await this.notes.idle();
      await this.files.close();
      await this.journal?.close();
      this.journal = undefined;
      await cleanUp();
      await this.staging.leave();
    });
  }

  /** Decides whether unfinished work, if there is any, can be resumed. @internal */
  async begin(job: ResumableJob | undefined, restart: boolean, outputExists: boolean): Promise<void> {
    this.jobSettings = job?.settings;
    const wanted = job && headOf(job, this.identity.digest);
    // Clear it unread: the user may want to get rid of an unreadable journal.
    if (restart) await this.staging.clear();
    const { journal, entries } = await Journal.open(this.staging.journal);
    this.journal = journal;
    const { head, lines } = checkedLines(entries, this.staging.journal);
    if (head === undefined) {
      if (outputExists) {
        // The staging folder has nothing of value, and the output belongs to another job.
        await this.restartJournal(undefined);
        await refuseExisting(this.out);
      }
      await this.restartJournal(wanted);
      this.state = 'filling';
      return;
    }
    if (wanted === undefined || head.job !== wanted.job) {
      this.state = 'refused';
      const sourceDiffers = wanted !== undefined && head.source !== wanted.source;
      throw unfinishedError(this.staging.folder, this.checkpoint, sourceDiffers);
    }
    checkJobEntries(job, { head, lines }, this.places, this.staging.journal);
    this.resumes = true;
    this.jobSettings = head.settings;
    await this.restoreFromJournal(lines, outputExists);
  }

  /** Restores state from the journal; every entry is verified before it is trusted. */
  private async restoreFromJournal(lines: readonly Line[], outputExists: boolean): Promise<void> {
    const { complete, copied, tensors } = recordedIn(lines, this.places);
    this.copied = copied;
    this.tensors = tensors;
    // Even a complete copy is verified again, by fill(), if the process ended before it was
    // published.
    if (!outputExists) this.state = 'filling';
    else if (complete && (await this.isOurs(this.out))) this.state = 'published';
    else {
      this.state = 'refused';
      await refuseExisting(this.out);
    }
  }

  /** Whether the output is this job's result: the process ended after it was published. */
  private async isOurs(out: string): Promise<boolean> {
    for (const layout of this.layouts.values()) {
      const path = this.pathIn(out, layout.file);
      if (!(await exists(path)) || !(await matchesRecord(path, layout, this.sourceOf, this.tensors))) return false;
    }
    return true;
  }

  private async restartJournal(head: HeadLine | undefined): Promise<void> {
    await this.journal?.close();
    this.journal = undefined;
    await this.staging.clear();
    if (head === undefined) return;
    const { journal } = await Journal.open(this.staging.journal);
    this.journal = journal;
    await journal.append(head);
    await syncFolder(this.staging.folder);
    await syncFolder(dirname(this.staging.folder));
  }

  /** Creates the files of the copy, apart from those of an earlier run. @internal */
  async fill(signal: AbortSignal | undefined, onCopy: (() => void) | undefined): Promise<void> {
    const { copy } = this.staging;
    const all = await listEntries(this.checkpoint, signal);
    const entries = all.filter(({ path }) => !this.leftOut.has(path));
    const added = newFiles(entries, this.layouts);
    this.entries = [...entries, ...newEntries(added, entries)];
    await checkPlaces(this.checkpoint);
    if (this.resumes) await removeUnknownEntries(copy, this.entries);
    const pending = this.journal === undefined ? 0 : this.places.size - this.tensors.size;
    await requireSpace(this.out, await demandOfCopy(copy, entries, this.layouts, pending));
    onCopy?.();
    for (const entry of entries) {
      signal?.throwIfAborted();
      const to = join(copy, entry.path);
      const layout = this.layouts.get(entry.path);
      if (entry.folder) await makeFolder(to);
      else if (layout !== undefined) await this.fillLaidOut(layout, entry, to, signal);
      else await this.fillOther(entry, to);
    }
    for (const layout of added) await this.fillLaidOut(layout, undefined, join(copy, layout.file), signal);
    this.state = 'open';
  }

  /** @param entry undefined for a file that the source lacks */
  private async fillLaidOut(
    layout: FileLayout,
    entry: SourceEntry | undefined,
    to: string,
    signal?: AbortSignal,
  ): Promise<void> {
    const { file } = layout;
    if (this.copied.has(file) && (await matchesLayout(to, layout, this.sourceOf))) {
      this.worthKeeping = true;
      for (const [name, place] of layout.places) {
        const line = this.tensors.get(name);
        if (line !== undefined && !(await matchesDigest(to, place, line))) this.tensors.delete(name);
      }
      return;
    }
    for (const name of layout.places.keys()) this.tensors.delete(name);
    // Files are copied while the first tensors are computed; write() waits for the file that it
    // needs.
    const made = this.copying.run(async () => {
      signal?.throwIfAborted();
      await rm(to, { recursive: true, force: true });
      if (layout.parts === undefined) await copyWhole(entry!, to);
      else await assemble(layout.parts, to, this.sourceOf);
    });
    // Not in the queue: the next file is copied while this one is synced to the disk.
    const settled = made.then(() => this.settleFile(file, to));
    settled.catch(() => undefined);
    this.settled.set(file, settled);
  }

  private async settleFile(file: string, path: string): Promise<void> {
    if (this.journal === undefined) return;
    const handle = await this.files.get(path);
    await syncFile(handle, path);
    await this.note({ file });
    this.worthKeeping = true;
  }

  private async fillOther(entry: SourceEntry, to: string): Promise<void> {
    if (this.resumes && (await sameContents(entry.from, to))) return;
    await rm(to, { recursive: true, force: true });
    await copyWhole(entry, to);
  }

  /** The path of a weight file in the copy or output at `base`. */
  private pathIn(base: string, file: string): string {
    return this.isFolder ? join(base, file) : base;
  }

  private readonly sourceOf = (file: string): string => weightFile(this.checkpoint, file, this.isFolder);

  private note(line: Line): Promise<void> {
    return this.notes.run(() => this.journal!.append(line));
  }

  private hasEnded(): boolean {
    return this.state === 'committed' || this.state === 'discarded' || this.state === 'kept';
  }

  private requireUsable(): void {
    if (this.hasEnded()) {
      throw new LowRankError('ERR_ARGUMENT', `${this.out}: the writer is ${this.state} and cannot be used again`);
    }
  }
}
