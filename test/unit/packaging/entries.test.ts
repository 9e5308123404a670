import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const manifest = JSON.parse(read('package.json')) as {
  exports: Record<string, unknown>;
  typesVersions: Record<string, Record<string, string[]>>;
};

const subpaths = readdirSync(new URL('../../../lib/entries', import.meta.url)).map((file) => basename(file, '.ts'));
const compiled = (name: string) => (name === 'index' ? './dist/index' : `./dist/entries/${name}`);

/** The names that an entry exports, types included. */
function namesOf(entry: string): string[] {
  const clauses = [...read(entry).matchAll(/^export (?:type )?\{([^}]*)\} from/gm)];
  const names = clauses.flatMap(([, clause]) => clause!.split(',').map((name) => name.trim()));
  return names.filter((name) => name !== '').map((name) => name.replace(/^type /, '').replace(/^.* as /, ''));
}

describe('the entries', () => {
  it('are the exports of package.json, with types for every kind of resolution', () => {
    const entry = (name: string) => ({ types: `${compiled(name)}.d.ts`, default: `${compiled(name)}.js` });
    expect(manifest.exports).toEqual({
      '.': entry('index'),
      ...Object.fromEntries(subpaths.map((name) => [`./${name}`, entry(name)])),
      './package.json': './package.json',
    });
    expect(manifest.typesVersions).toEqual({
      '*': Object.fromEntries(subpaths.map((name) => [name, [`${compiled(name)}.d.ts`]])),
    });
  });

  it('only re-export, and each name is in one of them', () => {
    const files = ['lib/index.ts', ...subpaths.map((name) => `lib/entries/${name}.ts`)];
    for (const file of files) {
      const statements = read(file).match(/^export .*/gm) ?? [];
      expect(
        statements.filter((line) => !/^export (type )?\{/.test(line)),
        file,
      ).toEqual([]);
      expect(namesOf(file).length, file).toBeGreaterThan(10);
    }
    const names = files.flatMap(namesOf);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });

  it('leave files of models out of lowrank itself', () => {
    expect(read('lib/index.ts')).not.toMatch(
      /from '\.\/(checkpoint|model|edit|search|evaluate|adapters|shards|report)\//,
    );
  });
});
