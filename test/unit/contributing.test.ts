import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const text = readFileSync(join(root, 'CONTRIBUTING.md'), 'utf8');

describe('CONTRIBUTING', () => {
  it('names only files and folders that exist', () => {
    const paths = [...text.matchAll(/`((?:lib|native|test|scripts|docs|bench|\.github)\/[^`\s]*)`/g)].map(
      ([, p]) => p!,
    );
    const missing = paths.filter((path) => !/[<{]|^docs.site./.test(path) && !existsSync(join(root, path)));
    expect(paths.length).toBeGreaterThan(40);
    expect(missing).toEqual([]);
  });

  it('describes a call path of at most 12 steps, whose functions are in the files it names', () => {
    const [, section] = /### From `lowrank laser` to the file\n\n(.*?)\n\n/s.exec(text)!;
    const lines = section!.split('\n');
    expect(lines.length).toBeLessThanOrEqual(12);
    for (const line of lines) {
      const [, file, name] = /^\d+\. `([^`]+)` `([^`]+)`/.exec(line)!;
      expect(readFileSync(join(root, file!), 'utf8'), line).toMatch(new RegExp(`\\b${name!.replace('.', '\\.')}\\b`));
    }
  });

  it('names only scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const named = [...text.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!);
    expect(named.length).toBeGreaterThan(10);
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});
