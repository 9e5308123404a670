import { appendFile, readFile, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digestOf, Journal, readJournal } from '../../../lib/files/journal.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';

const ENTRIES = [
  { lowrank: 1, text: 'läser\n"quoted"' },
  { numbers: [1.5, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY], none: null },
  { tensor: 'a', bytes: 2 ** 40 },
];

async function written(): Promise<string> {
  const file = join(temporaryFolder(), 'journal');
  const { journal, entries } = await Journal.open(file);
  expect(entries).toEqual([]);
  for (const entry of ENTRIES) await journal.append(entry);
  await journal.close();
  return file;
}

describe('Journal', () => {
  it('returns appended entries, including infinities', async () => {
    const file = await written();
    expect(await readJournal(file)).toEqual(ENTRIES);
    const { journal, entries } = await Journal.open(file);
    expect(entries).toEqual(ENTRIES);
    await journal.append({ more: true });
    await journal.close();
    expect(await readJournal(file)).toEqual([...ENTRIES, { more: true }]);
  });

  it('ignores a line torn at any byte, and continues after the valid ones', async () => {
    const file = await written();
    const whole = await readFile(file);
    const ends = [...whole.keys()].filter((i) => whole[i] === 10).map((i) => i + 1);
    for (let length = 0; length <= whole.length; length++) {
      await writeFile(file, whole);
      await truncate(file, length);
      const sound = ENTRIES.slice(0, ends.filter((end) => end <= length).length);
      expect(await readJournal(file)).toEqual(sound);
      if (length % 17 !== 0) continue;
      const { journal } = await Journal.open(file);
      await journal.append({ after: length });
      await journal.close();
      expect(await readJournal(file)).toEqual([...sound, { after: length }]);
    }
  });

  it('believes no line whose digest does not match, and none after it', async () => {
    const file = await written();
    const whole = await readFile(file);
    for (let at = 0; at < whole.length; at += 3) {
      const changed = Buffer.from(whole);
      changed[at]! ^= 1;
      await writeFile(file, changed);
      const entries = await readJournal(file);
      expect(entries).toEqual(ENTRIES.slice(0, entries.length));
      expect(entries.length).toBeLessThan(ENTRIES.length);
    }
    await writeFile(file, whole);
    await appendFile(file, '\0'.repeat(500));
    expect(await readJournal(file)).toEqual(ENTRIES);
  });

  it('is empty if it is missing, and follows no link', async () => {
    const folder = temporaryFolder();
    expect(await readJournal(join(folder, 'journal'))).toEqual([]);
    await writeFile(join(folder, 'other'), 'mine');
    await symlink('other', join(folder, 'journal'));
    expect((await failure(Journal.open(join(folder, 'journal')))).code).toBe('ERR_CHECKPOINT_IO');
    expect(await readFile(join(folder, 'other'), 'utf8')).toBe('mine');
  });
});

describe('digestOf', () => {
  it('is SHA-256, over several steps too', async () => {
    expect(await digestOf(Buffer.from('abc'))).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
    // A million letters a, from FIPS 180-2; and more than one step of zeros against one step at a
    // time.
    expect(await digestOf(Buffer.alloc(1_000_000, 'a'))).toBe(
      'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0',
    );
    const { createHash } = await import('node:crypto');
    const large = Buffer.alloc(9 * 1024 * 1024 + 1, 7);
    expect(await digestOf(large)).toBe(createHash('sha256').update(large).digest('hex'));
  });
});
