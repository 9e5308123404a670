import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readAdapter } from '../../lib/adapters/files.js';
import { type NewGgufTensor, writeGguf } from '../../lib/checkpoint/gguf/write.js';
import type { NewTensor } from '../../lib/checkpoint/safetensors/file.js';
import { correctQuantization } from '../../lib/compress/correct.js';
import { writeMoments } from '../../lib/compress/moments.js';
import type { Moments } from '../../lib/lowrank/moments.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { factorTensors, writeFiles } from '../support/adapters.js';
import { changedTensors, readTensor, weights, writeModel } from '../support/checkpoints.js';
import { lowrank } from '../support/cli.js';
import { failure } from '../support/failure.js';
import { temporaryPaths } from '../support/folder.js';
import { jacobiSvd } from '../support/jacobi.js';
import { distance, gaussian, norm, product } from '../support/matrices.js';
import { quantizeGguf } from '../support/quantize-gguf.js';

const at = temporaryPaths();

/** A Llama whose rows fill the blocks of Q4_0 and Q8_0, by its names in PyTorch and in GGUF. */
const HEADS = { num_attention_heads: 4, num_key_value_heads: 2 };
const MATRICES = {
  'self_attn.q_proj': ['attn_q', 32, 32, 4],
  'self_attn.k_proj': ['attn_k', 16, 32, 2],
  'self_attn.v_proj': ['attn_v', 16, 32, undefined],
  'self_attn.o_proj': ['attn_output', 32, 32, undefined],
  'mlp.gate_proj': ['ffn_gate', 64, 32, undefined],
  'mlp.up_proj': ['ffn_up', 64, 32, undefined],
  'mlp.down_proj': ['ffn_down', 32, 64, undefined],
} as const;
const LAYERS = [0, 1];

const folder = () => at('model');
const original = () => at('model.gguf');
const quantised = () => at('model.Q4_0.gguf');
const adapter = () => at('adapter');

/** The rows of a weight as llama.cpp's converter orders them: halves of heads become pairs. */
function paired(data: Float32Array, rows: number, heads: number | undefined): Float32Array {
  if (heads === undefined) return data;
  const [width, half] = [data.length / rows, rows / heads / 2];
  const result = new Float32Array(data.length);
  for (let head = 0; head < heads; head++) {
    for (const part of [0, 1]) {
      for (let i = 0; i < half; i++) {
        const [from, to] = [head * 2 * half + part * half + i, head * 2 * half + 2 * i + part];
        result.set(data.subarray(from * width, (from + 1) * width), to * width);
      }
    }
  }
  return result;
}

const float = (shape: readonly number[], data: Float32Array): NewGgufTensor => {
  return { type: 'F32', shape, bytes: fromFloat32(data, 'F32') };
};

beforeAll(async () => {
  const tensors = new Map<string, NewTensor>([['model.embed_tokens.weight', weights([48, 32], 'F32', 1)]]);
  const stored = new Map([['token_embd.weight', float([48, 32], gaussian([48, 32], 1).data)]]);
  let seed = 10;
  for (const layer of LAYERS) {
    tensors.set(`model.layers.${layer}.input_layernorm.weight`, weights([32], 'F32', ++seed));
    stored.set(`blk.${layer}.attn_norm.weight`, float([32], gaussian([32], seed).data));
    for (const [module, [name, m, n, heads]] of Object.entries(MATRICES)) {
      tensors.set(`model.layers.${layer}.${module}.weight`, weights([m, n], 'F32', ++seed));
      stored.set(`blk.${layer}.${name}.weight`, float([m, n], paired(gaussian([m, n], seed).data, m, heads)));
    }
  }
  const config = { model_type: 'llama', architectures: ['LlamaForCausalLM'], hidden_size: 32, ...HEADS };
  await writeModel(folder(), tensors, { config });
  const keys = new Map<string, string | { u32: number }>([
    ['general.architecture', 'llama'],
    ['llama.embedding_length', { u32: 32 }],
    ['llama.attention.head_count', { u32: 4 }],
    ['llama.attention.head_count_kv', { u32: 2 }],
  ]);
  await writeGguf(original(), keys, stored);
  await quantizeGguf(original(), quantised(), (name) => name.startsWith('blk.'));
  const modules = {
    'model.layers.0.self_attn.q_proj': { out: 32, in: 32, rank: 2 },
    'model.layers.1.self_attn.k_proj': { out: 16, in: 32, rank: 2 },
    'model.layers.1.mlp.down_proj': { out: 32, in: 64, rank: 2 },
  };
  await writeFiles(adapter(), factorTensors(modules), { r: 2, lora_alpha: 4 });
});

