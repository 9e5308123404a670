import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { GgufFile } from '../../lib/checkpoint/gguf/file.js';
import { toFloat32 } from '../../lib/tensor/convert.js';
import { spawnLowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { distance, norm } from '../support/matrices.js';
import { quantizeGguf } from '../support/quantize-gguf.js';
import { python, root, runPython, unlessNoPython } from './python.js';

const run = promisify(execFile);
const at = temporaryPaths();

const stories = join(root, '..', 'shared', 'data', 'models', 'stories260K');
const sample = join(root, '..', 'shared', 'data', 'datasets', 'tinystories_sample.txt');
const original = join(stories, 'stories260K-f32.gguf');
const peer = join(root, 'test', 'peers', 'node_modules', 'node-llama-cpp');
const missing = [original, sample, peer].find((path) => !existsSync(path));
const unless = missing === undefined ? unlessNoPython : ` (skipped: no ${missing})`;

async function lora(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await spawnLowrank(['lora', ...args]);
  expect(code, stderr).toBe(0);
  return stdout;
}

interface Logits {
  readonly rows: number;
  readonly size: number;
  readonly data: Float32Array;
  /** Those of the whole text; logits are those of the first ones. */
  readonly tokens: readonly number[];
}

/** llama.cpp's logits on the sample, with an adapter or without. */
async function logits(model: string, adapter = ''): Promise<Logits> {
  const out = at(`logits-${Math.random()}`);
  const script = join(root, 'test', 'support', 'logits-with-llama.mjs');
  const { stdout } = await run(process.execPath, [script, model, sample, out, adapter].filter(Boolean));
  const bytes = await readFile(out);
  return { ...JSON.parse(stdout), data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) };
}

/** The mean of the Kullback-Leibler divergences of the next token, from one model to another. */
function divergence(from: Logits, to: Logits): number {
  let sum = 0;
  for (let row = 0; row < from.rows; row++) {
    const [p, q] = [from, to].map(({ data, size }) => logSoftmax(data.subarray(row * size, (row + 1) * size)));
    for (let i = 0; i < from.size; i++) sum += Math.exp(p![i]!) * (p![i]! - q![i]!);
  }
  return sum / from.rows;
}

function logSoftmax(row: Float32Array): Float64Array {
  const most = row.reduce((a, b) => Math.max(a, b));
  const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0)) + most;
  return Float64Array.from(row, (value) => value - total);
}

describe.skipIf(!python || missing !== undefined)(`adapters in llama.cpp${unless}`, () => {
  let whole: Logits;

  beforeAll(async () => {
    whole = await logits(original);
    await writeFile(at('read.json'), JSON.stringify(whole.tokens.slice(0, whole.rows)));
    await writeFile(at('others.json'), JSON.stringify(whole.tokens.slice(whole.rows)));
  });

  it('corrects a quantised model: the divergence falls, most with the moments of the inputs', async () => {
    const quantised = at('Q4_0.gguf');
    await quantizeGguf(original, quantised, (name) => /^blk\.\d+\.(attn_(q|k|v|output)|ffn_(gate|up))\./.test(name));
    const calibration = [at('others.json'), at('moments.safetensors'), at('imatrix.gguf')];
    await runPython('lora_moments.py', 'moments', stories, ...calibration);
    const without = divergence(whole, await logits(quantised));
    const by = async (name: string, ...flags: string[]) => {
      await lora('correct', original, quantised, '-o', at(`${name}.gguf`), '--rank', '8', ...flags);
      return divergence(whole, await logits(quantised, at(`${name}.gguf`)));
    };
    const plain = await by('plain');
    const diagonal = await by('diagonal', '--imatrix', at('imatrix.gguf'));
    const full = await by('full', '--calibration', at('moments.safetensors'));
    const small = await by('small', '--calibration', at('moments.safetensors'), '--dtype', 'f16');
    console.log(
      `KL without ${without.toFixed(5)}, plain ${plain.toFixed(5)}, imatrix ${diagonal.toFixed(5)}, full ${full.toFixed(5)}`,
    );
    expect(plain).toBeLessThan(without);
    expect(diagonal).toBeLessThan(0.7 * without);
    expect(full).toBeLessThan(0.6 * without);
    expect(full).toBeLessThan(plain);
    expect(small).toBeLessThan(1.02 * full);
  });

  it('adds what the same adapter in the form of PEFT adds to the safetensors model', async () => {
    await runPython('lora_moments.py', 'adapter', stories, at('read.json'), at('adapter'), at('peft-logits'));
    await lora('convert', at('adapter'), '-o', at('adapter.gguf'), '--base', stories);
    const [ours, bytes] = [await logits(original, at('adapter.gguf')), await readFile(at('peft-logits'))];
    const theirs = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    expect(ours.data.length).toBe(theirs.length);
    // The adapter changes the logits by far more than what separates the two programs.
    expect(distance(whole.data, theirs) / norm(theirs)).toBeGreaterThan(0.05);
    expect(distance(ours.data, theirs) / norm(theirs)).toBeLessThan(0.005);
  });
});

describe.skipIf(!python)(`names and orders in GGUF${unlessNoPython}`, () => {
  it("are those of ggml and of llama.cpp's converter, for each architecture", async () => {
    const folder = at('families');
    const expected = JSON.parse(await runPython('lora_gguf.py', folder)) as Record<
      string,
      { architecture: string; alpha: number; tensors: Record<string, number[][]> }
    >;
    expect(Object.keys(expected).length).toBeGreaterThan(15);
    for (const [name, { architecture, alpha, tensors }] of Object.entries(expected)) {
      const out = join(folder, `${name}.gguf`);
      await lora('convert', join(folder, name, 'adapter'), '-o', out, '--base', join(folder, name, 'base'));
      const file = await GgufFile.open(out);
      const { metadata } = file.header;
      expect(metadata.text('general.architecture'), name).toBe(architecture);
      expect(metadata.value('adapter.lora.alpha'), name).toBe(alpha);
      const found: Record<string, number[][]> = {};
      for (const tensor of file.header.tensors) {
        const numbers = toFloat32(await file.read(tensor), tensor.type);
        const width = tensor.shape[1]!;
        found[tensor.name] = Array.from({ length: tensor.shape[0]! }, (_, i) => [
          ...numbers.subarray(i * width, (i + 1) * width),
        ]);
      }
      await file.close();
      expect(found, name).toEqual(tensors);
    }
  });
});
