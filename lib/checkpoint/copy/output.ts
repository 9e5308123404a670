import { realpath } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { CheckpointError, describe } from '../../errors.js';
import { absolutePath, exists, ioError, refuseExisting } from '../../files/files.js';
import type { Checkpoint } from '../checkpoint.js';
import { FORMATS } from '../formats.js';
import { isInside, locate } from './entries.js';
import { workFolder } from './staging.js';

/**
 * Checks before a long job that a copy of the checkpoint may be written to `out`.
 *
 * @throws CheckpointError `ERR_OUTPUT`, as `copyForEdit`.
 */
export async function requireOutput(
  checkpoint: Pick<Checkpoint, 'path' | 'tensors'>,
  out: string,
): Promise<{ readonly target: string; readonly isFolder: boolean }> {
  const target = absolutePath(out);
  const { source, isFolder } = await locate(checkpoint);
  if (!isFolder && /[/\\]$/.test(out)) {
    throw new CheckpointError('ERR_OUTPUT', 'OutputIsFolder', out, 'names a folder, but the checkpoint is a file', {
      hint: `Add the name of the copy, such as ${join(out, basename(source))}.`,
    });
  }
  await checkOutput(checkpoint, source, isFolder, target);
  // With unfinished work, the output may be this job's own, with only the cleanup left.
  if (!(await exists(workFolder(target)))) await refuseExisting(target);
  return { target, isFolder };
}

const WEIGHT_ENDINGS = new Set<string>(FORMATS.map(({ ending }) => ending));

async function checkOutput(
  checkpoint: Pick<Checkpoint, 'path' | 'tensors'>,
  source: string,
  isFolder: boolean,
  out: string,
): Promise<void> {
  const fault = (kind: string, message: string, hint: string) =>
    new CheckpointError('ERR_OUTPUT', kind, out, message, { hint });
  let parent: string;
  try {
    parent = await realpath(dirname(out));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw ioError(dirname(out), 'cannot be opened', cause);
    throw fault('NoFolder', `the folder ${dirname(out)} does not exist`, 'Create it first.');
  }
  const real = join(parent, basename(out));
  const existing = await realpath(out).catch(() => real);
  if (existing === source) throw fault('OutputIsInput', 'is the checkpoint itself', 'Choose another path.');
  if (isInside(source, existing)) throw fault('OutputHoldsInput', 'contains the checkpoint', 'Choose a new path.');
  const work = workFolder(real);
  if (source === work || isInside(source, work)) {
    throw fault('OutputHoldsInput', `is made in ${work}, where the checkpoint lies`, 'Choose another path.');
  }
  if (isFolder && isInside(existing, source)) {
    throw fault('OutputInsideInput', `is inside the checkpoint ${source}`, 'Choose a path outside it.');
  }
  if (isFolder && WEIGHT_ENDINGS.has(extname(out)) && !(await exists(out))) {
    const hint = 'Pass the name of a folder, or open the single file in it.';
    throw fault('OutputIsFile', 'names a file, but the checkpoint is a folder, and so is its copy', hint);
  }
  const files = new Set([...checkpoint.tensors.values()].map(({ file }) => file));
  files.add(basename(checkpoint.path));
  if (!isFolder && files.size > 1) {
    const message = `would be one file, but the checkpoint is several: ${[...files].slice(0, 3).map(describe).join(', ')}`;
    throw fault('SeveralFiles', message, 'Open the folder of the checkpoint instead.');
  }
}
