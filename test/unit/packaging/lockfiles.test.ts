import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../..', import.meta.url));

interface Entry {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly inBundle?: boolean;
  readonly link?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta?: Readonly<Record<string, { optional?: boolean }>>;
}

const json = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));
/** Without folders of this repository, which an example links. */
const entries = (lock: string): [string, Entry][] =>
  Object.entries<Entry>(json(lock).packages).filter(([path, { link }]) => !link && !path.startsWith('..'));
const version = (lock: string, name: string): string => json(lock).packages[`node_modules/${name}`].version;

/**
 * The files of the repository, of which git need not be asked: those below folders that it ignores
 * are left out.
 */
const IGNORED = /^(node_modules|dist|build|\.build|\.openblas|\.venv|\.git|\.cache|coverage|out|api)$/;
function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !IGNORED.test(name))
    .flatMap((entry) => (entry.isDirectory() ? filesBelow(join(folder, entry.name)) : join(folder, entry.name)));
}

const files = filesBelow('');
const packages = files.filter((path) => /(^|\/)package\.json$/.test(path));
const locks = files.filter((path) => /(^|\/)package-lock\.json$/.test(path));

/** The packages that an entry needs and that are in no node_modules from its place upwards. */
function missing(path: string, entry: Entry, all: ReadonlySet<string>): string[] {
  const peers = Object.keys(entry.peerDependencies ?? {}).filter((it) => !entry.peerDependenciesMeta?.[it]?.optional);
  const { dependencies, devDependencies, optionalDependencies } = entry;
  // Only the root has development dependencies installed.
  const names = Object.keys({ ...dependencies, ...(path === '' && devDependencies), ...optionalDependencies });
  const places = [
    '',
    ...[...path.matchAll(/(?<=node_modules\/(?:@[^/]+\/)?[^/@]+)(?=\/|$)/g)].map((it) => path.slice(0, it.index)),
  ];
  const found = (name: string) => places.some((place) => all.has(join(place, 'node_modules', name)));
  return [...names, ...peers]
    .filter((name) => !found(name))
    .map((name) => `${name}, which ${path || 'the root'} needs`);
}

describe('lock files', () => {
  it('are beside every package.json that has dependencies', () => {
    const dependent = packages.filter((path) => json(path).dependencies ?? json(path).devDependencies);
    expect(dependent.length).toBeGreaterThan(3);
    expect(dependent.map((path) => join(dirname(path), 'package-lock.json')).sort()).toEqual([...locks].sort());
  });

  it.each(locks)('%s has every package for every platform, so that npm ci takes it', (lock) => {
    const all = new Set(Object.keys(json(lock).packages));
    expect(entries(lock).flatMap(([path, entry]) => missing(path, entry, all))).toEqual([]);
  });

  it.each(locks)('%s matches its package.json', (lock) => {
    const { dependencies, devDependencies } = json(lock).packages[''];
    const asked = json(join(dirname(lock), 'package.json'));
    expect([dependencies, devDependencies]).toEqual([asked.dependencies, asked.devDependencies]);
  });

  it.each(locks)('%s has the integrity of every package, and no address', (lock) => {
    const fetched = entries(lock).filter(([path, { inBundle }]) => path !== '' && !inBundle);
    expect(fetched.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path)).toEqual([]);
    expect(fetched.filter(([, { resolved }]) => resolved !== undefined).map(([path]) => path)).toEqual([]);
  });

  it('agree on packages that are installed twice', () => {
    for (const name of ['cmake-js', 'node-addon-api']) {
      expect(version('scripts/build/tools/package-lock.json', name)).toBe(version('package-lock.json', name));
    }
    for (const name of ['onnxruntime-node', '@huggingface/tokenizers']) {
      expect(version('scripts/demo/engine/package-lock.json', name)).toBe(
        version('test/peers/package-lock.json', name),
      );
    }
  });
});

describe('installing', () => {
  /** Lines that a machine runs, or that tell a developer what to run in this repository. */
  const installing = files.filter((path) =>
    /^(\.ci\/|\.github\/|scripts\/.*\.mjs|package\.json|(README|CONTRIBUTING)\.md|(bench|examples|prebuilds)\/README\.md|test\/.*\.(mjs|ts))/.test(
      path,
    ),
  );

  it('uses the lock file: no npm install without a package', () => {
    expect(installing).toContain('.ci/run');
    const lines = installing.flatMap((path) =>
      readFileSync(join(root, path), 'utf8')
        .split('\n')
        .filter((line) => /\bnpm (--prefix \S+ )?(install|i)\b(?!(?: --\S+)* [\w.@/$])/.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    );
    // How a lock file is changed.
    expect(lines.filter((line) => !line.includes('npx npm@11 install'))).toEqual([]);
  });

  it('does not claim that lowrank is on the registry', () => {
    const pages = files.filter((path) => path.endsWith('.md'));
    const saying = pages.filter((path) =>
      /npm (install|i|add) (\S+ )*lowrank(?![-\w./])/.test(readFileSync(join(root, path), 'utf8')),
    );
    expect(saying).toEqual([]);
  });
});
