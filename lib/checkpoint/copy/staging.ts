import { createHash } from 'node:crypto';
import { lstat, mkdir, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CheckpointError } from '../../errors.js';
import { ioError, requirePath } from '../../files/files.js';
import { invalidJournal, readJournal } from '../../files/journal.js';
import { type Lock, lockFolder } from '../../files/lock.js';
import {
  aDigest,
  aName,
  anything,
  aString,
  aWhole,
  type Check,
  exactly,
  expected,
  object,
} from '../../files/schema.js';

/** Most file systems allow names of 255 bytes; the prefix and suffix need some of them. */
const LONGEST_NAME = 200;

/**
 * Returns the folder in which the copy for `out` is made: always the same for the same output, and
 * on its file system.
 */
export function workFolder(out: string): string {
  const name = basename(out);
  const short =
    Buffer.byteLength(name) <= LONGEST_NAME
      ? name
      : `${name.slice(0, 40)}-${createHash('sha256').update(name).digest('hex').slice(0, 16)}`;
  return join(dirname(out), `.${short}.lowrank`);
}

/** The folder of an unfinished copy and its journal, locked for this process. */
export class StagingFolder {
  private constructor(
    readonly folder: string,
    private readonly lock: Lock,
  ) {}

  /** The path of the copy, a folder or a file. */
  get copy(): string {
    return join(this.folder, 'copy');
  }

  get journal(): string {
    return journalIn(this.folder);
  }

  /**
   * Creates the folder, or opens the existing one.
   *
   * @throws CheckpointError `ERR_OUTPUT`, kind `InUse`, if another process works in it; kind
   *   `NotOurs` for a folder that somebody else created; `ERR_CHECKPOINT_IO`.
   */
  static async open(folder: string): Promise<StagingFolder> {
    for (;;) {
      try {
        await mkdir(folder, { mode: 0o700 });
      } catch (cause) {
        if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw ioError(folder, 'cannot be created', cause);
      }
      try {
        await checkOwner(folder);
        return new StagingFolder(folder, await lockFolder(folder));
      } catch (cause) {
        // Another process finished, and removed the folder, between the two steps.
        if (!(cause instanceof CheckpointError) || cause.kind !== 'NotFound') throw cause;
      }
    }
  }

  /**
   * Removes the copy and the journal. The journal goes last: as long as anything is left, it shows
   * the same job that the existing output is its own. It cannot vouch for a copy that is half
   * removed, since every entry is verified.
   */
  async clear(): Promise<void> {
    try {
      await rm(this.copy, { recursive: true, force: true });
      await rm(this.journal, { force: true });
    } catch (cause) {
      throw ioError(this.folder, 'cannot be removed', cause);
    }
  }

  /** Unlocks the folder, and removes it if nothing is left in it. */
  async leave(): Promise<void> {
    await this.lock.release();
    try {
      await rmdir(this.folder);
    } catch (cause) {
      // Work that is kept, or the file of another process that waits for its turn.
      const code = (cause as NodeJS.ErrnoException).code;
      if (!['ENOTEMPTY', 'EEXIST', 'ENOENT', 'EPERM'].includes(code ?? '')) {
        throw ioError(this.folder, 'cannot be removed', cause);
      }
    }
  }
}

/** Work that a job left behind and can resume. */
export interface UnfinishedWork {
  readonly folder: string;
  /** Tensors that are done, and their bytes. */
  readonly tensors: number;
  readonly bytes: number;
}

/**
 * Finds what an interrupted job has left for `out`; returns undefined if there is nothing to
 * resume.
 *
 * @throws {@link CheckpointError} `ERR_CHECKPOINT_IO`; `ERR_CHECKPOINT_FORMAT`, kind
 *   `InvalidJournal`.
 */
export async function unfinishedWork(out: string): Promise<UnfinishedWork | undefined> {
  requirePath(out);
  const folder = workFolder(out);
  const journal = journalIn(folder);
  const { head, lines } = checkedLines(await readJournal(journal), journal);
  if (head === undefined) return undefined;
  const tensors = lines.filter((line): line is TensorLine => 'tensor' in line);
  return { folder, tensors: tensors.length, bytes: tensors.reduce((sum, { bytes }) => sum + bytes, 0) };
}

/** The first line of a journal. */
export interface HeadLine {
  readonly lowrank: 1;
  /** The digest of the job: work can be resumed only by a job with the same one. */
  readonly job: string;
  /** The digest of the source alone, which distinguishes a changed source from another job. */
  readonly source: string;
  /** The job's own choices when it started. */
  readonly settings: unknown;
}

/** A weight file whose copy is on the disk, apart from its edited tensors. */
interface FileLine {
  readonly file: string;
}

/** A tensor whose new bytes are on the disk. */
export interface TensorLine {
  readonly tensor: string;
  readonly bytes: number;
  readonly sha256: string;
  /** The caller's own. */
  readonly note: unknown;
}

/** Everything is written; only publishing is left. */
interface CompleteLine {
  readonly complete: true;
}

export type Line = FileLine | TensorLine | CompleteLine;

/** The caller of a copy checks its own entries in the journal. */
const HEAD: Check = object({ lowrank: exactly(1), job: aDigest, source: aDigest, settings: anything });
const LINES: Readonly<Record<string, Check>> = {
  complete: object({ complete: exactly(true) }),
  file: object({ file: aName }),
  tensor: object({ tensor: aString, bytes: aWhole(), sha256: aDigest, note: anything }),
};
const LINE: Check = (value, at) => {
  const kind = Object.keys(LINES).find((key) => Object.hasOwn(Object(value), key));
  return kind === undefined ? expected('complete, file or tensor', value, at) : LINES[kind]!(value, at);
};

/**
 * Checks the lines of a journal.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_FORMAT`, kind `InvalidJournal`, with the line and its
 *   fault.
 */
export function checkedLines(entries: readonly unknown[], file: string): { head?: HeadLine; lines: Line[] } {
  for (const [i, entry] of entries.entries()) {
    const fault = (i === 0 ? HEAD : LINE)(entry, '');
    if (fault !== undefined) invalidJournal(file, `line ${i + 1}: ${fault.replace(/^the file/, 'the line')}`);
  }
  const [head, ...lines] = entries as [HeadLine?, ...Line[]];
  return head === undefined ? { lines } : { head, lines };
}

function journalIn(folder: string): string {
  return join(folder, 'journal');
}

/** The name can be guessed, and the parent folder may be writable for everybody, such as /tmp. */
async function checkOwner(folder: string): Promise<void> {
  let status: Awaited<ReturnType<typeof lstat>>;
  try {
    status = await lstat(folder);
  } catch (cause) {
    throw ioError(folder, 'cannot be looked up', cause);
  }
  const uid = process.getuid?.();
  if (status.isDirectory() && (uid === undefined || (status.uid === uid && (status.mode & 0o022) === 0))) return;
  throw new CheckpointError(
    'ERR_OUTPUT',
    'NotOurs',
    folder,
    'is the place for unfinished work, but not a folder that only this user owns',
    { hint: 'Remove it, or choose another output.' },
  );
}
