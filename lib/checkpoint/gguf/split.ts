import { basename, dirname, join } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { MAX_SHARDS } from '../../files/limits.js';
import type { FileCheck } from '../format.js';
import { GgufFile } from './file.js';
import { parseSplitName, splitName } from './split-name.js';

/*
 * A model that llama-gguf-split has cut: `<prefix>-00001-of-00003.gguf` and so on. Each file states
 * its number (`split.no`, from 0), the number of files (`split.count`), and the number of tensors
 * in all files (`split.tensors.count`). The first file has the metadata of the model.
 */

/** The files of a model by their plain names, in order; the first has the model's metadata. */
export type GgufFiles = ReadonlyMap<string, GgufFile>;

/**
 * Opens a GGUF file and, if it is one of several files of a model, all others.
 *
 * @param check for the other files, see {@link FileCheck}
 * @throws CheckpointError kinds `MissingShard`, `InvalidSplit`, `TooManyShards`, and as
 *   `GgufFile.open`.
 */
export async function openFiles(file: string, check: FileCheck): Promise<GgufFiles> {
  const given = await GgufFile.open(file);
  const files = new Map([[basename(file), given]]);
  try {
    const count = given.header.metadata.wholeNumber('split.count') ?? 1;
    if (count <= 1) return files;
    const names = namesOf(file, count);
    for (const name of names) {
      if (!files.has(name)) files.set(name, await openPart(join(dirname(file), name), given, check));
    }
    const ordered = new Map(names.map((name) => [name, files.get(name)!]));
    checkSplit([...ordered.values()]);
    return ordered;
  } catch (cause) {
    await closeAll(files);
    throw cause;
  }
}

export async function closeAll(files: GgufFiles): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close()));
}

function namesOf(file: string, count: number): string[] {
  if (count > MAX_SHARDS) {
    throw new CheckpointError(
      'ERR_CHECKPOINT_FORMAT',
      'TooManyShards',
      file,
      `states that it is one of ${count} files`,
    );
  }
  const own = parseSplitName(basename(file));
  if (own === undefined || own.count !== count || own.number < 1 || own.number > count) {
    const example = splitName({ prefix: '<name>', number: 1, count });
    throw fault(file, `is one of ${count} files of a model, but the others cannot be found by its name`, {
      hint: `Name them all like llama-gguf-split: ${example} and so on.`,
    });
  }
  return Array.from({ length: count }, (_, i) => splitName({ ...own, number: i + 1 }));
}

async function openPart(file: string, given: GgufFile, check: FileCheck): Promise<GgufFile> {
  try {
    // Reports what the file is if it is not GGUF at all.
    await check(file);
    return await GgufFile.open(file);
  } catch (cause) {
    if (!(cause instanceof CheckpointError) || cause.kind !== 'NotFound') throw cause;
    const message = `is missing, but ${basename(given.file)} is a part of the same model`;
    throw new CheckpointError('ERR_CHECKPOINT_IO', 'MissingShard', file, message, {
      hint: 'Download the missing file.',
      cause,
    });
  }
}

function checkSplit(files: readonly GgufFile[]): void {
  const said = files[0]!.header.metadata.wholeNumber('split.tensors.count');
  for (const [i, { file, header }] of files.entries()) {
    const { metadata } = header;
    const number = metadata.wholeNumber('split.no');
    const count = metadata.wholeNumber('split.count');
    if (number !== i || count !== files.length) {
      const found = `split.no ${describe(number)} of split.count ${describe(count)}`;
      throw fault(file, `has ${found}, but its name states ${i} of ${files.length}`, OTHER_MODEL);
    }
    const total = metadata.wholeNumber('split.tensors.count');
    if (total !== said) {
      throw fault(
        file,
        `states that the model has ${describe(total)} tensors, but the first file states ${describe(said)}`,
        OTHER_MODEL,
      );
    }
  }
  const total = files.reduce((sum, { header }) => sum + header.tensors.length, 0);
  if (said !== undefined && total !== said) {
    throw fault(files[0]!.file, `states that the model has ${said} tensors, but its files have ${total}`, OTHER_MODEL);
  }
}

const OTHER_MODEL = { hint: 'The files may belong to different models: download or split all of them again.' };

function fault(file: string, message: string, options: { hint: string }): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT_FORMAT', 'InvalidSplit', file, message, options);
}
