import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { chmod, copyFile, cp, mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type NewGgufTensor, writeGguf } from '../../lib/checkpoint/gguf/write.js';
import { open } from '../../lib/checkpoint/open.js';
import type { NewTensor } from '../../lib/checkpoint/safetensors/file.js';
import { createProgram } from '../../lib/cli/program.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { tinyLlama, weights, writeModel } from '../support/checkpoints.js';
import { commandsIn, commandsOf, lowrank, main, screen, wordsOf } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { assembled } from '../support/gguf.js';
import { gaussian } from '../support/matrices.js';
import { hasPeers, peers } from '../support/peers.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const toy = join(root, 'examples', 'noisy-recall');
const at = temporaryPaths();
// A package can import itself by name only from its own folder.
const inside = join(root, '.build', `docs-${process.pid}`);

/**
 * Their examples are jobs with tests of their own: here it is only checked that the commands are
 * understood.
 */
const LONG_JOBS = new Set([
  'calibration.md',
  'checkpoints.md',
  'comparing-models.md',
  'compressing.md',
  'evaluating.md',
  'first-steps.md',
  'many-machines.md',
  'quantising.md',
  'searching.md',
]);

interface Block {
  readonly language: string;
  readonly text: string;
}

const pages = readdirSync(join(root, 'docs'), { encoding: 'utf8' }).filter((name) => name.endsWith('.md'));
const textOf = (page: string) => readFileSync(join(root, 'docs', page), 'utf8');

function blocksOf(page: string): Block[] {
  return [...textOf(page).matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, text]) => ({
    language: language!,
    text: text!,
  }));
}

/**
 * A Llama with an update of rank 4 in each matrix of its layers, and another norm, which no adapter
 * can carry.
 */
function tuned(): Map<string, NewTensor> {
  const tensors = tinyLlama();
  let seed = 1000;
  for (const [name, { shape, bytes, dtype }] of tensors) {
    const data = toFloat32(bytes, 'F32');
    if (name.includes('_proj')) {
      const [m, n] = shape as [number, number];
      const [b, a] = [gaussian([m, 4], ++seed).data, gaussian([4, n], ++seed).data];
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) for (let t = 0; t < 4; t++) data[i * n + j]! += 0.1 * b[i * 4 + t]! * a[t * n + j]!;
      }
    } else if (name === 'model.layers.0.input_layernorm.weight') data[0]! += 1;
    tensors.set(name, { dtype, shape, bytes: fromFloat32(data, 'F32') });
  }
  return tensors;
}

function gptj(): Map<string, NewTensor> {
  const parts = ['attn.q_proj', 'attn.k_proj', 'attn.v_proj', 'attn.out_proj', 'mlp.fc_in', 'mlp.fc_out'];
  const names = Array.from({ length: 28 }, (_, i) => parts.map((part) => `transformer.h.${i}.${part}.weight`)).flat();
  return new Map(names.map((name, i) => [name, weights([16, 16], 'F16', i)]));
}

/** The GGUF model with its feed-forward matrices as Q8_0. */
async function quantised(out: string): Promise<void> {
  const source = await open(join(toy, 'gguf', 'model.gguf'));
  const types = new Map<string, 'Q8_0'>();
  const bytes = new Map<string, Uint8Array>();
  for (const { name, shape } of source.tensors.values()) {
    if (!name.includes('ffn') || shape.length !== 2) continue;
    types.set(name, 'Q8_0');
    bytes.set(name, fromFloat32(toFloat32(await source.read(name), 'F32'), 'Q8_0'));
  }
  const files = await assembled(source, join(toy, 'gguf'), types, bytes);
  await source.close();
  await writeFile(out, files.get('model.gguf')!);
}

