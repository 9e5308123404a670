import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Decompositions } from '../../../lib/compress/decompositions.js';
import { factorize } from '../../../lib/index.js';
import { temporaryFolder } from '../../support/folder.js';
import { gaussian } from '../../support/matrices.js';

const KEY = 'ab'.repeat(32);

describe('stored decompositions', () => {
  it('come back to the bit, with their certificates', async () => {
    const store = new Decompositions(join(temporaryFolder(), 'new', 'folder'));
    const factors = await factorize(gaussian([20, 12], 1), { rank: 12 });
    expect(await store.find(KEY)).toBeUndefined();
    await store.add(KEY, factors);
    const found = (await store.find(KEY))!;
    expect(await store.has(KEY)).toBe(true);
    expect(found.b).toEqual(factors.b);
    expect(found.a).toEqual(factors.a);
    expect(found.singularValues).toEqual(factors.singularValues);
    expect(found.certificate).toEqual(factors.certificate);
    expect(found.truncate(5).certificate).toEqual(factors.truncate(5).certificate);
  });

  it('do not count when damaged, and can be replaced', async () => {
    const folder = temporaryFolder();
    const factors = await factorize(gaussian([9, 7], 2), { rank: 7 });
    await new Decompositions(folder).add(KEY, factors);
    const [name] = await readdir(folder);
    const file = join(folder, name!);
    const bytes = await readFile(file);
    for (const at of [3, 40, bytes.length - 1]) {
      const damaged = Buffer.from(bytes);
      damaged[at]! ^= 4;
      await writeFile(file, damaged);
      expect(await new Decompositions(folder).find(KEY), `byte ${at}`).toBeUndefined();
    }
    await writeFile(file, bytes.subarray(0, 100));
    const store = new Decompositions(folder);
    expect(await store.find(KEY)).toBeUndefined();
    await store.add(KEY, factors);
    expect((await store.find(KEY))!.b).toEqual(factors.b);
  });

  it('lie in files that are told from those of the user', () => {
    expect(Decompositions.owns(`${KEY}.safetensors`)).toBe(true);
    expect(Decompositions.owns('model.safetensors')).toBe(false);
  });
});
