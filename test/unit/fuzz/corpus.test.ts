import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { TARGETS } from '../../fuzz/targets.js';
import { temporaryFolder } from '../../support/folder.js';

/** What fuzzing has found once, and a few valid inputs: `<target>-<name>`. */
const corpus = fileURLToPath(new URL('../../fuzz/corpus', import.meta.url));
const folder = temporaryFolder();

/**
 * Milliseconds for one input, on a machine that may be busy. A fuzzing run itself holds them to a
 * second.
 */
const LIMIT = 5000;

describe('the corpus of fuzzing', () => {
  it('is there, and belongs to targets', () => {
    const names = TARGETS.map(({ name }) => name);
    expect(readdirSync(corpus).length).toBeGreaterThan(0);
    for (const file of readdirSync(corpus)) expect(names).toContain(file.split('-')[0]);
  });

  it.each(readdirSync(corpus))('%s', { timeout: LIMIT }, async (file) => {
    const target = TARGETS.find(({ name }) => name === file.split('-')[0])!;
    await target.run(readFileSync(join(corpus, file)), folder);
  });

  it.each(TARGETS)('$name takes its own seeds', async (target) => {
    const answers = new Set<string>();
    for (const seed of target.seeds().slice(0, 20)) answers.add(await target.run(seed, folder));
    expect(answers.size).toBeGreaterThan(1);
  });
});
