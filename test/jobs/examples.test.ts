import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { hasPeers, peers, unlessNoPeers } from '../support/peers.js';

const run = promisify(execFile);
const folder = fileURLToPath(new URL('../../examples', import.meta.url));
/** They check their own claims, and fail where one does not hold. */
const examples = readdirSync(folder)
  .filter((name) => name.endsWith('.mjs'))
  .sort();

/** Those that run models in onnxruntime. */
const NEED_PEERS = ['compress.mjs'];

describe('the examples', () => {
  for (const name of examples) {
    const needsPeers = NEED_PEERS.includes(name);
    const why = needsPeers ? unlessNoPeers : '';
    it.skipIf(needsPeers && !hasPeers)(`${name} runs, and what it shows holds${why}`, async () => {
      // Optional packages are found from the working folder.
      const cwd = needsPeers ? peers : undefined;
      const { stdout, stderr } = await run(process.execPath, [join(folder, name)], { cwd });
      expect(stdout).toMatch(/\n$/);
      expect(stderr).toBe('');
    });
  }

  it('are those of which the walk-throughs and the README speak', () => {
    expect(examples).toEqual([
      'compress.mjs',
      'laser-checkpoint.mjs',
      'laser-module.mjs',
      'lora-training.mjs',
      'lora-zeta.mjs',
      'rank-2-of-10x10.mjs',
      'rank-4-of-15x15.mjs',
    ]);
  });
});
