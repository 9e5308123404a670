import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Checkpoint } from '../../../lib/checkpoint/checkpoint.js';
import { open } from '../../../lib/checkpoint/open.js';
import { LowRankError } from '../../../lib/errors.js';
import { WorkingCopy } from '../../../lib/search/working-copy.js';
import { digestsIn, tinyLlama, weights, writeModel } from '../../support/checkpoints.js';
import { temporaryPaths } from '../../support/folder.js';

const inFolder = temporaryPaths();

const A = 'model.layers.0.mlp.gate_proj.weight';
const B = 'model.layers.1.mlp.down_proj.weight';

let count = 0;
/** Makes a model and a working copy of it for the length of an action. */
async function withCopy(
  action: (copy: WorkingCopy, checkpoint: Checkpoint, folder: string) => Promise<void>,
  { shards = 1, large = false, file = false } = {},
): Promise<void> {
  const name = `m${++count}`;
  const tensors = tinyLlama('F32', 2);
  if (large) tensors.set('model.embed_tokens.weight', weights([1200, 1024]));
  const model = await writeModel(inFolder(name), tensors, { shards });
  const before = await digestsIn(model);
  const checkpoint = await open(file ? join(model, 'model.safetensors') : model);
  try {
    const folder = inFolder(`${name}-copy`);
    const copy = await WorkingCopy.create(checkpoint, folder, new Set([A, B]));
    try {
      await action(copy, checkpoint, folder);
    } finally {
      await copy.remove();
    }
    await expect(stat(folder)).rejects.toThrow('ENOENT');
  } finally {
    await checkpoint.close();
  }
  // Whatever happened, the source is as it was.
  expect(await digestsIn(model)).toEqual(before);
}

const noise = (tensor: string, seed: number) => weights(tensor === A ? [24, 16] : [16, 24], 'F32', seed).bytes;

describe('WorkingCopy', () => {
  it('is a separate model: its changes are read when it is opened', () =>
    withCopy(async (copy, checkpoint) => {
      expect(await digestsIn(copy.main)).toEqual(await digestsIn(checkpoint.path));
      await copy.write(A, noise(A, 7));
      const opened = await open(copy.main);
      expect(Buffer.compare(await opened.read(A), noise(A, 7))).toBe(0);
      expect(Buffer.compare(await opened.read(B), await checkpoint.read(B))).toBe(0);
      await opened.close();
    }));

  it('rolls back to the byte, even if a tensor was written twice, and keeps accepted changes', () =>
    withCopy(async (copy) => {
      await copy.write(A, noise(A, 1));
      copy.accept();
      const state = await digestsIn(copy.main);
      await copy.write(A, noise(A, 2));
      await copy.write(B, noise(B, 3));
      await copy.write(A, noise(A, 4));
      expect(await digestsIn(copy.main)).not.toEqual(state);
      await copy.rollback();
      expect(await digestsIn(copy.main)).toEqual(state);
      expect(Buffer.compare(await copy.read(A), noise(A, 1))).toBe(0);
    }));

  it('resets to the source, whatever was accepted', () =>
    withCopy(async (copy, checkpoint) => {
      const fresh = await digestsIn(copy.main);
      await copy.write(A, noise(A, 1));
      copy.accept();
      await copy.write(B, noise(B, 3));
      expect([...copy.written].sort()).toEqual([A, B]);
      await copy.reset();
      expect(await digestsIn(copy.main)).toEqual(fresh);
      expect(copy.written.size).toBe(0);
      expect(Buffer.compare(await copy.read(A), await checkpoint.read(A))).toBe(0);
    }));

  it('links large files until one of their tensors is written', () =>
    withCopy(
      async (copy, checkpoint) => {
        const inode = async (path: string) => (await stat(path)).ino;
        const [ours, theirs] = [join(copy.main, 'model.safetensors'), join(checkpoint.path, 'model.safetensors')];
        expect(await inode(ours)).toBe(await inode(theirs));
        expect(await inode(join(copy.main, 'config.json'))).not.toBe(await inode(join(checkpoint.path, 'config.json')));
        await copy.write(A, noise(A, 1));
        expect(await inode(ours)).not.toBe(await inode(theirs));
      },
      { large: true },
    ));

  it('takes shards, and single files', async () => {
    for (const options of [{ shards: 3 }, { file: true }]) {
      await withCopy(async (copy) => {
        await copy.write(A, noise(A, 1));
        await copy.write(B, noise(B, 2));
        const opened = await open(copy.main);
        expect(Buffer.compare(await opened.read(B), noise(B, 2))).toBe(0);
        await opened.close();
        await copy.rollback();
      }, options);
    }
  });

  it('refuses other lengths and other tensors', () =>
    withCopy(async (copy) => {
      const code = (action: Promise<unknown>) => action.then(String, (error: LowRankError) => error.code);
      expect(await code(copy.write(A, new Uint8Array(4)))).toBe('ERR_SHAPE');
      expect(await code(copy.write('model.embed_tokens.weight', new Uint8Array(4)))).toBe('ERR_NOT_FOUND');
      await expect(copy.read('nothing')).rejects.toThrow(LowRankError);
    }));
});
