import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { loraDelta } from '../../lib/adapters/adapter.js';
import { readAdapter } from '../../lib/adapters/files.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import {
  changedTensors,
  filesIn,
  models,
  readTensor,
  tinyGpt2,
  tinyLlama,
  weights,
  writeModel,
} from '../support/checkpoints.js';
import { lowrank } from '../support/cli.js';
import { temporaryPaths } from '../support/folder.js';
import { distance, norm } from '../support/matrices.js';

const at = temporaryPaths();
const Q = 'model.layers.0.self_attn.q_proj';
const DOWN = 'model.layers.1.mlp.down_proj';
const GPT2 = { model_type: 'gpt2', architectures: ['GPT2LMHeadModel'] };

/** Writes an adapter with modules [out, in, rank]. */
async function writeAdapterFiles(
  name: string,
  modules: Readonly<Record<string, readonly [number, number, number]>>,
  config: Record<string, unknown>,
): Promise<string> {
  const tensors = new Map<string, NewTensor>();
  let seed = 500;
  for (const [module, [out, width, rank]] of Object.entries(modules)) {
    tensors.set(`base_model.model.${module}.lora_A.weight`, weights([rank, width], 'F32', ++seed));
    tensors.set(`base_model.model.${module}.lora_B.weight`, weights([out, rank], 'F32', ++seed));
  }
  await mkdir(at(name));
  await writeFile(at(name, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', ...config }));
  await writeSafetensors(at(name, 'adapter_model.safetensors'), tensors, new Map([['format', 'pt']]));
  return at(name);
}

const GPT2_MODULES = {
  'transformer.h.0.attn.c_attn': [48, 16, 2],
  'transformer.h.0.attn.c_proj': [16, 16, 2],
  'transformer.h.1.attn.c_attn': [48, 16, 2],
  'transformer.h.1.attn.c_proj': [16, 16, 2],
  'transformer.h.1.mlp.c_fc': [40, 16, 2],
  'transformer.h.1.mlp.c_proj': [16, 40, 2],
} as const;

let llama: string;
let adapter: string;
let other: string;

beforeAll(async () => {
  llama = await writeModel(at('llama'), tinyLlama(), { shards: 2 });
  adapter = await writeAdapterFiles(
    'adapter',
    { [Q]: [16, 16, 4], [DOWN]: [16, 24, 2] },
    {
      r: 4,
      lora_alpha: 8,
      rank_pattern: { down_proj: 2 },
      target_modules: [Q, DOWN],
      base_model_name_or_path: 'tiny',
    },
  );
  await writeFile(join(adapter, 'README.md'), '# an adapter\n');
  other = await writeAdapterFiles('other', { [Q]: [16, 16, 3] }, { r: 3, lora_alpha: 3, target_modules: [Q] });
});

describe('lowrank lora inspect', () => {
  it('lists the modules, with --json for programs', async () => {
    const run = await lowrank(['lora', 'inspect', adapter]);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toContain('LoRA for tiny, 2 modules, 208 parameters, 832 B');
    expect(run.stdout).toMatch(/model\.layers\.1\.mlp\.down_proj +16 x 24 +F32 +2 +8 +4 +80\n/);
    const { modules, obstacles } = JSON.parse((await lowrank(['lora', 'inspect', adapter, '--json'])).stdout);
    expect(modules[0]).toMatchObject({ name: Q, kind: 'linear', shape: [16, 16], rank: 4, alpha: 8, scaling: 2 });
    expect(obstacles).toEqual([]);
  });

  it('names what it does not support, and what is not an adapter', async () => {
    const dora = await writeAdapterFiles('dora', { a: [4, 4, 2] }, { r: 2, use_dora: true });
    expect((await lowrank(['lora', 'inspect', dora])).stdout).toContain('unsupported: use_dora: true');
    const run = await lowrank(['lora', 'inspect', llama]);
    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/error: .*has no adapter_config\.json\nhint: /);
    expect(await lowrank(['lora'])).toMatchObject({ code: 2 });
  });
});

describe('lowrank lora merge', () => {
  it('adds several adapters, each with its scale, and touches nothing else', async () => {
    const out = at('merged');
    const before = await filesIn(llama);
    const run = await lowrank(['lora', 'merge', llama, adapter, other, '-o', out, '--scale', '1', '--scale', '-0.5']);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/down_proj\.weight +16 x 24 +F32 +out x in +2 +1 +\d/);
    expect(run.stdout).toContain(`wrote ${out} in `);
    expect(await changedTensors(llama, out)).toEqual([`${Q}.weight`, `${DOWN}.weight`]);
    const [x, y] = [await readAdapter(adapter), await readAdapter(other)];
    const [base, merged] = [await readTensor(llama, `${Q}.weight`), await readTensor(out, `${Q}.weight`)];
    const [dx, dy] = [loraDelta(x, Q).data, loraDelta(y, Q).data];
    const expected = Float64Array.from(base.data, (value, i) => value + dx[i]! - 0.5 * dy[i]!);
    expect(distance(merged.data, expected) / norm(expected)).toBeLessThan(1e-6);
    expect(await filesIn(llama)).toEqual(before);
  });

  it('subtracts what it added', async () => {
    await lowrank(['lora', 'merge', llama, adapter, '-o', at('there')]);
    await lowrank(['lora', 'merge', at('there'), adapter, '-o', at('back'), '--scale=-1']);
    for (const name of [Q, DOWN]) {
      const [base, back] = [await readTensor(llama, `${name}.weight`), await readTensor(at('back'), `${name}.weight`)];
      expect(distance(back.data, base.data) / norm(base.data)).toBeLessThan(1e-6);
    }
  });

  it('fails by name before anything is written', async () => {
    const names = async () => (await readdir(at())).sort();
    const missing = await writeAdapterFiles('missing', { 'model.layers.7.self_attn.q_proj': [16, 16, 2] }, { r: 2 });
    const shape = await writeAdapterFiles('shape', { [Q]: [16, 12, 2] }, { r: 2 });
    const dora = await writeAdapterFiles('dora2', { [Q]: [16, 16, 2] }, { r: 2, use_dora: true });
    const before = await names();
    const failing = async (path: string, ...flags: string[]) => {
      const run = await lowrank(['lora', 'merge', llama, path, '-o', at('never'), '--json', ...flags]);
      return { exit: run.code, ...JSON.parse(run.stdout).error };
    };
    expect(await failing(missing)).toMatchObject({
      exit: 1,
      code: 'ERR_NOT_FOUND',
      message: expect.stringContaining('"model.layers.7.self_attn.q_proj"'),
    });
    expect(await failing(shape)).toMatchObject({ code: 'ERR_SHAPE', message: expect.stringContaining(`${Q}.weight`) });
    expect(await failing(dora)).toMatchObject({
      code: 'ERR_UNSUPPORTED',
      message: expect.stringContaining('use_dora'),
    });
    expect(await failing(adapter, '--scale', '1', '--scale', '2')).toMatchObject({ exit: 2, code: 'ERR_ARGUMENT' });
    expect(await lowrank(['lora', 'merge', llama, adapter])).toMatchObject({ code: 2 });
    expect(await names()).toEqual(before);
  });
});

