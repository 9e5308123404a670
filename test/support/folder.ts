import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const folders: string[] = [];
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true, force: true }))));

/** A folder that is removed after the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-test-'));
  folders.push(folder);
  return folder;
}

/**
 * Paths in a temporary folder: `at()` is the folder itself, `at('model', 'config.json')` a file
 * below it.
 */
export function temporaryPaths(): (...names: string[]) => string {
  const folder = temporaryFolder();
  return (...names) => join(folder, ...names);
}
