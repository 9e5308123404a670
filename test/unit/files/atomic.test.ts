import type { FileHandle } from 'node:fs/promises';
import { lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { makeFolderAtomically, writeAtomically } from '../../../lib/files/atomic.js';
import { temporaryFolder } from '../../support/folder.js';

const steps: string[] = [];
let faults: Partial<Record<'write' | 'link', string>> = {};

function failIfAsked(step: 'write' | 'link'): void {
  if (faults[step] !== undefined) throw Object.assign(new Error(step), { code: faults[step] });
}

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const watched = (handle: FileHandle): FileHandle =>
    new Proxy(handle, {
      get(target, key) {
        const value = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          if (key === 'write') failIfAsked('write');
          if (key === 'write' || key === 'sync' || key === 'close') steps.push(key);
          return value.apply(target, args);
        };
      },
    });
  return {
    ...real,
    open: async (...args: Parameters<typeof real.open>) => watched(await real.open(...args)),
    link: async (...args: Parameters<typeof real.link>) => {
      failIfAsked('link');
      steps.push('link');
      return real.link(...args);
    },
    rename: async (...args: Parameters<typeof real.rename>) => {
      steps.push('rename');
      return real.rename(...args);
    },
  };
});

let folder: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  steps.length = 0;
  faults = {};
});

describe('writeAtomically', () => {
  it('writes text, bytes and several parts, and leaves nothing else behind', async () => {
    await writeAtomically(join(folder, 'text'), 'Größe\n');
    await writeAtomically(join(folder, 'bytes'), Uint8Array.of(1, 2, 3));
    await writeAtomically(join(folder, 'parts'), [Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3)]);
    await writeAtomically(join(folder, 'empty'), '');
    expect(await readFile(join(folder, 'text'), 'utf8')).toBe('Größe\n');
    expect([...(await readFile(join(folder, 'bytes')))]).toEqual([1, 2, 3]);
    expect([...(await readFile(join(folder, 'parts')))]).toEqual([1, 2, 3]);
    expect((await readdir(folder)).sort()).toEqual(['bytes', 'empty', 'parts', 'text']);
  });

  it.each([
    [{}, 'link'],
    [{ replace: true }, 'rename'],
  ])('syncs the bytes before the name appears, and the folder after it (%o)', async (options, publish) => {
    await writeAtomically(join(folder, 'file'), 'x', options);
    expect(steps).toEqual(['write', 'sync', 'close', publish, 'sync', 'close']);
  });

  it('replaces a file only if allowed', async () => {
    const file = join(folder, 'file');
    await writeFile(file, 'old');
    await expect(writeAtomically(file, 'new')).rejects.toMatchObject({ code: 'ERR_OUTPUT', kind: 'OutputExists' });
    expect(await readFile(file, 'utf8')).toBe('old');
    await writeAtomically(file, 'new', { replace: true });
    expect(await readFile(file, 'utf8')).toBe('new');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('does not write through a link that leads nowhere', async () => {
    await symlink(join(folder, 'elsewhere'), join(folder, 'file'));
    await expect(writeAtomically(join(folder, 'file'), 'x')).rejects.toMatchObject({ kind: 'OutputExists' });
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('publishes on file systems without hard links, and still replaces nothing', async () => {
    faults = { link: 'EPERM' };
    const file = join(folder, 'file');
    await writeAtomically(file, 'x');
    expect(steps).toContain('rename');
    await expect(writeAtomically(file, 'y')).rejects.toMatchObject({ kind: 'OutputExists' });
    expect(await readFile(file, 'utf8')).toBe('x');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('leaves the old file and no temporary one when the disk is full', async () => {
    const file = join(folder, 'file');
    await writeFile(file, 'old');
    faults = { write: 'ENOSPC' };
    const written = writeAtomically(file, 'new', { replace: true });
    await expect(written).rejects.toMatchObject({ code: 'ERR_CHECKPOINT_IO', kind: 'NoSpace', file });
    expect(await readFile(file, 'utf8')).toBe('old');
    expect(await readdir(folder)).toEqual(['file']);
  });

  it('names the file, not its temporary name, if the folder is missing', async () => {
    const file = join(folder, 'missing', 'file');
    await expect(writeAtomically(file, 'x')).rejects.toMatchObject({
      code: 'ERR_CHECKPOINT_IO',
      kind: 'NotFound',
      file,
    });
  });

  it('takes a name as long as the file system allows', async () => {
    const file = join(folder, 'n'.repeat(255));
    await writeAtomically(file, 'x');
    expect(await readdir(folder)).toEqual(['n'.repeat(255)]);
  });
});

describe('makeFolderAtomically', () => {
  it('publishes what was filled in, and leaves nothing after a failure', async () => {
    const out = join(folder, 'out');
    const failure = new Error('halfway');
    const failing = makeFolderAtomically(out, async (temporary) => {
      await mkdir(temporary);
      await writeFile(join(temporary, 'a'), 'x');
      throw failure;
    });
    await expect(failing).rejects.toBe(failure);
    expect(await readdir(folder)).toEqual([]);
    await makeFolderAtomically(out, (temporary) => mkdir(temporary));
    expect((await lstat(out)).isDirectory()).toBe(true);
    expect(await readdir(folder)).toEqual(['out']);
  });

  it('never replaces what appeared meanwhile, not even an empty folder', async () => {
    const out = join(folder, 'out');
    const made = makeFolderAtomically(out, async (temporary) => {
      await mkdir(temporary);
      await mkdir(out);
    });
    await expect(made).rejects.toMatchObject({ code: 'ERR_OUTPUT', kind: 'OutputExists' });
    expect(await readdir(folder)).toEqual(['out']);
  });
});
