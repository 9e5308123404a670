import { createHash } from 'node:crypto';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import { exists, ioError, isRegularFile, type OpenFile, openFile, passRange, sameRange } from '../../files/files.js';
import { digestOfJson, invalidJournal } from '../../files/journal.js';
import type { Check } from '../../files/schema.js';
import type { ByteRange, Checkpoint, FileLayout } from '../checkpoint.js';
import type { CopyEntry } from './entries.js';
import { lengthOf, partsAround } from './layouts.js';
import type { HeadLine, Line, TensorLine } from './staging.js';

/** Identifies a job, so that an interrupted copy can be resumed. */
export interface ResumableJob {
  /**
   * Everything that determines the bytes, apart from the source: two jobs with equal descriptions
   * give equal results.
   */
  readonly description: unknown;
  /** The job's own choices. A resumed job gets the settings of the run that started it. */
  readonly settings?: unknown;
  /** Checks settings that are read back. */
  readonly checkSettings?: Check;
  /** Checks the note of a tensor that is read back. */
  readonly checkNote?: (tensor: string) => Check;
}

/**
 * Makes the first line of a job's journal.
 *
 * @param source the digest of the source
 */
export function headOf({ description, settings }: ResumableJob, source: string): HeadLine {
  return { lowrank: 1, job: digestOfJson([description, source]), source, settings };
}

/** The journal's record of a copy. Nothing of it is verified yet. */
export interface JournalRecord {
  readonly complete: boolean;
  /** Weight files that were copied. */
  readonly copied: ReadonlySet<string>;
  /** Tensors that were written. */
  readonly tensors: Map<string, TensorLine>;
}

/**
 * Reads the record.
 *
 * @param places the tensors that this job may write; lines of others do not count
 */
export function recordedIn(lines: readonly Line[], places: ReadonlyMap<string, unknown>): JournalRecord {
  const copied = new Set<string>();
  const tensors = new Map<string, TensorLine>();
  let complete = false;
  for (const line of lines) {
    if ('complete' in line) complete = true;
    else if ('file' in line) copied.add(line.file);
    else if (places.has(line.tensor)) tensors.set(line.tensor, line);
  }
  return { complete, copied, tensors };
}

/**
 * Checks the settings and notes that the job itself wrote into a journal.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_FORMAT`, kind `InvalidJournal`.
 */
export function checkJobEntries(
  job: ResumableJob | undefined,
  { head, lines }: { readonly head: HeadLine; readonly lines: readonly Line[] },
  places: ReadonlyMap<string, unknown>,
  journal: string,
): void {
  const fault = job?.checkSettings?.(head.settings, 'settings');
  if (fault !== undefined) invalidJournal(journal, `line 1: ${fault}`);
  for (const [i, line] of lines.entries()) {
    if (!('tensor' in line) || !places.has(line.tensor)) continue;
    const fault = job?.checkNote?.(line.tensor)(line.note, 'note');
    if (fault !== undefined) invalidJournal(journal, `line ${i + 2}: ${fault}`);
  }
}

/**
 * Verifies a file of the copy, apart from its edited tensors, against its layout and the source.
 *
 * @param sourceOf the path of a weight file of the source
 */
export async function matchesLayout(
  path: string,
  layout: FileLayout,
  sourceOf: (file: string) => string,
): Promise<boolean> {
  if (!(await isRegularFile(path))) return false;
  const files = new Map<string, OpenFile>();
  const sourceFile = async (file: string): Promise<OpenFile> => {
    const source = files.get(file) ?? (await openFile(sourceOf(file)));
    files.set(file, source);
    return source;
  };
  const ours = await openFile(path);
  try {
    const parts = layout.parts ?? partsAround(layout, (await sourceFile(layout.file)).size);
    if (ours.size !== parts.reduce((sum, part) => sum + lengthOf(part), 0)) return false;
    let offset = 0;
    for (const part of parts) {
      const here = { handle: ours.handle, file: path, offset };
      if (part.kind === 'bytes' && !(await sameRange(here, part.data, part.data.length))) return false;
      if (part.kind === 'copy') {
        const { handle } = await sourceFile(part.file);
        const there = { handle, file: sourceOf(part.file), offset: part.offset };
        if (!(await sameRange(here, there, part.bytes))) return false;
      }
      offset += lengthOf(part);
    }
    return true;
  } finally {
    await ours.handle.close();
    for (const { handle } of files.values()) await handle.close();
  }
}

/** Verifies a finished tensor's bytes against the digest in the journal. */
export async function matchesDigest(path: string, place: ByteRange, line: TensorLine): Promise<boolean> {
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

/** Verifies a whole weight file: its tensors too, all of which must be recorded. */
export async function matchesRecord(
  path: string,
  layout: FileLayout,
  sourceOf: (file: string) => string,
  tensors: ReadonlyMap<string, TensorLine>,
): Promise<boolean> {
  if (!(await matchesLayout(path, layout, sourceOf))) return false;
  for (const [name, place] of layout.places) {
    const line = tensors.get(name);
    if (line === undefined || !(await matchesDigest(path, place, line))) return false;
  }
  return true;
}

/** Whether `to` is a regular file with the bytes of `from`. */
export async function sameContents(from: string, to: string): Promise<boolean> {
  if (!(await isRegularFile(to))) return false;
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

/** Removes everything from an earlier run's copy that does not, or no longer, belong to it. */
export async function removeUnknownEntries(copy: string, entries: readonly CopyEntry[]): Promise<void> {
  const known = new Set(entries.map(({ path }) => path));
  const visit = async (folder: string, path: string): Promise<void> => {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const own = path === '' ? entry.name : `${path}/${entry.name}`;
      if (!known.has(own)) await rm(join(folder, entry.name), { recursive: true, force: true });
      else if (entry.isDirectory()) await visit(join(folder, entry.name), own);
    }
  };
  try {
    if ((await exists(copy)) && (await lstat(copy)).isDirectory()) await visit(copy, '');
  } catch (cause) {
    throw ioError(copy, 'cannot be searched', cause);
  }
}

/** Makes the error for unfinished work that this job cannot resume. */
export function unfinishedError(folder: string, checkpoint: Checkpoint, sourceDiffers: boolean): CheckpointError {
  if (sourceDiffers) {
    const message = `the source of the unfinished work in ${folder} has changed, or was another one`;
    return new CheckpointError('ERR_OUTPUT', 'UnfinishedWork', checkpoint.path, message, {
      hint: 'Start over with --restart (restart: true), which discards that work.',
    });
  }
  const message = 'contains the unfinished work of another job for the same output';
  return new CheckpointError('ERR_OUTPUT', 'UnfinishedWork', folder, message, {
    hint: 'Finish that job with its own command, choose another output, or discard its work: remove the folder, or use --restart (restart: true) if the command has it.',
  });
}

/**
 * Whether the same job may succeed later: when the disk has room again, or permission is granted.
 */
export function isTransient(cause: unknown): boolean {
  if (!(cause instanceof CheckpointError)) return (cause as NodeJS.ErrnoException | null)?.syscall !== undefined;
  // What was copied from a changing source is worthless.
  if (cause.kind === 'Changed' || cause.kind === 'FileShrank') return false;
  return cause.code === 'ERR_CHECKPOINT_IO' || cause.kind === 'OutputExists';
}
