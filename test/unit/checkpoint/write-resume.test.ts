import { chmod, mkdir, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import { type CopyOptions, copyForEdit } from '../../../lib/checkpoint/copy/copy-for-edit.js';
import { unfinishedWork } from '../../../lib/checkpoint/copy/staging.js';
import { open } from '../../../lib/checkpoint/open.js';
import { failure, kind } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { fill, made } from '../../support/safetensors.js';

const shard = (first: string, second: string) =>
  made(
    {
      [first]: { dtype: 'U8', shape: [3], data_offsets: [0, 3] },
      [second]: { dtype: 'U8', shape: [4], data_offsets: [3, 7] },
    },
    'aaabbbb',
  );
const A = 'model-00001-of-00002.safetensors';
const B = 'model-00002-of-00002.safetensors';
const CHANGES = new Map([
  ['a', { as: 'U8' }],
  ['d', { as: 'U8' }],
] as const);
const job = (description: unknown): CopyOptions => ({
  changes: CHANGES,
  job: { description, settings: { chosen: 1 } },
});
/** What stands for a disk that is full for a while. */
const FULL = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });

async function source(): Promise<{ root: string; folder: string; out: string; checkpoint: Checkpoint }> {
  const root = temporaryFolder();
  const folder = join(root, 'in');
  await mkdir(join(folder, 'more'), { recursive: true });
  await fill(folder, {
    [A]: shard('a', 'b'),
    [B]: shard('c', 'd'),
    'model.safetensors.index.json': JSON.stringify({ weight_map: { a: A, b: A, c: B, d: B } }),
    'config.json': '{}',
    'more/notes.txt': 'notes',
  });
  return { root, folder, out: join(root, 'out'), checkpoint: await open(folder) };
}

/** Does one of two tensors and stops. */
async function half(checkpoint: Checkpoint, out: string, options = job('x')): Promise<void> {
  const copy = await copyForEdit(checkpoint, out, options);
  await copy.write('a', Buffer.from('AAA'), { note: 'a', bound: Number.POSITIVE_INFINITY });
  await copy.abandon(FULL);
}

const work = (root: string, ...path: string[]) => join(root, '.out.lowrank', ...path);

