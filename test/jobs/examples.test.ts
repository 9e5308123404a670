import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../../examples', import.meta.url));
/** All but what they import. They check their own claims, and fail where one does not hold. */
const examples = readdirSync(folder)
  .filter((name) => name.endsWith('.mjs') && name !== 'random.mjs')
  .sort();

describe('the examples', () => {
  it.each(examples)('%s runs, and what it shows holds', async (name) => {
    const { stdout, stderr } = await run(process.execPath, [join(folder, name)]);
    expect(stdout).toMatch(/\n$/);
    expect(stderr).toBe('');
  });

  it('are those of which the walk-throughs and the README speak', () => {
    expect(examples).toEqual([
      'laser-checkpoint.mjs',
      'laser-module.mjs',
      'lora-training.mjs',
      'lora-zeta.mjs',
      'rank-2-of-10x10.mjs',
      'rank-4-of-15x15.mjs',
    ]);
  });
});
