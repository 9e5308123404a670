// Runs programs of Windows in wine, with a prefix of its own in .build/wine/.

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Fault } from '../support/checklist.mjs';

/** Where the prefix, the Nodes and the outputs are. */
export const home = fileURLToPath(new URL('../../.build/wine', import.meta.url));

const environment = {
  ...process.env,
  WINEPREFIX: join(home, 'prefix'),
  WINEARCH: 'win64',
  WINEDEBUG: '-all',
  // Neither a menu entry nor a window that asks for a browser or for .NET.
  WINEDLLOVERRIDES: 'winemenubuilder.exe=d;mscoree=d;mshtml=d',
};

/** Creates the prefix if there is none. Node wants a Windows of at least 8.1. */
export function prepare() {
  if (spawnSync('wine', ['--version']).status !== 0) throw new Error('wine is missing: apt install wine64 wine');
  if (existsSync(join(home, 'prefix', 'system.reg'))) return;
  mkdirSync(home, { recursive: true });
  wine(['wineboot', '--init']);
  wine(['reg', 'add', 'HKCU\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f']);
}

/** The path that Windows' programs have for a path of this system. @param {string} path */
export const windowsPath = (path) => `Z:${path.replaceAll('/', '\\')}`;

/**
 * Starts a program of Windows. Its output goes to files, because libuv cannot write to wine's pipes.
 *
 * @param {string[]} command
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv }} options
 */
function begin([program = '', ...args], { cwd, env }) {
  const names = [join(home, 'out.txt'), join(home, 'err.txt')];
  const files = names.map((name) => openSync(name, 'w'));
  const started = {
    program: 'wine',
    args: [program, ...args],
    options: /** @type {const} */ ({ cwd, env: { ...environment, ...env }, stdio: ['ignore', ...files] }),
  };
  const end = () => {
    for (const file of files) closeSync(file);
    const [stdout = '', stderr = ''] = names.map((name) => readFileSync(name, 'utf8').replaceAll('\r\n', '\n'));
    return { stdout, stderr };
  };
  return { ...started, end };
}

/**
 * Runs a program of Windows and returns its output.
 *
 * @param {string[]} command
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, status?: number, minutes?: number }} [options]
 * @throws {Fault} if it ends with another status
 */
export function wine(command, { status = 0, minutes = 5, ...options } = {}) {
  const { program, args, options: how, end } = begin(command, options);
  const done = spawnSync(program, args, { .../** @type {object} */ (how), timeout: minutes * 60_000 });
  const { stdout, stderr } = end();
  if (done.status === status) return { stdout, stderr };
  const fault = done.error?.message ?? done.signal ?? `exit code ${done.status}`;
  throw new Fault(`${command.join(' ')}: ${fault}\n${stdout}${stderr}`);
}

/**
 * Starts a program of Windows and kills it as soon as a file is there.
 *
 * @param {string[]} command
 * @param {{ cwd: string, file: string }} options
 * @returns {Promise<void>}
 */
export async function wineKilled(command, { cwd, file }) {
  const { program, args, options, end } = begin(command, { cwd });
  const child = spawn(program, args, /** @type {object} */ (options));
  const ended = new Promise((resolve) => child.on('exit', resolve));
  while (!existsSync(file) && child.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  if (child.exitCode !== null) throw new Fault(`ended before it was killed: ${JSON.stringify(end())}`);
  child.kill('SIGKILL');
  await ended;
  end();
}
