import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { CheckpointError } from '../errors.js';
import { type DocumentKind, parseDocument } from './document.js';
import { ioError, readSmallFile } from './files.js';
import { MAX_LOCK_BYTES } from './limits.js';
import { patiently } from './patiently.js';
import { aDecimal, aName, aWhole, object, optional } from './schema.js';

/**
 * The owner of a lock, with enough to find out later, and from outside, whether that process is
 * alive.
 */
interface Holder {
  readonly pid: number;
  /**
   * The start time of the process in the kernel's ticks, so that a reused number is not mistaken
   * for it.
   */
  readonly start: string | undefined;
  readonly host: string;
  /** The host's current boot: after a restart no earlier process is alive. */
  readonly boot: string | undefined;
  /** The namespace of `pid`: containers of one host have their own. */
  readonly space: string | undefined;
}

/** A lock that a process holds on a folder. */
export interface Lock {
  /** Releases the folder. Harmless when called twice. */
  release(): Promise<void>;
}

const PREFIX = 'lock.';
/**
 * The prefix of a lock that is being written: it never counts, and whoever gets the lock removes
 * it.
 */
const UNFINISHED = 'new-lock.';
/**
 * Two processes that start at the same moment see each other and both step back; then chance
 * decides.
 */
const ATTEMPTS = 4;
const PAUSE_MS = 40;

/**
 * Locks a folder for this process against all others.
 *
 * Every process writes its own file and only then looks for others. Of two processes, the one that
 * looks later sees the file of the other, whatever the order of their steps, so they never both
 * hold the lock. For the same reason it does not matter who removes the file of a dead process. A
 * file appears complete, by renaming.
 *
 * @throws {@link CheckpointError} `ERR_OUTPUT`, kind `InUse`, naming process and host, if the lock
 *   is held by a live process, or by a process of another host, which cannot be checked; kind
 *   `InvalidLock` for a lock that cannot be understood.
 */
export async function lockFolder(folder: string): Promise<Lock> {
  const name = PREFIX + randomBytes(8).toString('hex');
  const own = join(folder, name);
  for (let attempt = 1; ; attempt++) {
    await putDown(folder, name);
    let other: { file: string; holder: Holder } | undefined;
    try {
      other = await liveOther(folder, name);
      if (other === undefined) await sweep(folder, name);
    } catch (cause) {
      await remove(own);
      throw cause;
    }
    if (other === undefined) return { release: () => remove(own) };
    await remove(own);
    if (attempt === ATTEMPTS) throw inUse(folder, other.file, other.holder);
    await pause(PAUSE_MS * (0.5 + Math.random()) * attempt);
  }
}

/** @internal This process. */
export function ourselves(): Holder {
  return {
    pid: process.pid,
    start: startOf(process.pid),
    host: hostname(),
    boot: readKernel('/proc/sys/kernel/random/boot_id'),
    space: processSpace(),
  };
}

/**
 * Whether an owner is alive. Also true if that cannot be found out from here: treating a live
 * process as dead would let two write to the same files.
 *
 * @internal
 */
export function lives(holder: Holder, here: Holder = ourselves()): boolean {
  if (holder.host !== here.host) return true;
  if (holder.boot !== here.boot) return holder.boot === undefined || here.boot === undefined;
  if (holder.space !== here.space) return true;
  try {
    // Signal 0 only checks that the process exists.
    process.kill(holder.pid, 0);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  if (holder.start === undefined || here.start === undefined) return true;
  return startOf(holder.pid) === holder.start;
}

async function putDown(folder: string, name: string): Promise<void> {
  const unfinished = join(folder, UNFINISHED + name);
  try {
    const handle = await open(unfinished, 'wx', 0o600);
    try {
      await handle.writeFile(JSON.stringify(ourselves()));
      // After a power loss an unsynced file could be empty and name no owner.
      await handle.sync();
    } finally {
      await handle.close();
    }
    await patiently(() => rename(unfinished, join(folder, name)));
  } catch (cause) {
    await rm(unfinished, { force: true }).catch(() => undefined);
    throw ioError(folder, 'cannot be locked', cause);
  }
}

async function liveOther(folder: string, own: string): Promise<{ file: string; holder: Holder } | undefined> {
  for (const name of await locksIn(folder)) {
    if (name === own || !name.startsWith(PREFIX)) continue;
    const holder = await readHolder(join(folder, name));
    if (holder !== undefined && lives(holder)) return { file: join(folder, name), holder };
  }
  return undefined;
}

/** Removes the locks of dead processes. */
async function sweep(folder: string, own: string): Promise<void> {
  for (const name of await locksIn(folder)) {
    if (name === own) continue;
    // Another process may have started since we looked: it will see our file, and its own must stay
    // until it has.
    const holder = await readHolder(join(folder, name));
    if (holder === undefined ? name.startsWith(PREFIX) : !lives(holder)) await remove(join(folder, name));
  }
}

/** Removes a lock; harmless if it is gone. */
function remove(file: string): Promise<void> {
  return patiently(() => rm(file, { force: true }));
}

async function locksIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).filter((name) => name.startsWith(PREFIX) || name.startsWith(UNFINISHED));
  } catch (cause) {
    throw ioError(folder, 'cannot be listed', cause);
  }
}

const LOCK: DocumentKind = {
  what: 'lock',
  limit: MAX_LOCK_BYTES,
  check: object({
    pid: aWhole(1, 2 ** 31 - 1),
    start: optional(aDecimal),
    host: aName,
    boot: optional(aName),
    space: optional(aName),
  }),
  code: 'ERR_OUTPUT',
  kind: 'InvalidLock',
  hint: 'If no job of this package is running there, delete it.',
};

/**
 * Reads a lock; returns undefined if the file is gone, empty, or still being written.
 *
 * @throws CheckpointError `ERR_OUTPUT`, kind `InvalidLock`, for a lock that is not ours: its owner
 *   is unknown.
 */
async function readHolder(file: string): Promise<Holder | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readSmallFile(file, LOCK.limit);
  } catch (cause) {
    if (cause instanceof CheckpointError && cause.kind === 'NotFound') return undefined;
    throw cause;
  }
  if (bytes.length === 0) return undefined;
  try {
    return parseDocument(bytes, file, LOCK) as Holder;
  } catch (cause) {
    if (basename(file).startsWith(UNFINISHED)) return undefined;
    throw cause;
  }
}

function inUse(folder: string, file: string, holder: Holder): CheckpointError {
  const here = ourselves();
  const near = holder.host === here.host && holder.space === here.space;
  const message = `is being written by process ${holder.pid}${near ? '' : ` of ${JSON.stringify(holder.host)}`}`;
  const wait = 'Wait until it has finished, or stop it.';
  // Without a start time, which only Linux tells, another program may have got the number since.
  const reused = holder.start === undefined ? ` If another program has that number by now, delete ${file}` : '';
  const hint = near
    ? wait + reused
    : `It cannot be checked from this machine. If it is no longer running, delete ${file}`;
  return new CheckpointError('ERR_OUTPUT', 'InUse', folder, message, { hint });
}

/**
 * Returns the 22nd field of /proc/<pid>/stat; undefined if there is none, and for a zombie process.
 */
function startOf(pid: number): string | undefined {
  const status = readKernel(`/proc/${pid}/stat`);
  if (status === undefined) return undefined;
  // The second field is the program's name in brackets, which may contain brackets itself.
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function readKernel(file: string): string | undefined {
  try {
    return readFileSync(file, 'latin1').trim();
  } catch {
    return undefined;
  }
}

function processSpace(): string | undefined {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return undefined;
  }
}
