import { existsSync } from 'node:fs';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { Decompositions } from '../../../lib/search/decompositions.js';
import { temporaryFolder } from '../../support/folder.js';
import { gaussian } from '../../support/matrices.js';

let folder = '';
beforeEach(() => {
  folder = join(temporaryFolder(), 'svd');
});

/** Asks for the decomposition of a random matrix as a search does. */
function ask(cache: Decompositions, seed: number, name = `w${seed}`, shape = [12, 8]) {
  const w = gaussian(shape, seed);
  return cache.of(name, w);
}

const entries = async () => (await readdir(folder)).sort();

describe('Decompositions', () => {
  it('computes once, then takes it from memory, and in another run from the disk', async () => {
    const first = new Decompositions({ limit: 1e9, folder });
    const made = await ask(first, 1);
    expect(made.from).toBe('computed');
    const again = await ask(first, 1);
    expect(again.from).toBe('memory');
    expect(again.svd).toBe(made.svd);
    const second = await ask(new Decompositions({ limit: 1e9, folder }), 1, 'another name');
    expect(second.from).toBe('disk');
    expect(second.svd).toEqual(made.svd);
  });

  it('distinguishes batches from matrices of the same bytes', async () => {
    await ask(new Decompositions({ limit: 1e9, folder }), 1, 'w', [12, 8]);
    const batch = await ask(new Decompositions({ limit: 1e9, folder }), 1, 'w', [2, 6, 8]);
    expect(batch.from).toBe('computed');
    expect(batch.svd.u.shape).toEqual([2, 6, 6]);
  });

  it('writes nothing when the limit is 0', async () => {
    await ask(new Decompositions({ limit: 0, folder }), 1);
    expect(existsSync(folder)).toBe(false);
  });

  it('notices every kind of damage and recomputes', async () => {
    const made = await ask(new Decompositions({ limit: 1e9, folder }), 1);
    const [name] = (await entries()) as [string];
    const sound = await readFile(join(folder, name));
    const flipped = Buffer.from(sound);
    flipped[flipped.length - 5]! ^= 1;
    const wrongShape = Buffer.from(sound.toString('latin1').replace('[12,8]', '[8,12]'), 'latin1');
    for (const damaged of [flipped, wrongShape, sound.subarray(0, 200), Buffer.alloc(0), Buffer.from('garbage')]) {
      await writeFile(join(folder, name), damaged);
      const found = await ask(new Decompositions({ limit: 1e9, folder }), 1);
      expect(found.from).toBe('computed');
      expect(found.svd).toEqual(made.svd);
      expect(await readFile(join(folder, name))).toEqual(sound);
    }
  });

  it('lets those go that were not used for the longest time', async () => {
    const cache = new Decompositions({ limit: 1e9, folder });
    const names: string[] = [];
    for (const seed of [1, 2, 3]) {
      await ask(cache, seed);
      const name = (await entries()).find((entry) => !names.includes(entry))!;
      names.push(name);
      const time = new Date(2020, 0, seed);
      await utimes(join(folder, name), time, time);
    }
    const { length: size } = await readFile(join(folder, names[0]!));
    // The first is used again, so the second is the oldest.
    expect((await ask(new Decompositions({ limit: 1e9, folder }), 1)).from).toBe('disk');
    await ask(new Decompositions({ limit: 3 * size, folder }), 4);
    const left = await entries();
    expect(left).toHaveLength(3);
    expect(left).not.toContain(names[1]);
    expect(left).toContain(names[0]);
  });

  it('continues without the disk, with a warning', async () => {
    await writeFile(join(folder, '..', 'file'), '');
    const problems: string[] = [];
    const blocked = join(folder, '..', 'file', 'svd');
    const cache = new Decompositions({ limit: 1e9, folder: blocked, onProblem: (message) => problems.push(message) });
    expect((await ask(cache, 1)).from).toBe('computed');
    expect((await ask(cache, 2)).from).toBe('computed');
    expect(problems).toHaveLength(1);
  });
});
