import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { lives, lockFolder, ourselves } from '../../../lib/files/lock.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';

const hasProc = process.platform === 'linux';

/** The number of a process that has ended, and was buried. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ['-e', '0']);
  await once(child, 'exit');
  return child.pid!;
}

describe('lockFolder', () => {
  it('lets one in at a time', async () => {
    const folder = temporaryFolder();
    const lock = await lockFolder(folder);
    const error = await failure(lockFolder(folder));
    expect(error).toMatchObject({ code: 'ERR_OUTPUT', kind: 'InUse' });
    expect(error.message).toContain(`process ${process.pid}`);
    await lock.release();
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
    await (await lockFolder(folder)).release();
  });

  it('names the file to delete if a reused process number cannot be told', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'lock.0123456789abcdef');
    await writeFile(file, JSON.stringify({ ...ourselves(), start: undefined }));
    expect((await failure(lockFolder(folder))).hint).toContain(`delete ${file}`);
  });

  it('never lets two in, however many start at once', async () => {
    const folder = temporaryFolder();
    let inside = 0;
    let entered = 0;
    const contender = async () => {
      try {
        const lock = await lockFolder(folder);
        expect(++inside).toBe(1);
        entered++;
        await new Promise((resolve) => setTimeout(resolve, 5));
        inside--;
        await lock.release();
      } catch (error) {
        expect(error).toMatchObject({ kind: 'InUse' });
      }
    };
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 6 }, contender));
    expect(entered).toBeGreaterThan(0);
    expect(await readdir(folder)).toEqual([]);
  });

  it('takes over from the dead, and sweeps up after them', async () => {
    const folder = temporaryFolder();
    const dead = { ...ourselves(), pid: await deadPid() };
    await writeFile(join(folder, 'lock.0123456789abcdef'), JSON.stringify(dead));
    await writeFile(join(folder, 'lock.fedcba9876543210'), '');
    await writeFile(join(folder, 'new-lock.lock.0000'), JSON.stringify(dead));
    const lock = await lockFolder(folder);
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^lock\.[0-9a-f]{16}$/)]);
    await lock.release();
  });

  it('does not judge other hosts, and names the file to delete', async () => {
    const folder = temporaryFolder();
    const file = join(folder, 'lock.0123456789abcdef');
    await writeFile(file, JSON.stringify({ ...ourselves(), pid: await deadPid(), host: 'elsewhere' }));
    const error = await failure(lockFolder(folder));
    expect(error.message).toContain('of "elsewhere"');
    expect(error.hint).toContain(file);
    expect(await readdir(folder)).toEqual(['lock.0123456789abcdef']);
  });

  it('reports a missing folder', async () => {
    expect(await kind(lockFolder(join(temporaryFolder(), 'none')))).toBe('NotFound');
  });
});

describe('lives', () => {
  const here = ourselves();

  it('knows this process', () => {
    expect(here).toMatchObject({ pid: process.pid, host: hostname() });
    expect(lives(here)).toBe(true);
  });

  it.skipIf(!hasProc)('is not deceived by a number given out again (skipped without /proc)', () => {
    expect(here.start).toMatch(/^\d+$/);
    expect(lives({ ...here, start: '1' })).toBe(false);
  });

  it.skipIf(!hasProc)('takes an unburied process for dead (skipped without /proc)', async () => {
    // A shell that has become `sleep` never buries the child it began before, which waits until it
    // has.
    const child = '(until read name </proc/$$/comm && [ "$name" = sleep ]; do sleep 0.01; done) & echo $!';
    const parent = spawn('sh', ['-c', `${child}; exec sleep 60`], { stdio: ['ignore', 'pipe', 'ignore'] });
    try {
      const [text] = (await once(parent.stdout!, 'data')) as [Buffer];
      const pid = Number(text);
      await vi.waitFor(() => expect(readFileSync(`/proc/${pid}/stat`, 'utf8')).toMatch(/\) Z /), 10_000);
      expect(() => process.kill(pid, 0)).not.toThrow();
      expect(lives({ ...here, pid, start: '1' })).toBe(false);
    } finally {
      parent.kill();
    }
  });

  it('knows that a restart ends all processes, and that containers have numbers of their own', () => {
    const other = { ...here, pid: 2 ** 22 + 1 };
    expect(lives(other, here)).toBe(false);
    expect(lives({ ...here, boot: 'then' }, { ...here, boot: 'now' })).toBe(false);
    expect(lives({ ...other, space: 'pid:[1]' }, { ...here, space: 'pid:[2]' })).toBe(true);
    expect(lives({ ...other, host: 'elsewhere' }, here)).toBe(true);
  });
});