describe('a copy that was interrupted', () => {
  it('resumes finished work', async () => {
    const { root, out, checkpoint } = await source();
    await half(checkpoint, out);
    expect((await readdir(root)).sort()).toEqual(['.out.lowrank', 'in']);
    expect(await readdir(work(root))).toEqual(['copy', 'journal']);
    expect(await unfinishedWork(out)).toEqual({ folder: work(root), tensors: 1, bytes: 3 });

    const copy = await copyForEdit(checkpoint, out, { changes: CHANGES, job: { description: 'x', settings: 'other' } });
    expect(copy.resumed).toEqual({ tensors: 1, bytes: 3 });
    expect(copy.settings).toEqual({ chosen: 1 });
    expect(copy.finished('a')).toMatchObject({ note: { note: 'a', bound: Number.POSITIVE_INFINITY } });
    expect(copy.finished('d')).toBeUndefined();
    await copy.write('d', Buffer.from('DDDD'));
    await copy.commit();
    expect((await readdir(root)).sort()).toEqual(['in', 'out']);
    expect((await readFile(join(out, A), 'latin1')).endsWith('AAAbbbb')).toBe(true);
    expect((await readFile(join(out, B), 'latin1')).endsWith('aaaDDDD')).toBe(true);
    expect(await readFile(join(out, 'more', 'notes.txt'), 'utf8')).toBe('notes');
    expect(await unfinishedWork(out)).toBeUndefined();
    await checkpoint.close();
  });

  it('repeats what does not match the journal', async () => {
    const damage: [string, (root: string) => Promise<unknown>, boolean][] = [
      ['nothing', async () => undefined, true],
      ['a finished tensor', (root) => patch(work(root, 'copy', A), -7, 'x'), false],
      ['bytes beside it', (root) => patch(work(root, 'copy', A), -1, 'x'), false],
      ['the header', (root) => patch(work(root, 'copy', A), 12, 'x'), false],
      ['a shorter file', (root) => writeFile(work(root, 'copy', A), 'short'), false],
      ['a longer file', (root) => writeFile(work(root, 'copy', A), 'more', { flag: 'a' }), false],
      ['no file', (root) => rm(work(root, 'copy', A)), false],
      ['a folder', (root) => rm(work(root, 'copy', A)).then(() => mkdir(work(root, 'copy', A))), false],
      [
        'a link',
        (root) => rm(work(root, 'copy', A)).then(() => symlink('../../in/config.json', work(root, 'copy', A))),
        false,
      ],
      ['no copy at all', (root) => rm(work(root, 'copy'), { recursive: true }), false],
      ['another file of weights', (root) => patch(work(root, 'copy', B), -5, 'x'), true],
      ['another file', (root) => writeFile(work(root, 'copy', 'config.json'), '{"x":1}'), true],
      ['strangers', (root) => writeFile(work(root, 'copy', 'more', 'stranger'), 'x'), true],
    ];
    for (const [what, spoil, kept] of damage) {
      const { root, out, checkpoint } = await source();
      await half(checkpoint, out);
      await spoil(root);
      const copy = await copyForEdit(checkpoint, out, job('x'));
      expect([what, copy.finished('a') !== undefined]).toEqual([what, kept]);
      expect([what, copy.resumed]).toEqual([what, kept ? { tensors: 1, bytes: 3 } : { tensors: 0, bytes: 0 }]);
      if (!kept) await copy.write('a', Buffer.from('AAA'));
      await copy.write('d', Buffer.from('DDDD'));
      await copy.commit();
      expect([what, (await readFile(join(out, A), 'latin1')).slice(-7)]).toEqual([what, 'AAAbbbb']);
      expect([what, (await readFile(join(out, B), 'latin1')).slice(-7)]).toEqual([what, 'aaaDDDD']);
      expect(await readFile(join(out, 'config.json'), 'utf8')).toBe('{}');
      expect((await readdir(out)).sort()).toEqual(['config.json', A, B, 'model.safetensors.index.json', 'more']);
      expect(await readdir(join(out, 'more'))).toEqual(['notes.txt']);
      expect(await readFile(join(root, 'in', 'config.json'), 'utf8')).toBe('{}');
      await checkpoint.close();
    }
  });

  it('is not another job, unless restarted', async () => {
    const { root, out, checkpoint } = await source();
    await half(checkpoint, out);
    for (const options of [job('y'), {}]) {
      const error = await failure(copyForEdit(checkpoint, out, options));
      expect(error).toMatchObject({ code: 'ERR_OUTPUT', kind: 'UnfinishedWork' });
      expect(error.message).toContain(work(root));
      expect(error.hint).toContain('--restart');
    }
    expect(await unfinishedWork(out)).toMatchObject({ tensors: 1 });
    const copy = await copyForEdit(checkpoint, out, { ...job('y'), restart: true });
    expect(copy.resumed).toBeUndefined();
    expect(copy.finished('a')).toBeUndefined();
    await copy.discard();
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('refuses a source that changed since', async () => {
    const { root, folder, out, checkpoint } = await source();
    await half(checkpoint, out);
    await utimes(join(folder, B), 1, 1);
    const error = await failure(copyForEdit(checkpoint, out, job('x')));
    expect(error).toMatchObject({ kind: 'UnfinishedWork' });
    expect(error.message).toContain('the source');
    expect(error.hint).toContain('--restart');
    expect(await unfinishedWork(out)).toMatchObject({ tensors: 1 });
    expect((await readdir(root)).sort()).toEqual(['.out.lowrank', 'in']);
    await checkpoint.close();
  });

  it('leaves nothing of a source that changes meanwhile', async () => {
    const { root, folder, out, checkpoint } = await source();
    const copy = await copyForEdit(checkpoint, out, job('x'));
    await copy.write('a', Buffer.from('AAA'));
    await writeFile(join(folder, B), shard('c', 'd'));
    const error = await failure(copy.commit());
    expect(error).toMatchObject({ kind: 'Changed', message: expect.stringContaining(B) });
    await copy.abandon(error);
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });

  it('is finished when only the cleaning up was left', async () => {
    const { root, out, checkpoint } = await source();
    const copy = await copyForEdit(checkpoint, out, job('x'));
    await copy.write('a', Buffer.from('AAA'), 1);
    await copy.write('d', Buffer.from('DDDD'), 2);
    // As if the process ended after the renaming: the journal is still there.
    const saved: { journal?: Buffer } = {};
    await copy.abandon(FULL);
    const again = await copyForEdit(checkpoint, out, job('x'));
    const committing = again.commit();
    while (saved.journal === undefined || !saved.journal.includes('complete')) {
      saved.journal = await readFile(work(root, 'journal')).catch(() => saved.journal ?? Buffer.alloc(0));
      if ((await readdir(root)).includes('out')) break;
    }
    await committing;
    if (!saved.journal.includes('complete')) throw new Error('the last line was not seen');
    await mkdir(work(root), { mode: 0o700 });
    await writeFile(work(root, 'journal'), saved.journal);
    const third = await copyForEdit(checkpoint, out, job('x'));
    expect(third.isFinished).toBe(true);
    expect(third.finished('d')).toMatchObject({ note: 2 });
    await third.commit();
    expect((await readdir(root)).sort()).toEqual(['in', 'out']);

    // But an output that is not this job's result is not touched.
    await mkdir(work(root), { mode: 0o700 });
    await writeFile(work(root, 'journal'), saved.journal);
    await patch(join(out, A), -7, 'x');
    expect(await kind(copyForEdit(checkpoint, out, job('x')))).toBe('OutputExists');
    expect((await readFile(join(out, A), 'latin1')).slice(-7)).toBe('xAAbbbb');
    await checkpoint.close();
  });

  it('keeps finished work when the output appears meanwhile', async () => {
    const { root, out, checkpoint } = await source();
    const copy = await copyForEdit(checkpoint, out, job('x'));
    await copy.write('a', Buffer.from('AAA'));
    await copy.write('d', Buffer.from('DDDD'));
    await mkdir(out);
    const error = await failure(copy.commit());
    expect(error).toMatchObject({ kind: 'OutputExists' });
    await copy.abandon(error);
    expect(await kind(copyForEdit(checkpoint, out, job('x')))).toBe('OutputExists');
    await rm(out, { recursive: true });
    const again = await copyForEdit(checkpoint, out, job('x'));
    expect(again.resumed).toEqual({ tensors: 2, bytes: 7 });
    await again.commit();
    expect((await readdir(root)).sort()).toEqual(['in', 'out']);
    await checkpoint.close();
  });

  it('lets no second one write to the same output', async () => {
    const { out, checkpoint } = await source();
    const copy = await copyForEdit(checkpoint, out, job('x'));
    expect(await kind(copyForEdit(checkpoint, out, job('x')))).toBe('InUse');
    expect(await kind(copyForEdit(checkpoint, out, { restart: true }))).toBe('InUse');
    await copy.discard();
    await checkpoint.close();
  });

  it.skipIf(process.platform === 'win32')('trusts no folder that others may write to', async () => {
    const { root, out, checkpoint } = await source();
    await mkdir(work(root));
    await chmod(work(root), 0o777);
    expect(await kind(copyForEdit(checkpoint, out, job('x')))).toBe('NotOurs');
    await rm(work(root), { recursive: true });
    await mkdir(join(root, 'elsewhere'));
    await symlink('elsewhere', work(root));
    expect(await kind(copyForEdit(checkpoint, out, job('x')))).toBe('NotOurs');
    expect(await readdir(join(root, 'elsewhere'))).toEqual([]);
    await checkpoint.close();
  });
});

/** Overwrites a byte; a negative place counts from the end. */
async function patch(file: string, place: number, byte: string): Promise<void> {
  const bytes = await readFile(file);
  bytes.write(byte, place < 0 ? bytes.length + place : place, 'latin1');
  await writeFile(file, bytes);
}