async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await lowrank(['lora', ...args]);
  expect(code, stderr).toBe(0);
  return stdout;
}

/** The numbers of a matrix, of any type. */
async function numbersOf(path: string, name: string): Promise<Float32Array> {
  const { bytes, dtype } = await readTensor(path, name);
  return toFloat32(bytes, dtype);
}

describe('lowrank lora convert and merge, PEFT and GGUF', () => {
  it('merges the same, whatever the forms of the checkpoint and of the adapter', async () => {
    await run('convert', adapter(), '-o', at('adapter.gguf'), '--base', original());
    await run('convert', adapter(), '-o', at('adapter-by-folder.gguf'), '--base', folder());
    await run('merge', folder(), adapter(), '-o', at('merged'));
    await run('merge', folder(), at('adapter.gguf'), '-o', at('merged-by-gguf'));
    await run('merge', original(), adapter(), '-o', at('merged.gguf'));
    await run('merge', original(), at('adapter-by-folder.gguf'), '-o', at('merged-by-gguf.gguf'));
    expect(await changedTensors(original(), at('merged.gguf'))).toEqual([
      'blk.0.attn_q.weight',
      'blk.1.attn_k.weight',
      'blk.1.ffn_down.weight',
    ]);
    for (const layer of LAYERS) {
      for (const [module, [name, m, , heads]] of Object.entries(MATRICES)) {
        const merged = await numbersOf(at('merged'), `model.layers.${layer}.${module}.weight`);
        expect(await numbersOf(at('merged-by-gguf'), `model.layers.${layer}.${module}.weight`)).toEqual(merged);
        for (const path of [at('merged.gguf'), at('merged-by-gguf.gguf')]) {
          expect(await numbersOf(path, `blk.${layer}.${name}.weight`)).toEqual(paired(merged, m, heads));
        }
      }
    }
  });

  it('adds an update to a quantised weight only where its new type is chosen', async () => {
    const refused = await lowrank(['lora', 'merge', quantised(), adapter(), '-o', at('never.gguf')]);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--quant') });
    expect(existsSync(at('never.gguf'))).toBe(false);
    const { weights: changed } = JSON.parse(
      await run('merge', quantised(), adapter(), '-o', at('merged.Q8_0.gguf'), '--quant', 'Q8_0', '--json'),
    );
    expect(changed[0]).toMatchObject({ tensor: 'blk.0.attn_q.weight', dtype: 'Q4_0', writtenAs: 'Q8_0' });
    await run('merge', quantised(), adapter(), '-o', at('merged.F32.gguf'), '--quant', 'F32');
    for (const { tensor } of changed) {
      const [exact, rounded] = [
        await numbersOf(at('merged.F32.gguf'), tensor),
        await numbersOf(at('merged.Q8_0.gguf'), tensor),
      ];
      expect(distance(rounded, exact) / norm(exact)).toBeLessThan(0.01);
    }
  });

  it('prints the names, and refuses what it cannot tell', async () => {
    const text = await run('convert', adapter(), '-o', at('printed.gguf'), '--base', folder(), '--dtype', 'f16');
    expect(text).toMatch(/model\.layers\.1\.self_attn\.k_proj +blk\.1\.attn_k +16 x 32 +2\n/);
    expect((await readAdapter(at('printed.gguf'))).modules.get('blk.1.attn_k')!.a.dtype).toBe('F16');
    const inspected = JSON.parse(await run('inspect', at('printed.gguf'), '--json'));
    expect(inspected).toMatchObject({ form: 'gguf', architecture: 'llama', obstacles: [] });
    expect(await run('inspect', at('printed.gguf'))).toContain('LoRA for a llama model in GGUF, 3 modules');
    const lost = await lowrank(['lora', 'convert', adapter(), '-o', at('never.gguf')]);
    expect(lost).toMatchObject({ code: 2, stderr: expect.stringContaining('--base') });
    const model = await lowrank(['lora', 'inspect', original()]);
    expect(model).toMatchObject({ code: 1, stderr: expect.stringContaining('is a GGUF file, but not an adapter') });
  });
});

