import { mkdir, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { isInside, locate } from '../checkpoint/copy/entries.js';
import { CheckpointError, describe } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { toJson } from '../files/document.js';
import { absolutePath, ioError } from '../files/files.js';
import { type Lock, lockFolder } from '../files/lock.js';
import { LOG_FILE, SearchLog } from './log.js';
import type { SearchHeader, SearchLine } from './log-lines.js';

/** The output folder of a search, locked for this process. */
export class SearchOutput {
  private constructor(
    readonly folder: string,
    readonly log: SearchLog,
    /** The lines that earlier runs of the same search have written, without the header. */
    readonly earlier: readonly SearchLine[],
    private readonly lock: Lock,
    private readonly isNew: boolean,
  ) {}

  /**
   * Creates the folder, or resumes the same search in it.
   *
   * @throws {@link CheckpointError} `ERR_OUTPUT`: kind `OutputExists` for a folder with other
   *   things in it, `DifferentSearch` for one of other settings, `OutputInsideInput`, `NoFolder`,
   *   `InUse` while another process searches there, `NotALog`.
   */
  static async open(path: string, header: SearchHeader, checkpoint: Checkpoint): Promise<SearchOutput> {
    const folder = absolutePath(path);
    await refuseInsideSource(folder, checkpoint);
    const isNew = await makeFolder(folder);
    let lock: Lock | undefined;
    let log: SearchLog | undefined;
    try {
      lock = await lockFolder(folder);
      const opened = await SearchLog.open(join(folder, LOG_FILE));
      log = opened.log;
      const [first, ...earlier] = opened.lines;
      if (first === undefined) await log.append(header);
      else if (first.line !== 'search' || first.digest !== header.digest) throw anotherSearch(folder, first, header);
      return new SearchOutput(folder, log, earlier, lock, isNew);
    } catch (cause) {
      await log?.close();
      await lock?.release();
      if (isNew) await rm(folder, { recursive: true, force: true });
      throw cause;
    }
  }

  /** Where candidates are made; what a killed run left there is discarded. */
  get candidate(): string {
    return join(this.folder, '.candidate');
  }

  /** Where the source with converted tensors is kept while the search runs. */
  get converted(): string {
    return join(this.folder, '.converted');
  }

  /** Returns where the winner is written: a folder, or a file with the source's ending. */
  async model(checkpoint: Checkpoint): Promise<string> {
    const { source, isFolder } = await locate(checkpoint);
    return join(this.folder, isFolder ? 'model' : `model${extname(source)}`);
  }

  /** Writes a JSON file, completely or not at all. */
  writeJson(name: string, value: unknown): Promise<void> {
    return writeAtomically(join(this.folder, name), `${toJson(value, 2)}\n`, { replace: true });
  }

  /** Releases the folder, and removes it if there is nothing to resume. */
  async close(): Promise<void> {
    await this.log.close();
    const isEmpty = this.isNew && this.log.count <= 1;
    if (isEmpty) await rm(join(this.folder, LOG_FILE), { force: true });
    await this.lock.release();
    if (isEmpty) await rmdir(this.folder).catch(() => undefined);
  }
}

async function refuseInsideSource(folder: string, checkpoint: Checkpoint): Promise<void> {
  const { source, isFolder } = await locate(checkpoint);
  let parent: string;
  try {
    parent = await realpath(dirname(folder));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError(dirname(folder), 'cannot be opened', cause);
    const message = `the folder ${dirname(folder)} does not exist`;
    throw new CheckpointError('ERR_OUTPUT', 'NoFolder', folder, message, { hint: 'Create it first.' });
  }
  const real = join(parent, basename(folder));
  if (!isFolder || (real !== source && !isInside(real, source))) return;
  throw new CheckpointError('ERR_OUTPUT', 'OutputInsideInput', folder, `is inside the checkpoint ${source}`, {
    hint: 'Choose a path outside it.',
  });
}

/** Creates the folder; returns whether it is new or was empty. */
async function makeFolder(folder: string): Promise<boolean> {
  let names: string[];
  try {
    await mkdir(folder).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
    names = await readdir(folder);
  } catch (cause) {
    throw ioError(folder, 'cannot be created', cause);
  }
  if (names.includes(LOG_FILE)) return false;
  const other = names.find((name) => !name.startsWith('lock.') && !name.startsWith('new-lock.'));
  if (other === undefined) return true;
  throw new CheckpointError('ERR_OUTPUT', 'OutputExists', folder, `already exists and contains ${describe(other)}`, {
    hint: 'Choose a new folder, or one in which the same search was interrupted.',
  });
}

function anotherSearch(folder: string, first: SearchLine, header: SearchHeader): CheckpointError {
  const before = first.line === 'search' ? (first.settings as unknown as Record<string, unknown>) : {};
  const changed = Object.entries(header.settings)
    .filter(([name, value]) => toJson(before[name]) !== toJson(value))
    .map(([name]) => name);
  const message = `contains a search with other settings${changed.length === 0 ? '' : ` (${changed.join(', ')})`}`;
  return new CheckpointError('ERR_OUTPUT', 'DifferentSearch', folder, message, {
    hint: 'Choose a new folder, or use the settings of the search that was started there.',
  });
}