/** An imatrix with made-up sums for the quantised weights of a model. */
async function importances(model: string, out: string): Promise<void> {
  const source = await open(model);
  const sums = [...source.tensors.values()].flatMap(({ name, shape, dtype }): [string, NewGgufTensor][] => {
    if (dtype !== 'Q8_0') return [];
    const row = gaussian([1, shape[1]!], 5).data.map((value) => value * value);
    return [
      [`${name}.in_sum2`, { type: 'F32', shape: [1, shape[1]!], bytes: fromFloat32(row, 'F32') }],
      [`${name}.counts`, { type: 'F32', shape: [1, 1], bytes: fromFloat32(Float32Array.of(1), 'F32') }],
    ];
  });
  await source.close();
  await writeGguf(out, new Map([['general.type', 'imatrix']]), new Map(sums));
}

beforeAll(async () => {
  const models = (...names: string[]) => at('models', ...names);
  await cp(join(toy, 'model'), models('my-model'), { recursive: true });
  await copyFile(join(toy, 'gguf', 'model.gguf'), models('my-model.gguf'));
  await copyFile(join(toy, 'validation.jsonl'), models('questions.jsonl'));
  await quantised(models('my-model.Q8_0.gguf'));
  await writeModel(models('gpt-j'), gptj(), { config: { model_type: 'gptj' } });
  await writeModel(models('llama'), tinyLlama('F16', 32), { shards: 3 });
  const config = { model_type: 'llama', architectures: ['LlamaForCausalLM'], num_attention_heads: 2 };
  await writeModel(models('base'), tinyLlama(), { config: { ...config, num_key_value_heads: 1 } });
  await writeModel(models('tuned'), tuned(), { config: { ...config, num_key_value_heads: 1 } });
  await importances(models('my-model.Q8_0.gguf'), models('imatrix.gguf'));
  if (hasPeers) await symlink(join(peers, 'node_modules'), models('node_modules'));
  await mkdir(at('bin'));
  await writeFile(at('bin', 'lowrank'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`);
  await chmod(at('bin', 'lowrank'), 0o755);
  await mkdir(inside, { recursive: true });
});
afterAll(() => rm(inside, { recursive: true, force: true }));

/** Runs a program where the models of a page lie. */
async function run(page: string, file: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { ...process.env, NO_COLOR: '1', PATH: `${at('bin')}:${process.env.PATH}` };
  return promisify(execFile)(file, args, { cwd: at(page), env });
}

/**
 * Runs a line where the models of a page lie. Starts a shell for the first line of a page, and for
 * those that need a shell, an engine or a process of known memory.
 */
async function printedBy(page: string, line: string, asks: boolean): Promise<{ stdout: string; stderr: string }> {
  const isFirst =
    line ===
    blocksOf(page)
      .find(({ language }) => language === 'sh')
      ?.text.split('\n')[0];
  const joined = /[|&><$`"\\]/.test(line.replace(/'[^']*'/g, ''));
  if (isFirst || joined || asks || line.includes('--memory')) return run(page, 'sh', ['-c', line]);
  const done = await lowrank(wordsOf(line).slice(1), { cwd: at(page), env: { NO_COLOR: '1' } });
  expect(done, done.stderr).toMatchObject({ code: 0 });
  return done;
}

/** What does not depend on the machine: numbers and methods do. */
function comparable(text: string): string[] {
  return text
    .replace(/\b(?:exact|gram64|gram|krylov|complement)\b/g, 'METHOD')
    .replace(/\d[\d.,]*(?:e-?\d+)?( [kMG]?B\b)?/g, '#')
    .split('\n')
    .map((line) => line.trim().replace(/\s+/g, ' '))
    .filter((line) => line !== '');
}

describe.each(pages.filter((page) => !LONG_JOBS.has(page)))('docs/%s', (page) => {
  const blocks = blocksOf(page);
  let printed = '';

  beforeAll(() => cp(at('models'), at(page), { recursive: true, verbatimSymlinks: true }));

  it('has only blocks that are run, or that show output', () => {
    expect(blocks.filter(({ language }) => !['sh', 'js', 'text'].includes(language))).toEqual([]);
    // Four spaces make a block too; there they are formulas.
    expect(textOf(page)).not.toMatch(/^ {4}(?:\$ )?(?:npx |npm |lowrank |import |const )/m);
  });

  for (const [i, { language, text }] of blocks.entries()) {
    if (language === 'sh') {
      for (const line of text.trim().split('\n')) {
        const asks = /^lowrank (?:eval|search) /.test(line);
        it.skipIf(asks && !hasPeers)(
          `${line}${asks ? ' (skipped where test/peers is not installed)' : ''}`,
          async () => {
            expect(line).toMatch(/^lowrank /);
            const { stdout, stderr } = await printedBy(page, line, asks);
            printed = stdout;
            expect(printed).not.toBe('');
            // What the pages show is what they advise.
            expect(stderr).not.toContain('warning:');
          },
        );
      }
    } else if (language === 'js') {
      it(`program ${i + 1} runs, and prints the output that it shows`, async () => {
        const file = join(inside, `${page}-${i}.mjs`);
        await writeFile(file, text);
        const { stdout, stderr } = await run(page, process.execPath, [file]);
        expect(stderr).toBe('');
        printed = stdout;
        // Output of several lines is shown in a block of its own.
        if (blocks[i + 1]?.language === 'text') return;
        const said = [...text.matchAll(/console\.log\(.*\); \/\/ (.+)$/gm)].map(([, comment]) => comment!);
        expect(said.length).toBeGreaterThan(0);
        expect(stdout.trim().split('\n')).toEqual(said);
      });
    } else {
      it(`block ${i + 1} is the output of the command or program before it`, () => {
        const lines = comparable(printed);
        for (const shown of comparable(text)) {
          const found = lines.indexOf(shown);
          expect([shown, found >= 0]).toEqual([shown, true]);
          lines.splice(0, found + 1);
        }
      });
    }
  }
});

describe('the commands of all pages', () => {
  /** Also those in a sentence, in blocks without a language, and continued on the next line. */
  const commands = pages.flatMap((page) =>
    [
      ...textOf(page)
        .replace(/\\\n\s*/g, '')
        .matchAll(/^ *(?:\$ )?((?:npx )?lowrank [a-z]+ .+)$/gm),
    ].map(([, line]) => [page, line!.replace(/^npx /, '').replace(/\s+# .*$/, '')] as const),
  );

  it('are many', () => {
    expect(commands.length).toBeGreaterThan(20);
    for (const page of LONG_JOBS) expect(pages).toContain(page);
  });

  it.each(commands.filter(([, line]) => !line.includes('...')))('%s: %s', async (_, line) => {
    const program = await createProgram(screen().terminal);
    let reached = false;
    for (const { command } of commandsOf(program)) {
      if (command.commands.length > 0) continue;
      command.exitOverride().action(() => {
        reached = true;
      });
    }
    for (const part of commandsIn(line)) {
      reached = false;
      await program.parseAsync(wordsOf(part).slice(1), { from: 'user' });
      expect(reached).toBe(true);
    }
  });
});

describe('the index', () => {
  it('leads to every page', () => {
    const index = textOf('README.md');
    expect(pages.filter((page) => page !== 'README.md' && !index.includes(`](${page})`))).toEqual([]);
  });
});

describe('anchors', () => {
  /** As GitHub makes them of headings. */
  const anchors = (text: string) =>
    [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) =>
      heading!
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, '')
        .trim()
        .replace(/\s/g, '-'),
    );

  it.each(pages)('that %s names are headings', (page) => {
    const links = [...textOf(page).matchAll(/\]\((?!\w+:)([\w.-]*\.md)?#([^)]+)\)/g)];
    const missing = links.filter(([, target, anchor]) => !anchors(textOf(target ?? page)).includes(anchor!));
    expect(missing.map(([link]) => link)).toEqual([]);
  });
});
