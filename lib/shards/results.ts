import { mkdir, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { EditedMatrix } from '../edit/apply-to-tensor.js';
import { LowRankError } from '../errors.js';
import { writeAtomically } from '../files/atomic.js';
import { type DocumentKind, parseDocument, toJson } from '../files/document.js';
import { ioError, openFile, readAt, readSmallFile } from '../files/files.js';
import { digestOf } from '../files/journal.js';
import { MAX_RECORD_BYTES } from '../files/limits.js';
import { aDigest, aName, aWhole, type Check, exactly, object } from '../files/schema.js';
import type { Edit } from '../interventions/edit.js';
import { editedMatrices } from '../interventions/schema.js';

/** The record of a task's result. */
export interface ResultRecord {
  /** The plan's digest: results of other plans do not count. */
  readonly job: string;
  readonly task: number;
  readonly tensor: string;
  /** The digest of the edited tensor in the source. */
  readonly sourceSha256: string;
  /** The digest of the new bytes; also the name of their file. */
  readonly sha256: string;
  readonly bytes: number;
  /** The kernels of the machine that computed it. */
  readonly kernel: string;
  readonly edited: readonly EditedMatrix[];
}

/** Checks the `ResultRecord` of a task with these edits. */
const recordOf = (group: readonly Edit[]) =>
  object({
    job: aDigest,
    task: aWhole(),
    tensor: exactly(group[0]!.tensor),
    sourceSha256: aDigest,
    sha256: aDigest,
    bytes: aWhole(),
    kernel: aName,
    edited: editedMatrices(group),
  });

const RECORD: Omit<DocumentKind, 'check'> = {
  what: 'result',
  limit: MAX_RECORD_BYTES,
  code: 'ERR_CHECKPOINT_FORMAT',
  kind: 'InvalidResult',
  hint: 'Delete it, and run its shard again.',
};

/**
 * The results of a plan's tasks in a folder: the new bytes of each tensor in a file named by their
 * SHA-256, and for each task a record, named by the task and by its own SHA-256. Files appear
 * complete, by renaming, so any number of processes may write at once, even the same task twice.
 */
export class Results {
  constructor(readonly folder: string) {}

  /** Returns the folder that belongs to a plan's file: `plan.json` has `plan.results`. */
  static beside(plan: string): Results {
    return new Results(join(dirname(plan), `${basename(plan).replace(/\.json$/, '')}.results`));
  }

  /**
   * Returns a task's result, if there is one that matches its names. Reads and verifies its bytes.
   *
   * @param group the task's edits
   * @throws CheckpointError `ERR_CHECKPOINT_FORMAT`, kind `InvalidResult`, for a record of this
   *   task whose digests match, but which no run of this task can have written.
   */
  async find(
    job: string,
    task: number,
    group: readonly Edit[],
  ): Promise<{ record: ResultRecord; bytes: Uint8Array } | undefined> {
    for (const name of await this.names()) {
      if (!name.startsWith(`task-${task}.`) || !name.endsWith('.json')) continue;
      const record = await this.readRecord(name, job, task, group);
      if (record === undefined) continue;
      const bytes = await this.readBytes(record);
      if (bytes !== undefined) return { record, bytes };
    }
    return undefined;
  }

  /** Returns the tasks that have a record, valid or not. */
  async recorded(): Promise<ReadonlySet<number>> {
    return new Set((await this.names()).flatMap((name) => /^task-(\d+)\./.exec(name)?.slice(1).map(Number) ?? []));
  }

  async add(record: Omit<ResultRecord, 'sha256' | 'bytes'>, bytes: Uint8Array): Promise<ResultRecord> {
    try {
      await mkdir(this.folder, { recursive: true });
    } catch (cause) {
      throw ioError(this.folder, 'cannot be created', cause);
    }
    const whole: ResultRecord = { ...record, sha256: await digestOf(bytes), bytes: bytes.length };
    await this.put(nameOfBytes(whole.sha256), bytes);
    const text = Buffer.from(toJson(whole));
    await this.put(`task-${record.task}.${await digestOf(text)}.json`, text);
    return whole;
  }

  private async names(): Promise<string[]> {
    try {
      return (await readdir(this.folder)).sort();
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw ioError(this.folder, 'cannot be listed', cause);
    }
  }

  private async readRecord(
    name: string,
    job: string,
    task: number,
    group: readonly Edit[],
  ): Promise<ResultRecord | undefined> {
    const file = join(this.folder, name);
    const text = await readSmallFile(file, MAX_RECORD_BYTES);
    if (name.split('.')[1] !== (await digestOf(text))) return undefined;
    const record = recordOf(group);
    // Records of other plans, perhaps by other versions, are not ours to judge.
    const isOurs = (value: unknown) => Object(value).job === job && Object(value).task === task;
    const check: Check = (value, at) => (isOurs(value) ? record(value, at) : undefined);
    const value = parseDocument(text, file, { ...RECORD, check });
    return isOurs(value) ? (value as ResultRecord) : undefined;
  }

  private async readBytes({ sha256, bytes }: ResultRecord): Promise<Uint8Array | undefined> {
    const file = join(this.folder, nameOfBytes(sha256));
    let opened: Awaited<ReturnType<typeof openFile>>;
    try {
      opened = await openFile(file);
    } catch (cause) {
      if (cause instanceof LowRankError && 'kind' in cause && cause.kind === 'NotFound') return undefined;
      throw cause;
    }
    try {
      if (opened.size !== bytes) return undefined;
      const found = await readAt(opened.handle, file, 0, bytes);
      return (await digestOf(found)) === sha256 ? found : undefined;
    } finally {
      await opened.handle.close();
    }
  }

  /** Replaces an equal file that another process may have written meanwhile. */
  private put(name: string, bytes: Uint8Array): Promise<void> {
    return writeAtomically(join(this.folder, name), bytes, { replace: true });
  }
}

function nameOfBytes(sha256: string): string {
  return `${sha256}.tensor`;
}
