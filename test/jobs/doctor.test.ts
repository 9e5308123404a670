import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { lowrank, spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const at = temporaryPaths();

function doctor(args: readonly string[], cwd: string) {
  return lowrank(['doctor', ...args], { cwd, env: { NO_COLOR: '1' } });
}

/** Writes a package that could be an engine's into the `node_modules` of a folder. */
async function engine(folder: string, name: string, code: string): Promise<void> {
  const own = at(folder, 'node_modules', ...name.split('/'));
  await mkdir(own, { recursive: true });
  await writeFile(join(own, 'package.json'), JSON.stringify({ name, version: '9.8.7', main: 'index.js' }));
  await writeFile(join(own, 'index.js'), code);
}

describe('lowrank doctor', () => {
  beforeAll(async () => {
    await mkdir(at('empty'));
    await engine('found', 'node-llama-cpp', 'exports.getLlama = () => {};');
    await engine('found', 'onnxruntime-node', 'exports.InferenceSession = {};');
    await engine('broken', 'node-llama-cpp', 'throw new Error("no binding for this platform");');
  });

  it('shows system, native code, memory and engines', async () => {
    const { code, stdout, stderr } = await doctor([], at('empty'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`host       Node ${process.versions.node}\n`);
    expect(stdout).toMatch(/^platform {3}\w+-\w+, (glibc \d\.\d+|musl|Darwin [\d.]+|Windows [\d.]+)$/m);
    expect(stdout).toMatch(/^memory {5}[\d.]+ GB, [\d.]+ [GM]B available/m);
    expect(stdout).toMatch(/^kernels {4}(avx512|avx2|sse2|neon)$/m);
    expect(stdout).toMatch(/^OpenBLAS {3}\d+\.\d+\.\d+.*, kernel \w+, \d+ threads?$/m);
    expect(stdout).toMatch(/^self-test {2}passed in .+, matrix product at \d+ GFLOP\/s$/m);
    expect(stdout).toMatch(/^llama {6}not installed, node-llama-cpp is missing$/m);
    expect(stdout).toMatch(/^command {4}ready, /m);
  });

  it('names the variables that force kernels', async () => {
    const env = { NO_COLOR: '1', OPENBLAS_CORETYPE: 'Nehalem', LOWRANK_SIMD: process.arch === 'x64' ? 'sse2' : 'neon' };
    const { stdout } = await spawnLowrank(['doctor'], { cwd: at('empty'), env });
    expect(stdout).toMatch(/^kernels {4}(\w+), forced by LOWRANK_SIMD=\1$/m);
    expect(stdout).toMatch(/^OpenBLAS {3}\S+, kernel \w+, forced by OPENBLAS_CORETYPE=Nehalem, \d+ threads?$/m);
    const told = await spawnLowrank(['doctor', '--json'], { cwd: at('empty'), env });
    expect(JSON.parse(told.stdout).addon.forced).toEqual({
      OPENBLAS_CORETYPE: 'Nehalem',
      LOWRANK_SIMD: env.LOWRANK_SIMD,
    });
  });

  it('prints the same as JSON, and finds engines in the working directory', async () => {
    const { code, stdout, stderr } = await doctor(['--json'], at('found'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const diagnosis = JSON.parse(stdout);
    expect(diagnosis).toMatchObject({ node: process.versions.node, problems: [] });
    expect(diagnosis).toMatchObject({ host: `Node ${process.versions.node}`, addon: { forced: {} } });
    const { total, available, limit } = diagnosis.memory;
    expect(total).toBeGreaterThan(0);
    expect(available).toBeGreaterThan(0);
    expect(available).toBeLessThanOrEqual(limit ?? total);
    const { selfTest, addon } = diagnosis;
    expect(addon.path).toMatch(/\.node$/);
    expect(addon.threads).toBeGreaterThan(0);
    expect(selfTest).toMatchObject({ passed: true });
    expect(selfTest.gigaflops).toBeGreaterThan(0.1);
    expect(diagnosis.engines).toEqual([
      {
        engine: 'llama',
        state: 'ready',
        packages: [{ name: 'node-llama-cpp', version: '9.8.7', folder: at('found', 'node_modules', 'node-llama-cpp') }],
      },
      {
        engine: 'onnx',
        state: 'not installed',
        packages: [expect.objectContaining({ version: '9.8.7' }), { name: '@huggingface/tokenizers' }],
      },
      { engine: 'command', state: 'ready', packages: [] },
    ]);
  });

  it('exits with 1 and gives a hint when an installed engine does not load', async () => {
    const shown = await doctor([], at('broken'));
    expect(shown.code).toBe(1);
    expect(shown.stdout).toMatch(/^llama {6}broken, node-llama-cpp 9\.8\.7 in /m);
    expect(shown.stderr).toMatch(
      /^error: node-llama-cpp does not load: no binding for this platform\nhint: Reinstall it: .+\n$/,
    );
    const told = await doctor(['--json'], at('broken'));
    expect(told.code).toBe(1);
    expect(JSON.parse(told.stdout).problems).toEqual([
      {
        code: 'ERR_PEER',
        message: expect.stringContaining('no binding'),
        hint: expect.stringContaining('npm install node-llama-cpp'),
      },
    ]);
  });

  it('exits with 1 and still shows the rest without native code', async () => {
    // The package without its binaries.
    await mkdir(at('bare'));
    for (const part of ['dist', 'package.json']) await cp(join(root, part), at('bare', part), { recursive: true });
    await symlink(join(root, 'node_modules'), at('bare', 'node_modules'));
    const bare = (...args: string[]) =>
      spawnLowrank(['doctor', ...args], { cwd: at('empty'), main: at('bare', 'dist', 'cli', 'main.js') });
    const { code, stdout, stderr } = await bare();
    expect(code).toBe(1);
    expect(stdout).toMatch(/^addon {6}does not load$/m);
    expect(stdout).toMatch(/^command {4}ready/m);
    expect(stderr).toMatch(/^error: no native binary of lowrank for .+\nhint: .+\n$/);
    const told = await bare('--json');
    expect(told.code).toBe(1);
    const diagnosis = JSON.parse(told.stdout);
    expect(diagnosis.addon).toBeUndefined();
    expect(diagnosis.problems).toEqual([expect.objectContaining({ code: 'ERR_ADDON', hint: expect.any(String) })]);
  });
});