describe('lowrank lora extract from GGUF', () => {
  it('finds the update that was merged, and names what differs beside it', async () => {
    await run('merge', original(), adapter(), '-o', at('tuned.gguf'));
    const text = await run('extract', original(), at('tuned.gguf'), '-o', at('found.gguf'), '--rank', '2');
    expect(text).toMatch(/blk\.0\.attn_q +32 x 32 +2 of 32 +100\.00 %/);
    await run('merge', original(), at('found.gguf'), '-o', at('again.gguf'));
    for (const name of ['blk.0.attn_q', 'blk.1.attn_k', 'blk.1.ffn_down']) {
      const [tuned, again] = [at('tuned.gguf'), at('again.gguf')].map((path) => numbersOf(path, `${name}.weight`));
      expect(distance(await again!, await tuned!) / norm(await tuned!)).toBeLessThan(1e-5);
    }
    const mixed = await lowrank(['lora', 'extract', folder(), at('tuned.gguf'), '-o', at('never'), '--rank', '2']);
    expect(mixed).toMatchObject({ code: 1, stderr: expect.stringContaining('different names') });
  });
});

/** Moments of correlated inputs: C = X^T X / N, or its diagonal. */
function momentsOf(n: number, seed: number, kind: 'inputs' | 'diagonal'): Moments {
  const count = 4 * n;
  const scales = gaussian([n], seed).data;
  const x = gaussian([count, n], seed + 1).data.map((value, i) => value * Math.exp(1.5 * scales[i % n]!));
  const second = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      for (let k = 0; k < count; k++) second[i * n + j]! += (x[k * n + i]! * x[k * n + j]!) / count;
    }
  }
  return kind === 'inputs'
    ? { kind, second, count }
    : { kind, second: Float64Array.from({ length: n }, (_, i) => second[i * n + i]!), count };
}

/** tr(D C D^T) in float64. */
function energy(d: ArrayLike<number>, m: number, n: number, { kind, second }: Moments): number {
  const full =
    kind === 'inputs'
      ? second
      : Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) ? 0 : second[i / (n + 1)]!));
  const weighted = product(d, full, m, n, n);
  return weighted.reduce((sum, value, i) => sum + value * d[i]!, 0);
}

const difference = (x: Float32Array, y: Float32Array) => x.map((value, i) => value - y[i]!);

