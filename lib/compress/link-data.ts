import { constants } from 'node:fs';
import { copyFile, link, mkdir } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Checkpoint } from '../checkpoint/checkpoint.js';

/**
 * Brings a model's external data to the folder of a changed model, without copying where the file
 * systems allow it.
 */
export async function linkData({ path, main, tensors }: Checkpoint, folder: string): Promise<void> {
  const files = new Set([...tensors.values()].map(({ file }) => join(path, file)));
  for (const file of files) {
    if (file === main || main === path) continue;
    const target = join(folder, relative(dirname(main), file));
    await mkdir(dirname(target), { recursive: true });
    await link(file, target).catch(() => copyFile(file, target, constants.COPYFILE_FICLONE));
  }
}
