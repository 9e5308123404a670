import { describe, expect, it } from 'vitest';
import { LONG, run, TRIED } from './support.js';

describe('many calls at once', () => {
  it('200 of all kinds, with thread counts that change all the time, give what each gives alone', async () => {
    const { out, exit, signal } = await run(`
      const names = ${JSON.stringify(LONG)};
      const sizes = [1, 2, 17, 60, 120, 250];
      const threads = [1, 2, 3, 8, 64, 1024, undefined];
      const jobs = Array.from({ length: 200 }, (_, i) => ({
        name: names[i % names.length],
        w: matrix(sizes[i % sizes.length]),
        options: { threads: threads[i % threads.length], ...(/gesdd|gram|krylov/.test(names[i % names.length]) ? { rank: 1 } : {}) },
      }));
      const call = ({ name, w, options }) => start[name](w, options).then((x) => JSON.stringify(x.s ?? x.singularValues ?? x.data ?? x));
      const together = await Promise.all(jobs.map(call));
      let different = 0;
      for (const [i, job] of jobs.entries()) if ((await call(job)) !== together[i]) different++;
      console.log(together.length, different, memoryUsage().native.now);`);
    expect({ out, exit, signal }).toEqual({ out: '200 0 0\n', exit: 0, signal: null });
  });

  it.each(TRIED)('200 of %s, stopped by one signal in the middle', async (name) => {
    const { out, exit, signal } = await run(`
      const w = matrix(200);
      const controller = new AbortController();
      const calls = Array.from({ length: 200 }, (_, i) => start.${name}(w, { signal: controller.signal, threads: 1 + i % 3 }));
      await Promise.race(calls);
      controller.abort(new Error('enough'));
      const outcomes = await Promise.allSettled(calls);
      const other = outcomes.filter(({ status, reason }) => status === 'rejected' && reason.message !== 'enough');
      console.log(outcomes.length, other.length, memoryUsage().native.now);`);
    expect({ out, exit, signal }).toEqual({ out: '200 0 0\n', exit: 0, signal: null });
  });

  it('synchronous calls and asynchronous ones do not wait for each other for ever', async () => {
    const { out, exit } = await run(`
      const running = Array.from({ length: 12 }, (_, i) => start.gesdd(matrix(200 + i), { threads: 1 + i % 4 }));
      for (let i = 0; i < 12; i++) laserSync(matrix(100 + i), { rank: 3, threads: 1 + i % 4 });
      console.log((await Promise.all(running)).length);`);
    expect({ out, exit }).toEqual({ out: '12\n', exit: 0 });
  });

  it.each(['1', '2', '7', '64', '0', '-3', 'many'])('OPENBLAS_NUM_THREADS=%s', async (count) => {
    const { out, exit, signal } = await run(
      `const x = await laser(matrix(300), { rank: 9, method: 'exact' });
      console.log(x.data.length, Number.isFinite(x.data[17]), memoryUsage().native.now);`,
      [],
      { OPENBLAS_NUM_THREADS: count },
    );
    expect({ out, exit, signal }).toEqual({ out: '90000 true 0\n', exit: 0, signal: null });
  });
});
