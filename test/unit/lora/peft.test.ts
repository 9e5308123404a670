import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { adapterObstacles, loraDelta } from '../../../lib/adapters/adapter.js';
import { readAdapter, writeAdapter } from '../../../lib/adapters/files.js';
import { configWithRanks, readScalings } from '../../../lib/adapters/peft-config.js';
import { CheckpointError } from '../../../lib/errors.js';
import {
  factorTensors,
  type ModuleSpec,
  numbers,
  randomAdapter,
  reference,
  writeFiles,
} from '../../support/adapters.js';
import { failure } from '../../support/failure.js';
import { temporaryFolder } from '../../support/folder.js';
import { distance, norm } from '../../support/matrices.js';

const MODULES: Record<string, ModuleSpec> = {
  'transformer.h.0.attn.c_attn': { out: 12, in: 4, rank: 2 },
  'transformer.h.1.attn.c_attn': { out: 12, in: 4, rank: 3, dtype: 'BF16' },
  'transformer.wte': { out: 4, in: 9, rank: 2, embedding: true },
};
const CONFIG = { r: 2, lora_alpha: 6, rank_pattern: { 'h.1.attn.c_attn': 3 } };

const kindOf = async (action: Promise<unknown>) => {
  const error = await failure(action);
  return error instanceof CheckpointError ? error.kind : error.code;
};

describe('ranks and alphas', () => {
  const of = (config: object, name: string, rank: number) => readScalings({ ...config }, 'file').of(name, rank);

  it('are those of the first pattern that fits the end of a path at a dot', () => {
    const config = {
      r: 4,
      lora_alpha: 16,
      alpha_pattern: { c_attn: 1, 'h\\.\\d+\\.mlp': 2, '^wte': 3, 'attn|proj': 4 },
    };
    expect(of(config, 'h.0.attn.c_attn', 4).alpha).toBe(1);
    expect(of(config, 'c_attn', 4).alpha).toBe(1);
    expect(of(config, 'h.0.c_attn_c', 4).alpha).toBe(16);
    expect(of(config, 'h.0.xc_attn', 4).alpha).toBe(16);
    expect(of(config, 'a.h.12.mlp', 4)).toEqual({ alpha: 2, scaling: 0.5 });
    expect(of(config, 'wte', 4).alpha).toBe(3);
    expect(of(config, 'a.wte', 4).alpha).toBe(16);
    expect(of(config, 'h.0.proj', 4).alpha).toBe(4);
  });

  it("are PEFT's defaults if not configured, and divided by the root for rslora", () => {
    expect(readScalings({}, 'file').rankOf('a')).toBe(8);
    expect(of({}, 'a', 8)).toEqual({ alpha: 8, scaling: 1 });
    expect(of({ lora_alpha: 8, use_rslora: true }, 'a', 16)).toEqual({ alpha: 8, scaling: 2 });
  });

  it('refuses fields of other types and patterns that JavaScript reads otherwise', () => {
    const wrong = [{ r: 0 }, { r: 'x' }, { lora_alpha: '8' }, { rank_pattern: [] }, { rank_pattern: { a: 0 } }];
    for (const config of [
      ...wrong,
      { use_rslora: 1 },
      { alpha_pattern: { '(': 1 } },
      { alpha_pattern: { 'a\\Z': 1 } },
    ]) {
      expect(() => readScalings(config, 'file')).toThrow(/^file: \w+/);
    }
  });

  it('are written with whole names, the most frequent rank as r', () => {
    const ranks = new Map([
      ['a.q', 2],
      ['a.k', 4],
      ['a.v', 4],
      ['b.a.q', 4],
    ]);
    const config = configWithRanks({ r: 1, other: 'kept', use_rslora: true }, ranks);
    expect(config).toMatchObject({ r: 4, lora_alpha: 4, other: 'kept', use_rslora: false, alpha_pattern: {} });
    expect(config.rank_pattern).toEqual({ '^a\\.q': 2 });
    const scalings = readScalings(config, 'file');
    expect([...ranks.keys()].map((name) => scalings.rankOf(name))).toEqual([2, 4, 4, 4]);
  });
});

