import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The project's folder. */
export const root = join(import.meta.dirname, '..', '..');

function find(): string | undefined {
  const asked = process.env.LOWRANK_PYTHON;
  if (asked) {
    if (!existsSync(asked)) throw new Error(`LOWRANK_PYTHON is ${asked}: no such file`);
    return asked;
  }
  const own = join(root, '.venv', 'bin', 'python');
  return existsSync(own) ? own : undefined;
}

/**
 * A Python that has `requirements.txt` installed: `LOWRANK_PYTHON`, else the one of the project's
 * `.venv`.
 */
export const python = find();

/** For the names of suites that need Python: says why they are skipped when they are. */
export const unlessNoPython = python
  ? ''
  : ' (skipped: no Python; set LOWRANK_PYTHON, or make .venv with test/interop/requirements.txt)';

/**
 * Runs a script of this folder and returns what it wrote to stdout. Rejects with its stderr when it
 * fails. Nothing is fetched from a model hub, and no byte code is left in the source tree.
 */
export async function runPython(script: string, ...args: string[]): Promise<string> {
  if (!python) throw new Error('no Python to run');
  const environment = { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' };
  const options = { env: environment, maxBuffer: 64 * 2 ** 20 };
  const { stdout } = await run(python, [join(import.meta.dirname, script), ...args], options);
  return stdout;
}
