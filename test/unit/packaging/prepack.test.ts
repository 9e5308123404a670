import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { hostTarget, prebuiltPath, TARGETS, target, targetsHere } from '../../../scripts/build/targets.mjs';
import { temporaryFolder } from '../../support/folder.js';

const scripts = fileURLToPath(new URL('../../../scripts/', import.meta.url));

const folder = temporaryFolder();
const at = (...names: string[]) => join(folder, ...names);
const all = Object.keys(TARGETS);
const host = hostTarget();
const pathOf = (name: string): string => prebuiltPath(target(name));

function put(names: readonly string[]): void {
  for (const name of names) {
    mkdirSync(dirname(at(pathOf(name))), { recursive: true });
    writeFileSync(at(pathOf(name)), '');
  }
}

function prepack(env: NodeJS.ProcessEnv = {}): { status: number | null; stderr: string } {
  const { LOWRANK_PACK: _, npm_command: __, ...rest } = process.env;
  return spawnSync(process.execPath, [at('scripts/package/prepack.mjs')], {
    env: { ...rest, ...env },
    encoding: 'utf8',
  });
}

/** A package whose build leaves one file in dist/. */
beforeEach(() => {
  rmSync(at('prebuilds'), { recursive: true, force: true });
  for (const name of ['package/prepack.mjs', 'build/targets.mjs']) cpSync(join(scripts, name), at('scripts', name));
  const build = "node -e \"fs.mkdirSync('dist'); fs.writeFileSync('dist/new.js', '')\"";
  writeFileSync(at('package.json'), JSON.stringify({ scripts: { 'build:ts': build } }));
  mkdirSync(at('dist'), { recursive: true });
  writeFileSync(at('dist/gone.js'), '');
});

// Binaries of other systems than the targets cannot be built, so there is nothing to pack there.
describe.skipIf(!all.includes(host))('prepack', () => {
  it('refuses a package without binaries: names each that can be built here, and the command', () => {
    const { status, stderr } = prepack();
    expect(status).toBe(1);
    for (const name of targetsHere()) expect(stderr).toContain(pathOf(name));
    expect(stderr).toContain(`npm run prebuilds -- ${targetsHere().join(' ')}`);
    expect(existsSync(at('dist/gone.js'))).toBe(true);
  });

  it.each([all[0]!, all.at(-1)!])('refuses a package without %s alone', (name) => {
    put(all.filter((other) => other !== name));
    const { status, stderr } = prepack();
    expect(status).toBe(1);
    expect(stderr).toContain(`missing ${pathOf(name)}.`);
  });

  it('takes those of this system, names missing ones, and rebuilds dist/', () => {
    put(targetsHere());
    const { status, stderr } = prepack();
    expect([status, existsSync(at('dist/gone.js')), existsSync(at('dist/new.js'))]).toEqual([0, false, true]);
    for (const name of all.filter((it) => !targetsHere().includes(it))) expect(stderr).toContain(name);
  });

  it('wants all for npm publish and for LOWRANK_PACK=all', () => {
    put(all.slice(0, -1));
    for (const env of [{ npm_command: 'publish' }, { LOWRANK_PACK: 'all' }]) {
      const { status, stderr } = prepack(env);
      expect([status, stderr]).toEqual([1, expect.stringContaining(pathOf(all.at(-1)!))]);
    }
    put(all);
    expect(prepack({ npm_command: 'publish' })).toMatchObject({ status: 0, stderr: '' });
  });

  it('takes only the host if LOWRANK_PACK selects it', () => {
    expect(prepack({ LOWRANK_PACK: 'host' }).status).toBe(1);
    put([host]);
    for (const asked of ['host', host]) expect(prepack({ LOWRANK_PACK: asked }).status).toBe(0);
  });

  it('refuses an unknown platform', () => {
    const { status, stderr } = prepack({ LOWRANK_PACK: 'host,plan9-mips' });
    expect([status, stderr]).toEqual([1, expect.stringContaining('plan9-mips is no platform')]);
  });

  it('is what npm runs', () => {
    const { scripts: named } = JSON.parse(readFileSync(join(scripts, '../package.json'), 'utf8'));
    expect(named.prepack).toBe('node scripts/package/prepack.mjs');
  });
});
