import { existsSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { commandEngine, splitCommand } from '../../../lib/evaluate/engines/command.js';
import { llamaEngine } from '../../../lib/evaluate/engines/llama.js';
import { onnxEngine } from '../../../lib/evaluate/engines/onnx.js';
import { findPeer, importPeer } from '../../../lib/evaluate/engines/peers.js';
import { type EvaluateOptions, Evaluator } from '../../../lib/evaluate/evaluator.js';
import type { Question } from '../../../lib/evaluate/questions/question.js';
import { temporaryFolder } from '../../support/folder.js';

const questions: Question[] = [
  { id: 4, kind: 'choice', prompt: 'a', choices: ['x', 'y'], label: 1, answer: 'y' },
  { id: 9, kind: 'answer', prompt: 'b', answer: 'Rome' },
];

// With spaces in its path.
const folder = join(temporaryFolder(), 'of a program');
beforeAll(() => mkdir(folder));

/**
 * Evaluates with a program of this source, which finds its arguments in `args` and prints with
 * `say`.
 */
async function run(source: string, options: EvaluateOptions = {}) {
  const script = join(folder, 'program.mjs');
  await writeFile(
    script,
    `import { readFileSync } from 'node:fs';
const args = process.argv.slice(2);
const questions = readFileSync(args[1], 'utf8').trim().split('\\n').map((line) => JSON.parse(line));
const say = (row) => console.log(JSON.stringify(row));
${source}`,
  );
  const engine = commandEngine({ command: [process.execPath, script, '{checkpoint}', '{questions}'], threads: 3 });
  return new Evaluator(engine).evaluate('some model', questions, options);
}

describe('the engine command', () => {
  it('passes the checkpoint and the questions, and grades the answers', async () => {
    const { results, summary, reported } = await run(
      `console.log('loading');
       const wrong = !args[0].endsWith('some model') || process.env.LOWRANK_CHECKPOINT !== args[0]
         || process.env.OMP_NUM_THREADS !== '3' || process.env.LOWRANK_GENERATE !== '7';
       if (wrong) process.exit(9);
       say({ id: questions[1].id, generation: ' ' + questions[1].answer, answerLogProb: -3, answerTokens: 2 });
       say({ id: questions[0].id, choiceLogProbs: [-1, -2], answerTokens: 1 });
       say({ seconds: 1.5, name: 'x' });`,
      { generate: 7 },
    );
    expect(results[0]).toMatchObject({ id: 9, correct: true, exactMatch: true, f1: 1 });
    expect(results[1]).toMatchObject({ id: 4, correct: false, prediction: 'x', answerLogProb: -2 });
    expect(summary.accuracy).toMatchObject({ value: 0.5, examples: 2 });
    expect(summary.perplexity?.value).toBeCloseTo(Math.exp(5 / 3), 12);
    expect(reported).toEqual({ seconds: 1.5 });
  });

  it('takes a summary alone, over several lines too', async () => {
    const { results, reported, summary } = await run(
      `console.log(JSON.stringify({ accuracy: 0.25, task: 'x' }, null, 2));`,
    );
    expect([results, reported, summary]).toEqual([[], { accuracy: 0.25 }, {}]);
  });

  it('reports faults of a program', async () => {
    const fault = (source: string) =>
      run(source).then(
        () => 'fine',
        (error) => `${error.code} ${error.message}`,
      );
    expect(await fault(`console.error('no such model'); process.exit(3);`)).toMatch(
      /^ERR_ENGINE .*ended with 3\nno such model$/s,
    );
    expect(await fault(`say({ id: 4, correct: true });`)).toMatch(/answered 1 of 2 questions/);
    expect(await fault('')).toMatch(/answered 0 of 2 questions/);
    expect(await fault(`say({ id: 5, correct: true });`)).toMatch(/answered an unknown question 5/);
    expect(await fault(`say({ id: 4, choiceLogProbs: [1] });`)).toMatch(
      /question 4: expected choiceLogProbs to be 2 numbers/,
    );
    expect(await fault(`say({ id: 9, correct: 'yes' });`)).toMatch(
      /question 9: expected correct to be true or false, got "yes"/,
    );
    const absent = new Evaluator(commandEngine({ command: join(folder, 'absent').replaceAll(' ', '\\ ') }));
    await expect(absent.evaluate('x', questions)).rejects.toMatchObject({ code: 'ERR_ENGINE' });
  });

  describe('when it is aborted', () => {
    // Ignores SIGTERM, and so do the two that it starts, of which one holds both pipes open.
    const stubborn = (pids: string) => `
      import { spawn } from 'node:child_process';
      import { writeFileSync } from 'node:fs';
      process.on('SIGTERM', () => {});
      const child = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setTimeout(() => {}, 60_000); console.log("up")'],
        { stdio: ['ignore', 'pipe', 'inherit'] });
      child.stdout.once('data', () => {
        const other = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setTimeout(() => {}, 60_000)'],
          { stdio: 'inherit' });
        writeFileSync(${JSON.stringify(pids)}, JSON.stringify([process.pid, child.pid, other.pid]));
        say({ id: 4, correct: true });
      });
      setTimeout(() => {}, 60_000);`;
    const lives = (pid: number) => {
      try {
        process.kill(pid, 0);
        return process.platform !== 'linux' || !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
      } catch {
        return false;
      }
    };

    it('ends a program that ignores SIGTERM, and all that it started, and does not wait for their output', async () => {
      const controller = new AbortController();
      let aborted = 0;
      const pids = join(folder, 'pids');
      const evaluation = run(stubborn(pids), {
        signal: controller.signal,
        onProgress: ({ done }) => {
          if (done === 0) return;
          aborted = performance.now();
          controller.abort(new Error('enough'));
        },
      });
      await expect(evaluation).rejects.toThrow('enough');
      expect(performance.now() - aborted).toBeLessThan(5000);
      const group = JSON.parse(readFileSync(pids, 'utf8')) as number[];
      expect(group).toHaveLength(3);
      await vi.waitFor(() => expect(group.filter(lives)).toEqual([]));
    });

    it('lets a program clean up, and takes no longer than it does', async () => {
      const controller = new AbortController();
      let aborted = 0;
      const file = join(folder, 'cleaned-up');
      const evaluation = run(
        `import { writeFileSync } from 'node:fs';
         process.on('SIGTERM', () => { writeFileSync(${JSON.stringify(file)}, ''); process.exit(0); });
         setTimeout(() => {}, 60_000);
         say({ id: 4, correct: true });`,
        {
          signal: controller.signal,
          onProgress: ({ done }) => {
            if (done === 0) return;
            aborted = performance.now();
            controller.abort(new Error('enough'));
          },
        },
      );
      await expect(evaluation).rejects.toThrow('enough');
      expect(existsSync(file)).toBe(true);
      expect(performance.now() - aborted).toBeLessThan(1500);
    });

    it('starts nothing when it was aborted before, at any step', async () => {
      const file = join(folder, 'started');
      const source = `import { writeFileSync } from 'node:fs'; writeFileSync(${JSON.stringify(file)}, '');`;
      const reason = new Error('enough');
      await expect(run(source, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      // While the questions are written.
      const controller = new AbortController();
      const session = await commandEngine({ command: [process.execPath, join(folder, 'program.mjs')] }).open('x');
      const answers = session.ask(questions, { signal: controller.signal });
      const first = answers.next();
      controller.abort(reason);
      await expect(first).rejects.toBe(reason);
      expect(existsSync(file)).toBe(false);
    });
  });

  it('divides commands as a shell does, without its powers', () => {
    expect(splitCommand(` python  'a b.py' "c \\"d" e\\ f C:\\g '' $HOME`)).toEqual([
      'python',
      'a b.py',
      'c "d',
      'e f',
      'C:\\g',
      '',
      '$HOME',
    ]);
    expect(() => splitCommand(`a 'b`)).toThrow('command');
    expect(() => commandEngine({ command: ' ' })).toThrow('command');
  });
});

describe('optional packages', () => {
  it('are found in a folder, by the entry that an import takes', async () => {
    const modules = join(folder, 'node_modules', 'some-peer');
    await mkdir(modules, { recursive: true });
    const exports = { '.': { require: './c.cjs', node: { import: './main.mjs' } } };
    await writeFile(join(modules, 'package.json'), JSON.stringify({ name: 'some-peer', exports }));
    await writeFile(join(modules, 'main.mjs'), 'export const answer = 42;');
    expect(await importPeer('some-peer', folder)).toMatchObject({ answer: 42 });
    await writeFile(join(modules, 'package.json'), JSON.stringify({ name: 'some-peer', main: 'c.cjs' }));
    await writeFile(join(modules, 'c.cjs'), 'module.exports = { get: () => 1 };');
    expect(findPeer('some-peer', folder)).toMatch(/c\.cjs$/);
    expect((await importPeer<{ get: () => number }>('some-peer', folder)).get()).toBe(1);
    const broken = join(folder, 'node_modules', 'broken-peer');
    await mkdir(broken, { recursive: true });
    await writeFile(join(broken, 'package.json'), JSON.stringify({ name: 'broken-peer', exports: './main.mjs' }));
    await writeFile(join(broken, 'main.mjs'), 'throw new Error("no such instruction");');
    await expect(importPeer('broken-peer', folder)).rejects.toMatchObject({
      code: 'ERR_PEER',
      message: 'broken-peer does not load: no such instruction',
    });
  });

  it('are requested if missing, with the command to run', async () => {
    expect(() => findPeer('no-such-peer', folder)).toThrow(
      expect.objectContaining({ code: 'ERR_PEER', hint: 'Install it: npm install no-such-peer.' }),
    );
    const llama = llamaEngine({ peers: folder });
    await expect(llama.open('x.gguf')).rejects.toMatchObject({
      code: 'ERR_PEER',
      hint: expect.stringContaining('npm install node-llama-cpp'),
    });
    await llama.close();
    await expect(onnxEngine().open(join(folder, 'absent'))).rejects.toMatchObject({ code: 'ERR_ENGINE' });
    await writeFile(join(folder, 'model.onnx'), '');
    await expect(onnxEngine().open(folder)).rejects.toThrow('no tokenizer.json');
    await writeFile(join(folder, 'tokenizer.json'), '{}');
    await expect(onnxEngine({ peers: folder }).open(folder)).rejects.toMatchObject({
      code: 'ERR_PEER',
      hint: expect.stringContaining('npm install onnxruntime-node'),
    });
  });
});
