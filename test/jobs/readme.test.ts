import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { lowrank, spawnLowrank, wordsOf } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** The fenced blocks of a language. */
function blocks(language: string): string[] {
  return [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter((match) => match[1] === language).map((m) => m[2]!);
}

const shell = blocks('sh').flatMap((block) => block.trim().split('\n'));
const commands = shell.filter((line) => line.startsWith('npx lowrank '));
const programs = blocks('js');

const at = temporaryPaths();
// A package can import itself by name only from its own folder.
const inside = join(root, '.build', `readme-${process.pid}`);

beforeAll(async () => {
  await mkdir(at('out'));
  await symlink(join(root, 'examples'), at('examples'));
  await symlink(join(root, 'examples', 'noisy-recall', 'model'), at('my-model'));
  await mkdir(inside, { recursive: true });
});
afterAll(() => rm(inside, { recursive: true, force: true }));

function run(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)(process.execPath, args, { cwd: at() });
}

/** Runs a line that begins with `npx lowrank`. */
async function typed(line: string): Promise<{ stdout: string; stderr: string }> {
  const words = wordsOf(line).slice('npx lowrank'.split(' ').length);
  // The first as its reader starts it, in a process.
  const done = await (line === commands[0] ? spawnLowrank : lowrank)(words, { cwd: at() });
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done;
}

describe('the README', () => {
  it('has commands and programs to run', () => {
    expect(commands.length).toBeGreaterThan(2);
    expect(programs.length).toBeGreaterThan(1);
  });

  it('starts with one command for the main job and one for the tests, and .ci/run runs both', () => {
    expect(shell.slice(0, 2)).toEqual(['npm ci && npm run demo', 'npm test']);
    const ci = readFileSync(join(root, '.ci', 'run'), 'utf8');
    for (const command of [/^npm ci$/m, /^step demo npm run demo$/m]) expect(ci).toMatch(command);
    // Each project of `npm test` once: those that coverage.mjs runs, and those with a step of their
    // own.
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const projectsIn = (text: string) => [...text.matchAll(/--project'?,? '?(\w+)/g)].map(([, name]) => name!);
    const covered = projectsIn(readFileSync(join(root, 'scripts', 'test', 'coverage.mjs'), 'utf8'));
    const steps = [...ci.matchAll(/\bstep \w+ project (\w+)$/gm)].map(([, name]) => name!);
    expect(ci).toMatch(/^step test node scripts\/test\/coverage\.mjs\b/m);
    const all = [...covered, ...steps];
    expect(all).toEqual([...new Set(all)]);
    expect(all).toEqual(expect.arrayContaining(projectsIn(scripts.test)));
    expect(projectsIn(scripts.test)).toEqual(['unit', 'jobs', 'hazards']);
  });

  it.each(commands)('%s', async (line) => {
    const { stdout, stderr } = await typed(line);
    expect(stdout).not.toBe('');
    // What the README shows is what it advises.
    expect(stderr).not.toContain('warning:');
  });

  it.each(programs.map((code, i) => [i + 1, code] as const))('program %i runs', async (i, code) => {
    const file = join(inside, `${i}.mjs`);
    await writeFile(file, code);
    const { stdout, stderr } = await run(file);
    expect(stderr).toBe('');
    expect(stdout).not.toBe('');
    // A line that prints may say in a comment what it prints.
    for (const [, printed] of code.matchAll(/console\.log\(.*?\); \/\/ (.+)$/gm)) expect(stdout).toContain(printed);
  });

  const engine = ['', 'test/peers/'].some((at) => existsSync(join(root, `${at}node_modules/onnxruntime-node`)));
  it.skipIf(!engine)(
    `shows what the demo prints${engine ? '' : ' (skipped: no test/peers/node_modules)'}`,
    async () => {
      const shown = blocks('text')[0]!.trim().split('\n');
      const { stdout } = await run(join(root, 'scripts', 'demo', 'run.mjs'));
      // What the machine decides is left out: seconds, and the path of the checkout.
      const steady = (lines: readonly string[]) => lines.filter((line) => !/^[\d.]+ s: |^wrote /.test(line));
      const printed = stdout.split('\n');
      expect(steady(printed).slice(0, steady(shown).length)).toEqual(steady(shown));
    },
  );

  it('names only scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const named = [...readme.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name);
    expect(named).toContain('demo');
    expect(named.filter((name) => !(name! in scripts))).toEqual([]);
  });
});

describe('links', () => {
  const pages = ['README.md', 'CHANGELOG.md', 'examples/README.md', 'examples/noisy-recall/README.md'];
  pages.push(
    ...readdirSync(join(root, 'docs'), { encoding: 'utf8' })
      .filter((n) => n.endsWith('.md'))
      .map((n) => `docs/${n}`),
  );

  it.each(pages)('of %s lead to files that exist', (page) => {
    const text = readFileSync(join(root, page), 'utf8');
    const targets = [...text.matchAll(/\]\((?!\w+:|#)([^)#]+)/g)].map(([, target]) => target!);
    expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
  });
});