describe('lowrank lora correct', () => {
  const names = LAYERS.flatMap((layer) =>
    Object.entries(MATRICES).map(([module, [name, m, n]]) => {
      return { gguf: `blk.${layer}.${name}.weight`, pyTorch: `model.layers.${layer}.${module}.weight`, m, n };
    }),
  );
  const full = new Map(names.map(({ gguf, n }, i) => [gguf, momentsOf(n, 300 + 2 * i, 'inputs')]));
  const diagonal = new Map(names.map(({ gguf, n }, i) => [gguf, momentsOf(n, 300 + 2 * i, 'diagonal')]));

  beforeAll(async () => {
    await writeMoments(at('full.safetensors'), full);
    await writeMoments(
      at('by-module.safetensors'),
      new Map(names.map(({ gguf, pyTorch }) => [pyTorch, full.get(gguf)!])),
    );
    const sums = [...diagonal].flatMap(([name, { second, count }]): [string, NewGgufTensor][] => [
      [
        `${name}.in_sum2`,
        float(
          [1, second.length],
          Float32Array.from(second, (value) => value * count!),
        ),
      ],
      [`${name}.counts`, float([1, 1], Float32Array.of(count!))],
    ]);
    await writeGguf(at('imatrix.gguf'), new Map([['general.type', 'imatrix']]), new Map(sums));
  });

  it.each([
    ['the diagonal of an imatrix', 'imatrix.gguf', diagonal],
    ['full moments', 'full.safetensors', full],
    ['full moments by the names of PyTorch', 'by-module.safetensors', full],
  ] as const)('reaches the optimum in the norm of %s', async (_, file, moments) => {
    const out = at(`fix-by-${file}.gguf`);
    const flag = file.startsWith('imatrix') ? '--imatrix' : '--calibration';
    const report = JSON.parse(
      await run('correct', original(), quantised(), '-o', out, '--rank', '4', flag, at(file), '--json'),
    );
    expect(report.weights).toHaveLength(14);
    expect(report.leftOut).toEqual([{ name: 'token_embd.weight', why: 'it is an embedding' }]);
    // What a runtime computes with: the quantised weight and the adapter's update.
    const merged = `${out}.merged`;
    await run('merge', quantised(), out, '-o', merged, '--quant', 'F32');
    for (const { tensor, shape, rank, errorBefore, errorAfter } of report.weights) {
      const [m, n] = shape as [number, number];
      const own = moments.get(tensor)!;
      const [w, q, fixed] = [
        await numbersOf(original(), tensor),
        await numbersOf(quantised(), tensor),
        await numbersOf(merged, tensor),
      ];
      expect(rank).toBe(4);
      const whole = energy(w, m, n, own);
      expect(errorBefore).toBeCloseTo(Math.sqrt(energy(difference(w, q), m, n, own) / whole), 5);
      expect(errorAfter).toBeCloseTo(Math.sqrt(energy(difference(w, fixed), m, n, own) / whole), 4);
      // The tail of the singular values of (W - Q) C^(1/2): no factors of this rank do better.
      const root = squareRoot(own, n);
      const { s } = jacobiSvd(product(difference(w, q), root, m, n, n), m, n);
      const tail = Math.sqrt(s.slice(4).reduce((sum, value) => sum + value * value, 0) / whole);
      expect(errorAfter).toBeGreaterThan(0.999 * tail);
      expect(errorAfter).toBeLessThan(1.001 * tail + 1e-6);
      expect(errorAfter).toBeLessThan(errorBefore);
    }
  });

  it('makes the same of the safetensors model as of its GGUF', async () => {
    const options = { rank: 3, calibration: at('full.safetensors') };
    const one = await correctQuantization(original(), quantised(), options);
    const other = await correctQuantization(folder(), quantised(), options);
    expect(other.adapter.architecture).toBe('llama');
    for (const [name, { a, b }] of one.adapter.modules) {
      const same = other.adapter.modules.get(name)!;
      expect(same.a.bytes).toEqual(a.bytes);
      expect(same.b.bytes).toEqual(b.bytes);
    }
  });

  it('makes an adapter folder of a dequantised checkpoint', async () => {
    const tensors = new Map<string, NewTensor>([['model.embed_tokens.weight', weights([48, 32], 'F32', 1)]]);
    for (const { pyTorch, m, n } of names) {
      const data = (await numbersOf(folder(), pyTorch)).map((value) => Math.round(value * 2) / 2);
      tensors.set(pyTorch, { dtype: 'F32', shape: [m, n], bytes: fromFloat32(data, 'F32') });
    }
    await writeModel(at('dequantised'), tensors, { config: { model_type: 'llama', ...HEADS } });
    const flags = ['--rank', '4', '--imatrix', at('imatrix.gguf'), '--base-name', 'base', '--dtype', 'bf16'];
    const text = await run('correct', folder(), at('dequantised'), '-o', at('fix'), ...flags);
    expect(text).toMatch(/of the squared error of 14 weights removed, \d\.\d\d bits for each number/);
    const made = await readAdapter(at('fix'));
    expect(made.config).toMatchObject({ r: 4, lora_alpha: 4, base_model_name_or_path: 'base' });
    const modules = names.map(({ pyTorch }) => pyTorch.slice(0, -'.weight'.length));
    expect([...made.modules.keys()].sort()).toEqual(modules.sort());
    await run('merge', at('dequantised'), at('fix'), '-o', at('fixed'));
    for (const [i, { pyTorch, m, n }] of names.entries()) {
      const [w, q, fixed] = [
        await numbersOf(folder(), pyTorch),
        await numbersOf(at('dequantised'), pyTorch),
        await numbersOf(at('fixed'), pyTorch),
      ];
      const own = diagonal.get(names[i]!.gguf)!;
      expect(energy(difference(w, fixed), m, n, own)).toBeLessThan(0.8 * energy(difference(w, q), m, n, own));
    }
  });

  it('stores factors in 8 bits at little cost', async () => {
    const options = { rank: 32, calibration: at('full.safetensors'), tensors: ['blk.*.ffn_*.weight'] };
    const [exact, small] = [
      await correctQuantization(original(), quantised(), options),
      await correctQuantization(original(), quantised(), { ...options, dtype: 'Q8_0' }),
    ];
    expect(small.bytes).toBeLessThan(0.28 * exact.bytes);
    expect(small.removed).toBeGreaterThan(0.99);
    expect(small.weights.map(({ tensor }) => tensor)).toEqual(
      names.flatMap(({ gguf }) => (gguf.includes('ffn') ? gguf : [])),
    );
  });

  it('warns without moments, and leaves out by name what it cannot correct', async () => {
    const { code, stderr } = await lowrank(['lora', 'correct', original(), quantised(), '-o', at('plain.gguf')]);
    expect(code).toBe(0);
    expect(stderr).toContain('without moments the plain error of the weights is corrected');
    expect(stderr).toContain('left out: token_embd.weight: it is an embedding');
    const few = new Map([...full].slice(0, 2));
    few.set('blk.0.attn_v.weight', { kind: 'outputs', second: new Float64Array(16 * 16) });
    await writeMoments(at('few.safetensors'), few);
    const { weights: corrected, leftOut } = await correctQuantization(original(), quantised(), {
      calibration: at('few.safetensors'),
    });
    expect(corrected).toHaveLength(2);
    const reasons = new Map(leftOut.map(({ name, why }) => [name, why]));
    expect(reasons.get('blk.0.attn_v.weight')).toContain('moments of its outputs');
    expect(reasons.get('blk.1.ffn_down.weight')).toBe('the calibration has no moments of it');
    await quantizeGguf(original(), at('partly.gguf'), (name) => name.startsWith('blk.1.'));
    const partly = await correctQuantization(original(), at('partly.gguf'));
    expect(partly.leftOut).toContainEqual({ name: 'blk.0.attn_q.weight', why: 'it is equal in both models' });
  });

  it('refuses what does not go together before it writes', async () => {
    const never = at('never.gguf');
    expect((await failure(correctQuantization(original(), original()))).message).toContain(
      'no weight can be corrected',
    );
    expect((await failure(correctQuantization(original(), folder()))).message).toContain('no adapter leads from one');
    await writeMoments(at('foreign.safetensors'), new Map([['blk.0.attn_q.weight', momentsOf(16, 1, 'inputs')]]));
    const foreign = correctQuantization(original(), quantised(), { calibration: at('foreign.safetensors') });
    expect(await failure(foreign)).toMatchObject({ code: 'ERR_SHAPE', message: expect.stringContaining('16 inputs') });
    const other = await writeModel(at('other'), new Map([['x', weights([32, 32])]]), {
      config: { model_type: 'qwen2', ...HEADS },
    });
    expect((await failure(correctQuantization(other, quantised()))).message).toContain('qwen2');
    const both = ['--imatrix', at('imatrix.gguf'), '--calibration', at('full.safetensors')];
    const twice = await lowrank(['lora', 'correct', original(), quantised(), '-o', never, ...both]);
    expect(twice).toMatchObject({ code: 2, stderr: expect.stringContaining('pass only one of') });
    expect(existsSync(join(never))).toBe(false);
  });
});

/** A symmetric square root of C. */
function squareRoot({ kind, second }: Moments, n: number): Float64Array {
  if (kind === 'diagonal')
    return Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) ? 0 : Math.sqrt(second[i / (n + 1)]!)));
  const { u, s } = jacobiSvd(second, n, n);
  const scaled = u.map((value, i) => value * Math.sqrt(s[i % n]!));
  const turned = Float64Array.from({ length: n * n }, (_, i) => u[(i % n) * n + Math.floor(i / n)]!);
  return product(scaled, turned, n, n, n);
}
