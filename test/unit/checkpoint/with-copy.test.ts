import { readdirSync } from 'node:fs';
import { mkdir, readdir, readFile, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import type { EditCopy } from '../../../lib/checkpoint/copy/edit-copy.js';
import { type TransactionOptions, withCopy } from '../../../lib/checkpoint/copy/with-copy.js';
import { open } from '../../../lib/checkpoint/open.js';
import { temporaryFolder } from '../../support/folder.js';
import { fill, made } from '../../support/safetensors.js';

const FULL = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
const JOB: TransactionOptions = { job: { description: 'x' } };

async function source(): Promise<{ root: string; out: string; checkpoint: Checkpoint }> {
  const root = temporaryFolder();
  const file = join(root, 'in.safetensors');
  await fill(root, { 'in.safetensors': made({ a: { dtype: 'U8', shape: [3], data_offsets: [0, 3] } }, 'aaa') });
  return { root, out: join(root, 'out.safetensors'), checkpoint: await open(file) };
}

const write = (copy: EditCopy) => copy.write('a', Buffer.from('AAA'), 'note');

async function writeAndFail(copy: EditCopy): Promise<never> {
  await write(copy);
  throw FULL;
}

describe('withCopy', () => {
  it('publishes the copy after the edit, and returns a summary and the result', async () => {
    const { root, out, checkpoint } = await source();
    const before: string[] = [];
    const options = { onCommit: () => void before.push(...readdirSync(root)) };
    const done = await withCopy(checkpoint, out, options, async (copy) => {
      await write(copy);
      return 7;
    });
    expect(done).toEqual({ result: 7, output: { out, entryPoint: out, untouchedWeights: [] } });
    expect(before.sort()).toEqual(['.out.safetensors.lowrank', 'in.safetensors']);
    expect((await readFile(out, 'latin1')).endsWith('AAA')).toBe(true);
    expect((await readdir(root)).sort()).toEqual(['in.safetensors', 'out.safetensors']);
    await checkpoint.close();
  });

  it('waits for writes that the edit did not await', async () => {
    const { out, checkpoint } = await source();
    await withCopy(checkpoint, out, {}, async (copy) => {
      write(copy).catch(() => undefined);
    });
    expect((await readFile(out, 'latin1')).endsWith('AAA')).toBe(true);
    await checkpoint.close();
  });

  it.each<[string, TransactionOptions, string[]]>([
    ['without a job', {}, []],
    ['with a job, whose work it keeps', JOB, ['.out.safetensors.lowrank']],
    ['with a job, whose work is not wanted', { ...JOB, discardOnFailure: true }, []],
  ])('rejects with the failure of the edit, %s', async (_, options, left) => {
    const { root, out, checkpoint } = await source();
    await expect(withCopy(checkpoint, out, options, writeAndFail)).rejects.toBe(FULL);
    expect((await readdir(root)).sort()).toEqual([...left, 'in.safetensors']);
    const again = await withCopy(checkpoint, out, options, async (copy) => {
      const note = copy.finished('a');
      if (note === undefined) await write(copy);
      return note !== undefined;
    });
    expect(again.result).toBe(left.length > 0);
    await checkpoint.close();
  });

  it('publishes nothing when aborted during the edit, or when something fails before the commit', async () => {
    const { root, out, checkpoint } = await source();
    const controller = new AbortController();
    const reason = new Error('enough');
    const aborted = withCopy(checkpoint, out, { signal: controller.signal }, async () => controller.abort(reason));
    await expect(aborted).rejects.toBe(reason);
    const failing = withCopy(
      checkpoint,
      out,
      {
        onCommit: () => {
          throw FULL;
        },
      },
      write,
    );
    await expect(failing).rejects.toBe(FULL);
    expect(await readdir(root)).toEqual(['in.safetensors']);
    await checkpoint.close();
  });

  it('computes the summary before the commit: what it cannot list is not published', async () => {
    const root = temporaryFolder();
    const folder = join(root, 'in');
    await mkdir(folder);
    await fill(folder, {
      'model.safetensors': made({ a: { dtype: 'U8', shape: [3], data_offsets: [0, 3] } }, 'aaa'),
    });
    const checkpoint = await open(folder);
    const done = withCopy(checkpoint, join(root, 'out'), {}, () => symlink('/', join(folder, 'outside')));
    await expect(done).rejects.toMatchObject({ kind: 'LinkOutside' });
    expect(await readdir(root)).toEqual(['in']);
    await checkpoint.close();
  });
});
