import { describe, expect, it } from 'vitest';
import { run, workerAddress } from './support.js';

/** Source that defines `begun()`: a worker that begins computations with `w` and then says so. */
const worker = (code: string) => {
  const address = workerAddress(`const w = matrix(700);
    ${code};
    parentPort.postMessage('begun');`);
  return `import { Worker } from 'node:worker_threads';
    const begun = async () => {
      const thread = new Worker(new URL(${JSON.stringify(address)}));
      thread.ended = new Promise((resolve) => thread.once('exit', resolve));
      await new Promise((resolve, reject) => thread.once('message', resolve).once('error', reject));
      return thread;
    };`;
};

describe('a process or thread that ends while native code runs', () => {
  it('process.exit() during a computation ends with its code', async () => {
    for (const delay of [0, 5, 50]) {
      const { exit, signal, out } = await run(`
        const w = matrix(600);
        for (let i = 0; i < 6; i++) laser(w, { rank: 20, method: 'exact' }).then(() => console.log('done'));
        setTimeout(() => process.exit(7), ${delay});`);
      expect({ exit, signal, out: out.replaceAll('done\n', '') }).toEqual({ exit: 7, signal: null, out: '' });
    }
  });

  it('process.exit() during a decomposition that cannot be interrupted ends soon, with its code', async () => {
    for (const threads of [1, 2]) {
      const { exit, signal, out } = await run(`
        import { writeSync } from 'node:fs';
        laser(matrix(2400), { rank: 20, method: 'exact', threads: ${threads} });
        setTimeout(() => {
          writeSync(1, String(Date.now()));
          process.exit(7);
        }, 400);`);
      expect({ exit, signal, out }).toEqual({ exit: 7, signal: null, out: expect.stringMatching(/^\d+$/) });
      // Without the start of the process, which takes long on a busy machine.
      expect(Date.now() - Number(out)).toBeLessThan(2000);
    }
  });

  it('an uncaught error during a computation ends as always', async () => {
    const { exit, signal, out } = await run(`
      laser(matrix(600), { rank: 20, method: 'exact' });
      setImmediate(() => { throw new Error('on purpose'); });`);
    expect({ exit, signal }).toEqual({ exit: 1, signal: null });
    expect(out).toContain('on purpose');
  });

  it('the process stays alive until a computation has answered', async () => {
    const { out, exit } = await run(
      `laser(matrix(400), { rank: 4, method: 'exact' }).then(() => console.log('answered'));`,
    );
    expect([out, exit]).toEqual(['answered\n', 0]);
  });

  it('worker.terminate() during computations neither crashes nor leaks, and the main thread computes on', async () => {
    const { out, exit, signal } =
      await run(`${worker("for (let i = 0; i < 5; i++) laser(w, { rank: 9, method: 'exact' })")}
      const expected = laserSync(matrix(90), { rank: 9 }).data;
      for (let round = 0; round < 4; round++) {
        const thread = await begun();
        const mine = laser(matrix(90), { rank: 9 });
        await new Promise((resolve) => setTimeout(resolve, 10 * round));
        await thread.terminate();
        if (Buffer.compare(Buffer.from((await mine).data.buffer), Buffer.from(expected.buffer)) !== 0) console.log('differs');
      }
      console.log('native bytes', memoryUsage().native.now);`);
    expect({ out, exit, signal }).toEqual({ out: 'native bytes 0\n', exit: 0, signal: null });
  });

  it('several workers compute at once and end by themselves', async () => {
    const { out, exit } = await run(`${worker("laser(w, { rank: 9, method: 'exact' })")}
      const threads = await Promise.all([begun(), begun(), begun()]);
      await Promise.all(threads.map((thread) => thread.ended));
      console.log('all ended', memoryUsage().native.now);`);
    expect([out, exit]).toEqual(['all ended 0\n', 0]);
  });

  it('process.exit() while a worker computes', async () => {
    const { exit, signal } = await run(`${worker("for (let i = 0; i < 5; i++) laser(w, { rank: 9, method: 'exact' })")}
      await begun();
      process.exit(3);`);
    expect({ exit, signal }).toEqual({ exit: 3, signal: null });
  });
});

describe('a child process that is started during a computation', () => {
  it('does not take the threads away with which it computes', async () => {
    // OpenBLAS would end its threads before every fork; the decomposition would then wait for them
    // for ever.
    const { out, exit } = await run(`
      import { execFileSync } from 'node:child_process';
      const running = [1, 2, 3].map(() => laser(matrix(500), { rank: 9, method: 'exact', threads: 2 }));
      for (let i = 0; i < 10; i++) execFileSync(process.execPath, ['--version']);
      console.log((await Promise.all(running)).length);`);
    expect([out, exit]).toEqual(['3\n', 0]);
  });
});

describe('many calls', () => {
  it('2,000 in sequence do not grow the process', async () => {
    const { out } = await run(`
      const w = matrix(48);
      const round = async (count) => { for (let i = 0; i < count; i++) await laser(w, { rank: 5 }); };
      await round(500);
      const before = process.memoryUsage().rss;
      await round(2000);
      console.log(process.memoryUsage().rss - before);`);
    expect(Number(out)).toBeLessThan(30e6);
  });
});
