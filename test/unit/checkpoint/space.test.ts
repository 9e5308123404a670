import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { copyForEdit } from '../../../lib/checkpoint/copy/copy-for-edit.js';
import { open } from '../../../lib/checkpoint/open.js';
import { requireSpace } from '../../../lib/files/space.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { made } from '../../support/safetensors.js';

const { statfs, copyFile } = fs;
afterEach(() => patch({ statfs, copyFile }));

/** Replaces functions of node:fs/promises for whoever has imported them. */
function patch(functions: object): void {
  Object.assign(fs, functions);
  syncBuiltinESMExports();
}

const withFree = (free: number) =>
  patch({ statfs: async () => ({ blocks: 10n ** 9n, bsize: 1n, bfree: BigInt(free), bavail: BigInt(free) }) });

describe('requireSpace', () => {
  it('names the needed and the free space, with a hint', async () => {
    const out = join(temporaryFolder(), 'out');
    withFree(4_000_000);
    await requireSpace(out, { bytes: 4_000_000 });
    expect(await failure(requireSpace(out, { bytes: 10_500_000 }))).toMatchObject({
      code: 'ERR_CHECKPOINT_IO',
      kind: 'NoSpace',
      file: out,
      hint: 'Free 6.5 MB, or write to another disk.',
      message: `${out}: no space left on the disk: 10500000 bytes needed, 4000000 free`,
    });
  });

  it('asks the real file system', async () => {
    const out = join(temporaryFolder(), 'out');
    await requireSpace(out, { bytes: 1 });
    expect(await failure(requireSpace(out, { bytes: 2 ** 60 }))).toMatchObject({ kind: 'NoSpace' });
  });

  it.each([
    ['0 of everything', async () => ({ blocks: 0n, bsize: 4096n, bfree: 0n, bavail: 0n })],
    ['nothing', async () => Promise.reject(new Error('ENOSYS'))],
  ])('lets the job try where the file system says %s', async (_, says) => {
    patch({ statfs: says });
    await requireSpace(join(temporaryFolder(), 'out'), { bytes: 2 ** 60 });
  });

  it('counts only changes if blocks can be shared, and leaves nothing of the attempt', async () => {
    const folder = temporaryFolder();
    const out = join(folder, 'out');
    const from = join(folder, 'from');
    await fs.writeFile(from, 'weights');
    withFree(1000);
    const demand = { bytes: 2000, shared: { from, bytes: 900 } };
    // Where they cannot, FICLONE_FORCE fails.
    patch({ copyFile: async () => Promise.reject(new Error('ENOTSUP')) });
    await expect(requireSpace(out, demand)).rejects.toThrow('2000 bytes needed');
    patch({ copyFile: (a: string, b: string) => copyFile(a, b) });
    await requireSpace(out, demand);
    await expect(requireSpace(out, { ...demand, shared: { from, bytes: 1001 } })).rejects.toThrow('1001 bytes');
    expect(await fs.readdir(folder)).toEqual(['from']);
  });
});

describe('a copy', () => {
  it('is refused before anything is created, and needs only the missing part when it resumes', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'in.safetensors');
    const data = 'x'.repeat(100_000);
    await fs.writeFile(path, made({ a: { dtype: 'U8', shape: [100_000], data_offsets: [0, 100_000] } }, data));
    const checkpoint = await open(path);
    const out = join(folder, 'out.safetensors');
    const events: string[] = [];
    const options = {
      changes: new Map([['a', { as: 'U8' }]] as const),
      job: { description: 1 },
      onCopy: () => events.push('copy'),
    };
    withFree(50_000);
    expect(await failure(copyForEdit(checkpoint, out, options))).toMatchObject({ kind: 'NoSpace', file: out });
    expect([events, await fs.readdir(folder)]).toEqual([[], ['in.safetensors']]);

    withFree(150_000);
    const copy = await copyForEdit(checkpoint, out, options);
    await copy.write('a', Buffer.alloc(100_000, 'y'));
    await copy.abandon(Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' }));
    expect(events).toEqual(['copy']);

    withFree(3000);
    const again = await copyForEdit(checkpoint, out, options);
    expect(again.resumed).toEqual({ tensors: 1, bytes: 100_000 });
    await again.commit();
    expect((await fs.readdir(folder)).sort()).toEqual(['in.safetensors', 'out.safetensors']);
    await checkpoint.close();
  });
});