describe('lowrank lora extract', () => {
  // How far the rounding of the merged weights, relative to the update, may take the update from
  // what it was.
  const limits: Partial<Record<FloatDType, number>> = { F32: 1e-5, BF16: 2e-1 };

  it.each(['F32', 'BF16'] as const)(
    'gives back the update that was merged, of %s, in both orientations',
    async (dtype) => {
      const cases = [
        { name: 'llama', tensors: tinyLlama(dtype), config: undefined, adapter, rank: 4 },
        {
          name: 'gpt2',
          tensors: tinyGpt2(dtype),
          config: GPT2,
          rank: 2,
          adapter: await writeAdapterFiles(`gpt2-${dtype}`, GPT2_MODULES, {
            r: 2,
            lora_alpha: 4,
            fan_in_fan_out: true,
          }),
        },
        {
          name: 'nanogpt',
          tensors: tinyGpt2(dtype, { linear: true }),
          config: { ...GPT2, n_embd: 16 },
          rank: 2,
          adapter: await writeAdapterFiles(`nanogpt-${dtype}`, GPT2_MODULES, { r: 2, lora_alpha: 4 }),
        },
      ];
      for (const { name, tensors, config, adapter: path, rank } of cases) {
        const folder = (step: string) => at(`${name}-${dtype}-${step}`);
        await writeModel(folder('base'), tensors, config === undefined ? {} : { config });
        const merge = await lowrank(['lora', 'merge', folder('base'), path, '-o', folder('tuned')]);
        expect(merge.code, merge.stderr).toBe(0);
        const run = await lowrank([
          'lora',
          'extract',
          folder('base'),
          folder('tuned'),
          '-o',
          folder('found'),
          '--rank',
          String(rank),
          '--json',
        ]);
        expect(run.code, run.stderr).toBe(0);
        const report = JSON.parse(run.stdout);
        expect(report.uncovered).toEqual([]);
        const [before, after] = [await readAdapter(path), await readAdapter(folder('found'))];
        expect(new Set(after.modules.keys())).toEqual(new Set(before.modules.keys()));
        expect(after.config.fan_in_fan_out).toBe(before.config.fan_in_fan_out ?? false);
        for (const { name, a, b } of after.modules.values()) {
          const wanted = before.modules.get(name)!;
          expect([name, a.shape[1], b.shape[0]]).toEqual([name, wanted.a.shape[1], wanted.b.shape[0]]);
        }
        for (const module of report.modules) {
          const [wanted, found] = [loraDelta(before, module.name).data, loraDelta(after, module.name).data];
          const error = distance(found, wanted) / norm(wanted);
          expect(error, module.name).toBeLessThan(limits[dtype]!);
          // What was written in the tuned checkpoint is all that can be found again, and the report
          // says how well it was.
          const tensor = module.tensor as string;
          const [base, tuned] = [await readTensor(folder('base'), tensor), await readTensor(folder('tuned'), tensor)];
          const change = tuned.data.map((value, i) => value - base.data[i]!);
          expect(module.relativeError).toBeCloseTo(distance(found, change) / norm(change), 4);
          expect(error).toBeLessThan(2.01 * (distance(change, wanted) / norm(wanted)) + 1e-5);
        }
      }
    },
  );

  it('warns about an adapter that keeps too little, and names a sufficient rank', async () => {
    const tuned = tinyLlama();
    for (const [i, module] of [Q, DOWN].entries()) {
      const { shape } = tuned.get(`${module}.weight`)!;
      tuned.set(`${module}.weight`, weights(shape, 'F32', 950 + i));
    }
    await writeModel(at('far'), tuned);
    const extract = (out: string, ...flags: string[]) =>
      lowrank(['lora', 'extract', llama, at('far'), '-o', at(out), ...flags]);
    const poor = await extract('poor', '--rank', '2');
    const [, module, share, rank] =
      /\nwarning: (\S+): rank 2 keeps only (\d+\.\d\d) % of the difference; 2 modules .*\nhint: rank (\d+) keeps 90 %/.exec(
        poor.stderr,
      )!;
    expect(poor.code).toBe(0);
    expect(Number(share)).toBeLessThan(90);
    expect(await extract('no-poor', '--rank', rank!, '--tensor', `${module}.weight`)).toMatchObject({
      stderr: expect.not.stringContaining('warning'),
    });
    const below = String(Number(rank) - 1);
    const json = await extract('one-less', '--rank', below, '--tensor', `${module}.weight`, '--json');
    expect(json.stderr).toContain(`hint: rank ${rank} keeps`);
    expect(JSON.parse(json.stdout).shortfall).toMatchObject({ module, sufficientRank: Number(rank), modules: 1 });

    const resized = await lowrank(['lora', 'resize', at('no-poor'), '-o', at('cut'), '--rank', '1', '--json']);
    expect(resized.stderr).toMatch(/warning: .* rank 1 keeps only .* of the update\nhint: rank \d+ keeps 90 %/);
    expect(JSON.parse(resized.stdout).shortfall).toMatchObject({ module, rank: 1, modules: 1 });
    const whole = await lowrank(['lora', 'resize', at('no-poor'), '-o', at('uncut'), '--energy', '0.9']);
    expect(whole).toMatchObject({ code: 0, stderr: expect.not.stringContaining('warning') });
  });

  it('needs the orientation of weights that contradict config.json', async () => {
    for (const [name, shift] of [
      ['base', 0],
      ['tuned', 1],
    ] as const) {
      const tensors = tinyGpt2('F32', { linear: true });
      tensors.set('h.0.mlp.c_fc.weight', weights([40, 16], 'F32', 130 + shift));
      await writeModel(at('contradicted', name), tensors, { config: { ...GPT2, n_embd: 24 } });
    }
    const extract = (out: string, ...flags: string[]) =>
      lowrank([
        'lora',
        'extract',
        at('contradicted', 'base'),
        at('contradicted', 'tuned'),
        '-o',
        at('contradicted', out),
        '--rank',
        '16',
        '--tensor',
        'h.0.mlp.c_fc.weight',
        ...flags,
      ]);
    const refused = await extract('refused');
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('--no-fan-in-fan-out') });
    expect(refused.stderr).toContain(
      'h.0.mlp.c_fc.weight: shape [40, 16] has no side of 24, the n_embd of config.json',
    );
    expect(existsSync(at('contradicted', 'refused'))).toBe(false);
    for (const [flag, shapes] of [
      ['--no-fan-in-fan-out', [16, 40]],
      ['--fan-in-fan-out', [40, 16]],
    ] as const) {
      expect(await extract(flag, flag)).toMatchObject({ code: 0 });
      const { modules, config } = await readAdapter(at('contradicted', flag));
      const { a, b } = modules.get('transformer.h.0.mlp.c_fc')!;
      expect([a.shape[1], b.shape[0]]).toEqual(shapes);
      expect(config.fan_in_fan_out).toBe(flag === '--fan-in-fan-out');
    }
  });

  it('names differing tensors that are not in the adapter, and selects tensors by name', async () => {
    const tuned = tinyLlama();
    tuned.set(`${Q}.weight`, weights([16, 16], 'F32', 900));
    tuned.set('model.embed_tokens.weight', weights([32, 16], 'F32', 901));
    tuned.set('model.layers.0.input_layernorm.weight', weights([16], 'F32', 902));
    await writeModel(at('tuned'), tuned);
    const run = await lowrank(['lora', 'extract', llama, at('tuned'), '-o', at('found'), '--energy', '0.7']);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/self_attn\.q_proj +16 x 16 +\d+ of 16 +\d+\.\d\d % +0\.\d+/);
    expect(run.stdout).toContain('13 of the selected matrices are equal in both checkpoints');
    expect(run.stdout).toMatch(
      /not in the adapter, although they differ:\n {2}model\.embed_tokens\.weight \(changed\)/,
    );
    expect(run.stdout).toContain('model.layers.0.input_layernorm.weight (changed)');
    const config = JSON.parse(await readFile(at('found', 'adapter_config.json'), 'utf8'));
    expect(config).toMatchObject({ target_modules: [Q], base_model_name_or_path: llama, task_type: 'CAUSAL_LM' });

    const named = [
      '--tensor',
      '*embed_tokens.weight',
      '--tensor',
      `${Q}.weight`,
      '--base-name',
      'tiny',
      '--dtype',
      'bf16',
    ];
    await lowrank(['lora', 'extract', llama, at('tuned'), '-o', at('named'), '--rank', '3', ...named]);
    const { modules } = await readAdapter(at('named'));
    expect([...modules.values()].map(({ name, kind, rank, a }) => [name, kind, rank, a.dtype]).sort()).toEqual([
      ['model.embed_tokens', 'embedding', 3, 'BF16'],
      [Q, 'linear', 3, 'BF16'],
    ]);
  });

  it('refuses equal checkpoints, and missing or repeated ranks', async () => {
    const run = await lowrank(['lora', 'extract', llama, llama, '-o', at('nothing'), '--rank', '2']);
    expect(run).toMatchObject({ code: 1, stderr: expect.stringContaining('none of the 14 selected matrices differs') });
    const twice = ['--rank', '2', '--energy', '0.5'];
    for (const flags of [[], twice, ['--rank', '0'], ['--energy', '1.5']]) {
      const wrong = await lowrank(['lora', 'extract', llama, llama, '-o', at('nothing'), ...flags]);
      expect(wrong.code, flags.join(' ')).toBe(2);
    }
    expect(existsSync(at('nothing'))).toBe(false);
  });
});

