import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Checkpoint, FilePart, TensorInfo } from '../../../lib/checkpoint/checkpoint.js';
import { type CopyOptions, copyForEdit } from '../../../lib/checkpoint/copy/copy-for-edit.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { made } from '../../support/safetensors.js';

const changes = new Map([['m', { as: 'F16' }]] as const);
const JOB: CopyOptions = { changes, job: { description: 'parts' } };
const FULL = Object.assign(new Error('full'), { code: 'ENOSPC', syscall: 'write' });
const LARGE = 20 * 1024 * 1024 + 5;

/**
 * A file of one tensor between others, whose edited copy has another beginning and a larger tensor:
 * what happens to a GGUF file when a tensor changes its type.
 */
async function source(): Promise<{
  root: string;
  out: string;
  checkpoint: Checkpoint;
  expected: (middle: string) => Buffer;
}> {
  const root = temporaryFolder();
  const path = join(root, 'in.bin');
  const tail = Buffer.alloc(LARGE, 'tail of the file ');
  const bytes = made(
    {
      m: { dtype: 'U8', shape: [4], data_offsets: [0, 4] },
      t: { dtype: 'U8', shape: [LARGE], data_offsets: [4, 4 + LARGE] },
    },
    Buffer.concat([Buffer.from('MMMM'), tail]),
  );
  await writeFile(path, bytes);
  const start = bytes.length - LARGE - 4;
  const head = Buffer.from('another beginning');
  const info = (name: string, offset: number, size: number): TensorInfo => ({
    name,
    dtype: 'U8' as const,
    shape: [size],
    bytes: size,
    file: 'in.bin',
    offset,
  });
  const parts: FilePart[] = [
    { kind: 'bytes', data: head },
    { kind: 'tensor', name: 'm', bytes: 6 },
    { kind: 'copy', file: 'in.bin', offset: start + 4, bytes: LARGE },
    { kind: 'bytes', data: Buffer.from('end') },
  ];
  const checkpoint: Checkpoint = {
    format: 'safetensors',
    path,
    main: path,
    tensors: new Map([
      ['m', info('m', start, 4)],
      ['t', info('t', start + 4, LARGE)],
    ]),
    config: undefined,
    read: () => Promise.reject(new Error('not needed')),
    layout: () => [{ file: 'in.bin', parts, places: new Map([['m', { offset: head.length, bytes: 6 }]]) }],
    close: async () => undefined,
  };
  const expected = (middle: string) => Buffer.concat([head, Buffer.from(middle), tail, Buffer.from('end')]);
  return { root, out: join(root, 'out.bin'), checkpoint, expected };
}

describe('a file that is written from parts', () => {
  it('has its parts in order, and the new tensor in its room', async () => {
    const { out, checkpoint, expected } = await source();
    const copy = await copyForEdit(checkpoint, out, { changes });
    expect(await failure(copy.write('m', Buffer.from('four')))).toMatchObject({ code: 'ERR_SHAPE' });
    expect(await failure(copy.write('t', Buffer.alloc(LARGE)))).toMatchObject({ code: 'ERR_NOT_FOUND' });
    await copy.write('m', Buffer.from('middle'));
    await copy.commit();
    expect((await readFile(out)).equals(expected('middle'))).toBe(true);
    expect((await stat(out)).mode & 0o777).toBe((await stat(checkpoint.path)).mode & 0o777);
    expect((await readdir(dirname(out))).sort()).toEqual(['in.bin', 'out.bin']);
  });

  it('is verified and resumed', async () => {
    for (const place of [undefined, 2, 20, 1000, 9 * 1024 * 1024, 17 + 6 + LARGE - 1, 17 + 6 + LARGE + 1]) {
      const { root, out, checkpoint, expected } = await source();
      const copy = await copyForEdit(checkpoint, out, JOB);
      await copy.write('m', Buffer.from('middle'));
      await copy.abandon(FULL);
      const file = join(root, '.out.bin.lowrank', 'copy');
      if (place !== undefined) {
        const bytes = await readFile(file);
        bytes[place]! ^= 1;
        await writeFile(file, bytes);
      }
      const again = await copyForEdit(checkpoint, out, JOB);
      expect([place, again.finished('m') !== undefined]).toEqual([place, place === undefined]);
      if (place !== undefined) await again.write('m', Buffer.from('middle'));
      await again.commit();
      expect([place, (await readFile(out)).equals(expected('middle'))]).toEqual([place, true]);
    }
  });
});
