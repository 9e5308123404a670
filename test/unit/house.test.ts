import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

/**
 * The floors of the house, from the ground up, as CONTRIBUTING.md has them: a room imports only
 * from lower floors, so data flows one way.
 */
const FLOORS = floors('lib');

function floors(folder: string): string[][] {
  const text = readFileSync(new URL('../../CONTRIBUTING.md', import.meta.url), 'utf8');
  const row = new RegExp(`^\\| (\\d+) \\| (\`${folder}/.*?) \\|`, 'gm');
  const named = new RegExp(`\`${folder}/([^\`]+?)/?\``, 'g');
  const rows = [...text.matchAll(row)].map(([, floor, rooms]) => ({
    floor: Number(floor),
    rooms: [...rooms!.matchAll(named)].map(([, room]) => room!),
  }));
  return rows.sort((a, b) => a.floor - b.floor).map(({ rooms }) => rooms);
}

const lib = fileURLToPath(new URL('../../lib', import.meta.url));
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const room = (file: string) => file.split('/')[0]!;
const floor = (file: string) => FLOORS.findIndex((rooms) => rooms.includes(room(file)));

/** The files of this package that a file imports, types included. */
function imports(file: string): string[] {
  const source = readFileSync(join(lib, file), 'utf8');
  return [...source.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, path]) =>
    relative(lib, normalize(join(lib, dirname(file), path!.replace(/\.js$/, '.ts')))),
  );
}

const tests = fileURLToPath(new URL('../../test', import.meta.url));
// test/check and test/peers have packages of their own installed.
const testFiles = readdirSync(tests, { recursive: true, encoding: 'utf8' }).filter(
  (name) => name.endsWith('.ts') && !name.includes('node_modules'),
);
/** The files of test/ that a file of test/ imports. */
const importedTests = (file: string) =>
  [...readFileSync(join(tests, file), 'utf8').matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)]
    .map(([, path]) => normalize(join(dirname(file), path!)))
    .filter((path) => !path.startsWith('..'));