describe('readAdapter', () => {
  it('finds modules, their kinds, ranks and scalings', async () => {
    const adapter = await randomAdapter(MODULES, { ...CONFIG, alpha_pattern: { wte: 1 } });
    const seen = [...adapter.modules.values()].map(({ name, kind, rank, scaling }) => [name, kind, rank, scaling]);
    expect(new Set(seen)).toEqual(
      new Set([
        ['transformer.h.0.attn.c_attn', 'linear', 2, 3],
        ['transformer.h.1.attn.c_attn', 'linear', 3, 2],
        ['transformer.wte', 'embedding', 2, 0.5],
      ]),
    );
    expect(adapter.others.size).toBe(0);
    expect(adapterObstacles(adapter)).toEqual([]);
  });

  it('gives the update in the orientation of the weight', async () => {
    for (const fanInFanOut of [false, true]) {
      const adapter = await randomAdapter(MODULES, { ...CONFIG, fan_in_fan_out: fanInFanOut });
      for (const [name, module] of adapter.modules) {
        const turned = fanInFanOut || module.kind === 'embedding';
        const [out, width] = [module.b.shape[0]!, module.a.shape[1]!];
        const delta = loraDelta(adapter, name);
        expect(delta.shape).toEqual(turned ? [width, out] : [out, width]);
        const straight = Float64Array.from({ length: out * width }, (_, at) => {
          const [i, j] = [Math.floor(at / width), at % width];
          return delta.data[turned ? j * out + i : at]!;
        });
        expect(distance(straight, reference(module)) / norm(straight)).toBeLessThan(1e-6);
      }
      expect(await failure(Promise.resolve().then(() => loraDelta(adapter, 'x')))).toMatchObject({
        code: 'ERR_NOT_FOUND',
      });
    }
  });

  it('refuses half a pair, factors that do not fit, and ranks that PEFT would not load', async () => {
    const folder = temporaryFolder();
    const made = (name: string, tensors: Parameters<typeof writeFiles>[1], config: object) =>
      writeFiles(join(folder, name), tensors, { ...config });
    const whole = factorTensors({ a: { out: 3, in: 4, rank: 2 } });
    const half = new Map([...whole].slice(0, 1));
    expect(await kindOf(readAdapter(await made('half', half, { r: 2 })))).toBe('MissingFactorPair');
    const both = new Map([...whole, ...factorTensors({ a: { out: 3, in: 4, rank: 2, embedding: true } })]);
    expect(await kindOf(readAdapter(await made('both', both, { r: 2 })))).toBe('DuplicateModule');
    const odd = new Map([...half, ['base_model.model.a.lora_B.weight', numbers([3, 3], 1)] as const]);
    expect(await kindOf(readAdapter(await made('odd', odd, { r: 2 })))).toBe('RankMismatch');
    expect(await kindOf(readAdapter(await made('rank', whole, { r: 4 })))).toBe('RankMismatch');
    expect(await kindOf(readAdapter(await made('type', whole, { r: 2, peft_type: 'IA3' })))).toBe('ERR_UNSUPPORTED');
    expect(await kindOf(readAdapter(join(folder, 'nowhere')))).toBe('NotFound');
    expect(await kindOf(readAdapter(folder))).toBe('NoAdapter');
    expect(await kindOf(readAdapter(join(folder, 'half', 'adapter_config.json')))).toBe('NoAdapter');
    await writeFile(join(await made('json', whole, { r: 2 }), 'adapter_config.json'), '{"peft_type": "LORA",');
    expect(await kindOf(readAdapter(join(folder, 'json')))).toBe('InvalidAdapterConfig');
    await mkdir(join(folder, 'pickled'));
    await writeFile(join(folder, 'pickled', 'adapter_config.json'), '{"peft_type":"LORA"}');
    await writeFile(join(folder, 'pickled', 'adapter_model.bin'), 'PK');
    expect(await kindOf(readAdapter(join(folder, 'pickled')))).toBe('ERR_UNSUPPORTED');
  });

  it('names what makes an update more than B A, even fields unknown to this version', async () => {
    const config = {
      use_dora: true,
      bias: 'all',
      modules_to_save: ['lm_head'],
      init_lora_weights: 'pissa',
      lora_bias: true,
      some_later_field: 1,
      use_qalora: false,
      layer_replication: null,
      eva_config: { rho: 2 },
      lora_dropout: 0.1,
    };
    const adapter = await randomAdapter({ a: { out: 3, in: 4, rank: 2 } }, { r: 2, ...config });
    expect(adapterObstacles(adapter)).toEqual([
      'use_dora: true',
      'bias: "all"',
      'modules_to_save: ["lm_head"]',
      'init_lora_weights: "pissa"',
      'lora_bias: true',
      'some_later_field: 1',
    ]);
    expect(() => loraDelta(adapter, 'a')).toThrow(/with use_dora: true, bias: "all", .* and 3 more/);
  });
});

