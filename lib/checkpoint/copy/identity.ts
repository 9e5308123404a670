import { stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { CheckpointError, LowRankError } from '../../errors.js';
import { ioError } from '../../files/files.js';
import { digestOfJson } from '../../files/journal.js';
import type { Checkpoint, TensorInfo } from '../checkpoint.js';
import type { NamedRange } from '../format.js';
import { formatNamed } from '../formats.js';
import { open } from '../open.js';
import { locate, weightFile } from './entries.js';

/** Detects whether the weights changed since the checkpoint was opened, without reading them. */
export interface Identity {
  /** Covers names, sizes and times of the weight files, and everything known about the tensors. */
  readonly digest: string;
  readonly files: readonly { readonly file: string; readonly size: string; readonly modified: string }[];
}

/**
 * Records names, sizes and times of the weight files, to the nanosecond if the file system has
 * them.
 */
export async function identify(checkpoint: Checkpoint): Promise<Identity> {
  const { isFolder } = await locate(checkpoint);
  const { path, main } = checkpoint;
  const used = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  // A graph whose weights are all in other files, the first of split files, an index.
  if (main !== path) used.add(relative(path, main).split(sep).join('/'));
  const names = [...used].sort();
  const files = await Promise.all(
    names.map(async (file) => {
      const path = weightFile(checkpoint, file, isFolder);
      try {
        const { size, mtimeNs } = await stat(path, { bigint: true });
        return { file, size: String(size), modified: String(mtimeNs) };
      } catch (cause) {
        throw ioError(path, 'cannot be looked up', cause);
      }
    }),
  );
  const headers = digestOfJson([checkpoint.format, ...checkpoint.tensors.values()]);
  return { digest: digestOfJson({ files, headers }), files };
}

/**
 * Checks that the weight files have not changed.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `Changed`, if one has.
 */
export async function checkIdentity(checkpoint: Checkpoint, before: Identity): Promise<void> {
  const now = await identify(checkpoint);
  if (now.digest === before.digest) return;
  const index = before.files.findIndex(({ size, modified }, i) => {
    const other = now.files[i];
    return size !== other?.size || modified !== other.modified;
  });
  throw changed(checkpoint, before.files[index]?.file);
}

/**
 * Reopens the source and checks that its tensors are still at the same positions: new bytes are
 * written to the positions that were found when it was opened.
 *
 * @throws CheckpointError `ERR_CHECKPOINT_IO`, kind `Changed`.
 */
export async function checkPlaces(checkpoint: Checkpoint): Promise<void> {
  const { placesIn } = formatNamed(checkpoint.format);
  if (placesIn !== undefined) {
    // Check each file separately: which files of a folder are the weights was decided when it was
    // opened.
    const { isFolder } = await locate(checkpoint);
    for (const [file, expected] of byFile(checkpoint)) {
      const found = await reread(checkpoint, file, () => placesIn(weightFile(checkpoint, file, isFolder)));
      if (!samePlaces(found, expected)) throw changed(checkpoint, file);
    }
    return;
  }
  const found = await reread(checkpoint, undefined, async () => {
    const now = await open(checkpoint.main);
    await now.close();
    return [...now.tensors.values()];
  });
  if (!samePlaces(found, [...checkpoint.tensors.values()])) throw changed(checkpoint, undefined);
}

async function reread(
  checkpoint: Checkpoint,
  file: string | undefined,
  read: () => Promise<readonly NamedRange[]>,
): Promise<readonly NamedRange[]> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof LowRankError && cause.code !== 'ERR_CHECKPOINT_IO') throw changed(checkpoint, file, cause);
    throw cause;
  }
}

function samePlaces(found: readonly NamedRange[], expected: readonly NamedRange[]): boolean {
  return (
    found.length === expected.length &&
    found.every(({ name, offset, bytes }, i) => {
      const other = expected[i]!;
      return name === other.name && offset === other.offset && bytes === other.bytes;
    })
  );
}

function byFile(checkpoint: Checkpoint): Map<string, TensorInfo[]> {
  const files = new Map<string, TensorInfo[]>();
  for (const info of checkpoint.tensors.values()) {
    const infos = files.get(info.file);
    if (infos === undefined) files.set(info.file, [info]);
    else infos.push(info);
  }
  return files;
}

function changed(checkpoint: Checkpoint, file: string | undefined, cause?: unknown): CheckpointError {
  const path = file === undefined || file === basename(checkpoint.path) ? checkpoint.path : join(checkpoint.path, file);
  return new CheckpointError('ERR_CHECKPOINT_IO', 'Changed', path, 'has changed since it was opened', {
    hint: 'Let nothing write to the checkpoint while a job reads it.',
    cause,
  });
}
