import { describe, expect, it } from 'vitest';
import { prelude, run } from './support.js';

const child = `data:text/javascript,${encodeURIComponent(`${prelude}
  const x = await laser(matrix(150), { rank: 9, method: 'exact' });
  console.log(x.data.length);`)}`;
const args = JSON.stringify(['--input-type=module', '-e', `await import(${JSON.stringify(child)})`]);

describe('processes that start others', () => {
  it('child processes, started while native threads compute, compute too', async () => {
    const { out, exit, signal } = await run(`
      import { execFileSync, spawn } from 'node:child_process';
      const running = [1, 2, 3].map((threads) => start.gesdd(matrix(500), { threads }));
      const spawned = [1, 2, 3].map(() => new Promise((resolve) => {
        spawn(process.execPath, ${args}, { stdio: ['ignore', 'pipe', 'inherit'] }).once('exit', resolve);
      }));
      const text = execFileSync(process.execPath, ${args}, { encoding: 'utf8' });
      console.log(text.trim(), await Promise.all(spawned), (await Promise.all(running)).length);
      console.log(laserSync(matrix(40), { rank: 3 }).data.length);`);
    expect({ out, exit, signal }).toEqual({ out: '22500 [ 0, 0, 0 ] 3\n1600\n', exit: 0, signal: null });
  });

  it('fork() of child_process, with results sent back', async () => {
    const { out, exit, signal } = await run(`
      import { fork } from 'node:child_process';
      import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
      import { tmpdir } from 'node:os';
      import { join } from 'node:path';
      const folder = mkdtempSync(join(tmpdir(), 'lowrank-fork-'));
      const file = join(folder, 'child.mjs');
      writeFileSync(file, ${JSON.stringify(`${prelude}
        process.once('message', async (n) => {
          process.send((await laser(matrix(n), { rank: 9 })).data.length);
          process.disconnect();
        });`)});
      const running = start.gesdd(matrix(400));
      const answers = await Promise.all([30, 60, 90].map((n) => new Promise((resolve) => {
        const forked = fork(file, { execArgv: [] }).once('message', resolve);
        forked.send(n);
      })));
      await running;
      rmSync(folder, { recursive: true });
      console.log(answers);`);
    expect({ out, exit, signal }).toEqual({ out: '[ 900, 3600, 8100 ]\n', exit: 0, signal: null });
  });

  it('cluster: primary and workers compute, one is killed, one disconnects', async () => {
    const { out, exit, signal } = await run(`
      import cluster from 'node:cluster';
      import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
      import { tmpdir } from 'node:os';
      import { join } from 'node:path';
      const folder = mkdtempSync(join(tmpdir(), 'lowrank-cluster-'));
      const file = join(folder, 'worker.mjs');
      writeFileSync(file, ${JSON.stringify(`${prelude}
        const { data } = await laser(matrix(80), { rank: 9 });
        process.send(data.length);
        setInterval(() => start.gesdd(matrix(300)), 1);`)});
      cluster.setupPrimary({ exec: file, execArgv: [] });
      const workers = [cluster.fork(), cluster.fork(), cluster.fork()];
      const answers = await Promise.all(workers.map((one) => new Promise((resolve) => one.once('message', resolve))));
      const ends = workers.map((one) => new Promise((resolve) => one.once('exit', (code, signal) => resolve(signal ?? code))));
      const mine = start.gesdd(matrix(300));
      workers[0].process.kill('SIGKILL');
      workers[1].process.kill('SIGTERM');
      workers[2].disconnect();
      await sleep(50);
      workers[2].process.kill('SIGTERM');
      const [first, second] = await Promise.all(ends);
      await mine;
      rmSync(folder, { recursive: true });
      console.log(answers, first, second);`);
    expect({ out, exit, signal }).toEqual({ out: '[ 6400, 6400, 6400 ] SIGKILL SIGTERM\n', exit: 0, signal: null });
  });
});
