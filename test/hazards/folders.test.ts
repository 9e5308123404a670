import { chmodSync, mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { editCheckpoint } from '../../lib/edit/edit-checkpoint.js';
import { LowRankError } from '../../lib/errors.js';
import { parseAt, parseTensorSpec } from '../../lib/interventions/spec.js';
import { tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { lowrank, main } from '../support/cli.js';
import { temporaryFolder, temporaryPaths } from '../support/folder.js';
import { run } from './support.js';

const at = temporaryPaths();
let llama: string;
let slow: string;

beforeAll(async () => {
  llama = await writeModel(at('llama'), tinyLlama());
  const tensors = new Map(Array.from({ length: 8 }, (_, i) => [`blocks.${i}.w`, weights([400, 400], 'F32', i)]));
  slow = await writeModel(at('slow'), tensors, { config: {} });
});

const edit = (out: string) => ['laser', llama, '-o', out, '--at', '0:mlp:0.25'];

describe('an output that cannot be written', () => {
  const isRoot = process.getuid?.() === 0;
  const places: [string, () => string][] = [
    ['below a file', () => join(llama, 'config.json', 'out')],
    ['below a folder that is not there', () => at('nowhere', 'out')],
    ['where no file can be made', () => (process.platform === 'linux' ? '/proc/lowrank' : '/dev/null/out')],
    ['with a name too long', () => at('x'.repeat(300))],
    [
      'a link that leads to itself',
      () => {
        symlinkSync(at('loop'), at('loop'));
        return join(at('loop'), 'out');
      },
    ],
  ];
  it.each(places)('%s: exit 1, a message, nothing left', async (_, place) => {
    const before = await readdir(at());
    const out = place();
    const ended = await lowrank(edit(out));
    expect(ended).toMatchObject({ code: 1, signal: null, stdout: '' });
    expect(ended.stderr).toMatch(/error: /);
    expect(ended.stderr).not.toContain('Unexpected error');
    expect((await readdir(at())).filter((name) => name !== 'loop')).toEqual(before.filter((name) => name !== 'loop'));
  });

  it.skipIf(isRoot)('in a folder without permission (skipped for root, who has it)', async () => {
    mkdirSync(at('closed'));
    chmodSync(at('closed'), 0o500);
    const ended = await lowrank(edit(at('closed', 'out')));
    expect(ended).toMatchObject({ code: 1, stdout: '' });
    expect(ended.stderr).toMatch(/error: .*closed/);
  });
});

describe('folders that vanish during a job', () => {
  /** Runs an edit in which something happens after the first tensor. */
  async function editWhile(out: string, happens: () => Promise<void>): Promise<LowRankError> {
    let once: Promise<void> | undefined;
    try {
      await editCheckpoint(slow, out, {
        interventions: [parseTensorSpec('blocks.*:0.5')],
        threads: 1,
        onProgress: ({ done }) => {
          if (done >= 1) once ??= happens();
        },
      });
    } catch (error) {
      await once;
      if (error instanceof LowRankError) return error;
      throw error;
    }
    throw new Error('expected a failure');
  }

  it("the output's parent is removed: ERR_CHECKPOINT_IO, and it does not come back", async () => {
    await mkdir(at('parent'));
    const error = await editWhile(at('parent', 'out'), () => rm(at('parent'), { recursive: true, force: true }));
    expect(error.code).toMatch(/^ERR_(CHECKPOINT_IO|OUTPUT)$/);
    expect(await readdir(at())).not.toContain('parent');
  });

  it("the output's parent gets another name", async () => {
    await mkdir(at('named'));
    const error = await editWhile(at('named', 'out'), () => rename(at('named'), at('renamed')));
    expect(error.code).toMatch(/^ERR_(CHECKPOINT_IO|OUTPUT)$/);
    expect(await readdir(at())).not.toContain('named');
  });
});

describe('a checkpoint that vanishes', () => {
  /** `done`, or the code of the error. */
  async function copied(source: string, out: string): Promise<string> {
    try {
      await editCheckpoint(source, out, { interventions: [parseAt('all:mlp:0.5')] });
      return 'done';
    } catch (error) {
      if (error instanceof LowRankError) return error.code;
      throw error;
    }
  }

  it('again and again, while jobs read it', async () => {
    const source = await writeModel(at('fleeting'), tinyLlama());
    const codes = new Set<string>();
    let ended = false;
    const other = (async () => {
      for (let i = 0; !ended; i++) {
        await rename(source, at('elsewhere'));
        await new Promise((resolve) => setTimeout(resolve, i % 7));
        await rename(at('elsewhere'), source);
        await new Promise((resolve) => setTimeout(resolve, i % 11));
      }
    })();
    try {
      for (let i = 0; i < 40; i++) codes.add(await copied(source, at(`copy-${i}`)));
    } finally {
      ended = true;
      await other;
    }
    expect([...codes].filter((code) => code !== 'done' && code !== 'ERR_CHECKPOINT_IO')).toEqual([]);
  });
});

describe.skipIf(process.platform === 'win32')('a working folder that is gone', () => {
  const folder = temporaryFolder();

  it('the command line reports it, and works with absolute paths', async () => {
    const gone = join(folder, 'gone');
    mkdirSync(gone);
    writeFileSync(join(folder, 'note'), '');
    const { out, exit, signal } = await run(`
      import { rmdirSync } from 'node:fs';
      import { spawnSync } from 'node:child_process';
      process.chdir(${JSON.stringify(gone)});
      rmdirSync(${JSON.stringify(gone)});
      const cli = (...args) => spawnSync(process.execPath, [${JSON.stringify(main)}, ...args], { encoding: 'utf8' });
      const relative = cli('inspect', 'model');
      console.log(relative.status, /error: /.test(relative.stderr), /Unexpected error/.test(relative.stderr), relative.stderr.slice(0, 200));
      const absolute = cli('inspect', ${JSON.stringify(llama)}, '--json');
      console.log(absolute.status, absolute.stderr.slice(0, 300));`);
    expect({ out: out.replace(/error: .*\n(hint: .*\n)?/, ''), exit, signal }).toEqual({
      out: '1 true false \n0 \n',
      exit: 0,
      signal: null,
    });
  });

  it('moving the folder away while the library computes changes nothing', async () => {
    mkdirSync(join(folder, 'here'));
    const { out, exit } = await run(`
      import { renameSync } from 'node:fs';
      process.chdir(${JSON.stringify(join(folder, 'here'))});
      const running = start.gesdd(matrix(300));
      renameSync(${JSON.stringify(join(folder, 'here'))}, ${JSON.stringify(join(folder, 'there'))});
      console.log((await running).data.length);`);
    renameSync(join(folder, 'there'), join(folder, 'here'));
    expect([out, exit]).toEqual(['90000\n', 0]);
  });
});