describe('lowrank lora resize', () => {
  it('prints the kept energy of each module, carries the other files, and is the same again', async () => {
    const run = await lowrank(['lora', 'resize', adapter, '-o', at('small'), '--rank', '2']);
    expect(run.code, run.stderr).toBe(0);
    expect(run.stdout).toMatch(/self_attn\.q_proj +16 x 16 +2 of 4 +\d+\.\d\d % +0\.\d+ +\S+\n/);
    expect(await readFile(at('small', 'README.md'), 'utf8')).toBe('# an adapter\n');
    await lowrank(['lora', 'resize', adapter, '-o', at('again'), '--rank', '2']);
    expect(await filesIn(at('again'))).toEqual(await filesIn(at('small')));
    expect(await lowrank(['lora', 'resize', adapter, '-o', at('small'), '--rank', '2'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('already exists'),
    });
  });
});

describe('adapters of other formats', () => {
  it.each(['extract', 'merge'])('lowrank lora %s refuses ONNX before anything is written', async (command) => {
    const onnx = join(import.meta.dirname, '../../examples/noisy-recall/model/model.onnx');
    const out = at(`of-onnx-${command}`);
    const [second, ...flags] = command === 'extract' ? [onnx, '--rank', '2'] : [adapter];
    const run = await lowrank(['lora', command, onnx, second!, '-o', out, ...flags]);
    expect(run.code).toBe(1);
    expect(run.stderr).toMatch(/adapters cannot be (extracted from|merged into) onnx/);
    expect(existsSync(out)).toBe(false);
  });
});

const real = join(models, 'lora-gpt2-tigrinya');
const unlessNoData = existsSync(real) ? '' : ' (skipped: ../shared/data is absent)';

describe.skipIf(!existsSync(real))(`lowrank lora resize of a trained adapter${unlessNoData}`, () => {
  it.each([
    { flags: ['--rank', '4'], least: 0.5 },
    { flags: ['--energy', '0.9'], least: 0.9 },
    { flags: ['--ratio', '0.25'], least: 0.5 },
  ])('by $flags keeps the energy that it reports', async ({ flags, least }) => {
    const out = at(`real${flags.join('')}`);
    const run = await lowrank(['lora', 'resize', real, '-o', out, ...flags, '--json']);
    expect(run.code, run.stderr).toBe(0);
    const { modules } = JSON.parse(run.stdout);
    expect(modules).toHaveLength(36);
    const [before, after] = [await readAdapter(real), await readAdapter(out)];
    for (const { name, rank, keptEnergy, singularValues } of modules) {
      expect(keptEnergy).toBeGreaterThanOrEqual(least);
      expect(rank).toBe(after.modules.get(name)!.rank);
      const [whole, kept] = [loraDelta(before, name).data, loraDelta(after, name).data];
      expect((distance(kept, whole) / norm(whole)) ** 2).toBeCloseTo(1 - keptEnergy, 5);
      expect(Math.hypot(...singularValues) / norm(whole)).toBeCloseTo(1, 5);
      if (flags[0] === '--rank') expect(rank).toBe(4);
      if (flags[0] === '--ratio') expect(singularValues[rank - 1]).toBeGreaterThanOrEqual(0.25 * singularValues[0]);
    }
  });
});