describe('writeAdapter', () => {
  const dora = 'base_model.model.a.lora_magnitude_vector';

  async function folderWithAll(): Promise<string> {
    const folder = join(temporaryFolder(), 'adapter');
    const tensors = factorTensors({ a: { out: 3, in: 4, rank: 2, dtype: 'F16' } });
    tensors.set(dora, numbers([3], 5));
    tensors.set('base_model.model.conv.lora_A.weight', numbers([2, 3, 3, 3], 6));
    tensors.set('base_model.model.conv.lora_B.weight', numbers([8, 2, 1, 1], 7));
    await writeFiles(folder, tensors, { r: 2, use_dora: true, lora_dropout: 0.25 });
    // A form that JSON.stringify would not give back.
    await writeFile(
      join(folder, 'adapter_config.json'),
      '{"peft_type":"LORA", "r":2,\n "use_dora":true,"lora_dropout":0.0}',
    );
    await writeFile(join(folder, 'README.md'), '# mine\n');
    await mkdir(join(folder, 'more'));
    await writeFile(join(folder, 'more', 'tokens.json'), '{}');
    return folder;
  }

  it('writes back what it does not understand, to the byte, and the other files', async () => {
    const folder = await folderWithAll();
    const adapter = await readAdapter(folder);
    expect([...adapter.others.keys()].sort()).toEqual([
      'base_model.model.a.lora_magnitude_vector',
      'base_model.model.conv.lora_A.weight',
      'base_model.model.conv.lora_B.weight',
    ]);
    const out = `${folder}-copy`;
    await writeAdapter(adapter, out);
    const names = (await readdir(folder, { recursive: true })).sort();
    expect((await readdir(out, { recursive: true })).sort()).toEqual(names);
    for (const name of names.filter((entry) => entry !== 'more')) {
      expect(await readFile(join(out, name)), name).toEqual(await readFile(join(folder, name)));
    }
  });

  it('writes a changed configuration with all its other fields, also over a read-only file', async () => {
    const folder = await folderWithAll();
    await chmod(join(folder, 'adapter_config.json'), 0o444);
    const adapter = await readAdapter(folder);
    await writeAdapter({ ...adapter, config: { ...adapter.config, revision: 'main' } }, `${folder}-changed`);
    const config = JSON.parse(await readFile(join(`${folder}-changed`, 'adapter_config.json'), 'utf8'));
    expect(config).toEqual({ peft_type: 'LORA', r: 2, use_dora: true, lora_dropout: 0, revision: 'main' });
  });

  it('leaves nothing behind when it fails, and never writes over anything', async () => {
    const folder = await folderWithAll();
    const parent = join(folder, '..');
    const adapter = await readAdapter(folder);
    expect(await kindOf(writeAdapter(adapter, folder))).toBe('OutputExists');
    expect(await kindOf(writeAdapter(adapter, join(folder, 'inside')))).toBe('OutputInsideInput');
    expect(await kindOf(writeAdapter(adapter, join(parent, 'no', 'where')))).toBe('NoFolder');
    await expect(
      writeAdapter(adapter, join(parent, 'x'), { signal: AbortSignal.abort(new Error('no')) }),
    ).rejects.toThrow('no');
    await symlink('/etc/hostname', join(folder, 'link'));
    expect(await kindOf(writeAdapter(adapter, join(parent, 'linked')))).toBe('LinkOutside');
    expect(await readdir(parent)).toEqual(['adapter']);
  });
});

const real = join(import.meta.dirname, '../../../../shared/data/models/lora-gpt2-tigrinya');
const unlessNoData = existsSync(real) ? '' : ' (skipped: ../shared/data is absent)';

describe.skipIf(!existsSync(real))(`an adapter that PEFT wrote${unlessNoData}`, () => {
  it('is read, and written back to the byte', async () => {
    const adapter = await readAdapter(real);
    expect(adapter.modules.size).toBe(36);
    expect(adapterObstacles(adapter)).toEqual([]);
    expect(adapter.modules.get('transformer.h.0.attn.c_attn')).toMatchObject({ rank: 8, alpha: 32, scaling: 4 });
    expect(loraDelta(adapter, 'transformer.h.0.attn.c_attn').shape).toEqual([768, 2304]);
    const out = join(temporaryFolder(), 'copy');
    await writeAdapter(adapter, out);
    for (const name of ['adapter_config.json', 'adapter_model.safetensors']) {
      expect((await readFile(join(out, name))).equals(await readFile(join(real, name))), name).toBe(true);
    }
  });
});