describe('the house', () => {
  it('every file is in a room of the table', () => {
    expect(FLOORS.length).toBeGreaterThan(10);
    expect(files.length).toBeGreaterThan(20);
    expect(files.filter((file) => floor(file) < 0)).toEqual([]);
  });

  it('imports go to the same room or to lower floors', () => {
    const upward = files.flatMap((file) =>
      imports(file)
        .filter((target) => room(target) !== room(file) && floor(target) >= floor(file))
        .map((target) => `${file} imports ${target}`),
    );
    expect(upward).toEqual([]);
    expect(files.flatMap(imports).length).toBeGreaterThan(40);
  });

  it('has no circle of imports', () => {
    const done = new Set<string>();
    const visit = (file: string, path: string[]): void => {
      if (path.includes(file)) throw new Error(`circle: ${[...path.slice(path.indexOf(file)), file].join(' -> ')}`);
      if (done.has(file)) return;
      for (const target of imports(file)) visit(target, [...path, file]);
      done.add(file);
    };
    for (const file of files) visit(file, []);
    expect(done.size).toBe(files.length);
  });

  it('no file is longer than 400 lines', () => {
    const lines = (file: string) => readFileSync(join(lib, file), 'utf8').split('\n').length;
    expect(files.filter((file) => lines(file) > 401)).toEqual([]);
  });

  it('loads the native addon in one room', () => {
    const loaders = files.filter((file) => /createRequire|\.node'/.test(readFileSync(join(lib, file), 'utf8')));
    expect(loaders.filter((file) => room(file) === 'addon')).toEqual(['addon/load.ts']);
  });
});

describe('the rooms of native/', () => {
  const ROOMS = floors('native');
  const native = fileURLToPath(new URL('../../native', import.meta.url));
  const sources = readdirSync(native, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(cc|h)$/.test(name));
  const text = (name: string) => readFileSync(join(native, name), 'utf8');
  const height = (name: string) => ROOMS.findIndex((rooms) => rooms.includes(room(name)));
  const naming = (pattern: RegExp) => sources.filter((name) => pattern.test(text(name))).sort();

  it('every file is in a room of the table', () => {
    expect(ROOMS.length).toBeGreaterThan(2);
    expect(sources.length).toBeGreaterThan(40);
    expect(sources.filter((name) => height(name) < 0)).toEqual([]);
  });

  it('includes name the room, and go to the same room or to lower ones', () => {
    const includes = sources.flatMap((name) =>
      [...text(name).matchAll(/#include "([^"]+)"/g)].map(([, target]) => ({ name, target: target! })),
    );
    expect(includes.length).toBeGreaterThan(100);
    const wrong = includes.filter(
      ({ name, target }) =>
        !sources.includes(target) || (room(target) !== room(name) && height(target) >= height(name)),
    );
    expect(wrong).toEqual([]);
  });

  it('only blas/lapack.* and the choice of its kernels reach OpenBLAS, only node/ reaches Node-API', () => {
    expect(naming(/\bopenblas_\w+\(|\bs\w+_\(const char/)).toEqual(['blas/coretype.cc', 'blas/lapack.cc']);
    const node = naming(/napi/i);
    expect(node).toContain('node/addon.cc');
    expect(node.filter((name) => room(name) !== 'node')).toEqual([]);
  });

  it('no file is longer than 400 lines but the one long algorithm', () => {
    expect(sources.filter((name) => text(name).split('\n').length > 401)).toEqual(['lowrank/krylov.cc']);
  });
});

describe('comments', () => {
  it('have at most 100 columns, in which prose is read with ease', () => {
    const root = fileURLToPath(new URL('../..', import.meta.url));
    const wide = ['lib', 'native'].flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(?:ts|cc|h)$/.test(name))
        .flatMap((name) => {
          const lines = readFileSync(join(root, folder, name), 'utf8').split('\n');
          return lines.flatMap((line, i) =>
            /^\s*(?:\/\/|\/?\*+[ /])/.test(line) && line.length > 100 ? [`${folder}/${name}:${i + 1}`] : [],
          );
        }),
    );
    expect(wide).toEqual([]);
  });
});

describe('the house of the tests', () => {
  it('no project imports files of another: shared helpers are in test/support', () => {
    // test/fuzz is no project but a program; unit tests its corpus, and hazards begin with its
    // inputs.
    const shared = new Set(['support', 'fuzz']);
    const across = testFiles.flatMap((file) =>
      importedTests(file)
        .filter((target) => room(target) !== room(file) && !shared.has(room(target)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(across).toEqual([]);
    expect(testFiles.flatMap(importedTests).length).toBeGreaterThan(100);
  });

  it('shared helpers import no other tests', () => {
    const outward = testFiles
      .filter((file) => room(file) === 'support')
      .flatMap(importedTests)
      .filter((target) => room(target) !== 'support');
    expect(outward).toEqual([]);
    const ofFuzz = testFiles.filter((file) => room(file) === 'fuzz').flatMap(importedTests);
    expect(ofFuzz.filter((target) => !['fuzz', 'support'].includes(room(target)))).toEqual([]);
  });

  it('there is one temporary folder, one generator of random numbers and one runner of the command line', () => {
    const naming = (pattern: RegExp, projects: RegExp) =>
      testFiles.filter((file) => projects.test(file) && pattern.test(readFileSync(join(tests, file), 'utf8'))).sort();
    expect(naming(/0x6d2b79f5/i, /^(?!unit\/house)/)).toEqual(['support/random.ts']);
    expect(naming(/dist\/cli\/main\.js|\broot, 'dist', 'cli'/, /^(?!unit\/house)/)).toEqual(['support/cli.ts']);
    expect(naming(/= (?:await )?mkdtemp(?:Sync)?\(/, /^(?:unit|jobs|large|interop|support)\/(?!house)/)).toEqual([
      'support/folder.ts',
    ]);
  });
});
