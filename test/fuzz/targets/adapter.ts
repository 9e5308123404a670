import { join } from 'node:path';
import { readAdapter, writeAdapter } from '../../../lib/adapters/files.js';
import { key, VALUE, validGguf, word } from '../../support/gguf.js';
import { made } from '../../support/safetensors.js';
import { mutateBytes } from '../bytes.js';
import { mutateJson } from '../json.js';
import { require, type Target } from '../target.js';
import { coded, fill } from './checkpoint.js';

const NAMES = ['base_model.model.h.0.q', 'base_model.model.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.k'];
const tensors = NAMES.flatMap((name, i) => [
  [`${name}.lora_A.weight`, { dtype: 'F32', shape: [2, 3], data_offsets: [i * 56, i * 56 + 24] }],
  [`${name}.lora_B.weight`, { dtype: 'F32', shape: [4, 2], data_offsets: [i * 56 + 24, i * 56 + 56] }],
]);
const weights = made(Object.fromEntries(tensors), Buffer.alloc(112, 1));

const CONFIG = {
  peft_type: 'LORA',
  r: 2,
  lora_alpha: 4,
  target_modules: ['q', 'k'],
  rank_pattern: { 'h.0.q': 2 },
  alpha_pattern: { '.*k': 8 },
  use_rslora: false,
  fan_in_fan_out: false,
  bias: 'none',
  init_lora_weights: true,
  modules_to_save: null,
  layers_to_transform: null,
  use_dora: false,
  lora_bias: false,
};
const WORDS = [
  ...Object.keys(CONFIG),
  'LORA',
  'gaussian',
  '(a+)+b',
  '(a|a)*$',
  '(.*)*x',
  '\\A',
  '[',
  '(?P<x>a)',
  '(?:',
  '\\1',
];

/** `adapter_config.json`, with its patterns, beside weights that are sound. */
export const adapter: Target = {
  name: 'adapter',
  seeds: () => [
    Buffer.from(JSON.stringify(CONFIG)),
    Buffer.from(JSON.stringify({ ...CONFIG, rank_pattern: { '(a+)+b': 2 }, alpha_pattern: { '(.*.*)*x': 1 } })),
  ],
  mutate: (random, input) => Buffer.from(mutateJson(random, Buffer.from(input).toString('utf8'), WORDS)),
  async run(input, folder) {
    await fill(folder, { 'adapter_config.json': input, 'adapter_model.safetensors': weights });
    return coded(async () => {
      const { modules } = await readAdapter(folder);
      for (const { rank, scaling } of modules.values()) {
        require(rank === 2 && Number.isFinite(scaling), `rank ${rank}, scaling ${scaling}`);
      }
      return `${modules.size} modules`;
    });
  },
};

const float = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};
const factor = (name: string, shape: readonly [number, number], type: number, bytes: number) => {
  return { name, shape, type, bytes: Buffer.alloc(bytes, 1) };
};
const ggufForm = validGguf(
  [
    word('general.architecture', 'llama'),
    word('general.type', 'adapter'),
    word('adapter.type', 'lora'),
    key('adapter.lora.alpha', VALUE.f32, float(4)),
  ],
  [
    factor('blk.0.attn_q.weight.lora_a', [2, 32], 8, 68),
    factor('blk.0.attn_q.weight.lora_b', [4, 2], 0, 32),
    factor('token_embd.weight.lora_a', [3, 2], 1, 12),
    factor('token_embd.weight.lora_b', [4, 2], 30, 16),
    { name: 'blk.0.attn_norm.weight', shape: [5], type: 0, bytes: Buffer.alloc(20, 1) },
  ],
);

/** An adapter in GGUF: what is read is written, and read again as the same. */
export const ggufAdapter: Target = {
  name: 'lora',
  // The last tensor has 20 bytes, and 12 of padding.
  seeds: () => [ggufForm, ggufForm.subarray(0, -16)],
  mutate: (random, input) => mutateBytes(random, input, ggufForm),
  async run(input, folder) {
    await fill(folder, { 'adapter.gguf': input });
    return coded(async () => {
      const adapter = await readAdapter(join(folder, 'adapter.gguf'));
      await writeAdapter(adapter, join(folder, 'again.gguf'));
      const again = await readAdapter(join(folder, 'again.gguf'));
      for (const [name, { rank, scaling }] of adapter.modules) {
        const same = again.modules.get(name);
        require(same?.rank === rank, `${name}: rank ${rank} became ${same?.rank}`);
        const change = Math.abs(same.scaling - scaling);
        require(change <= 1e-6 * Math.abs(scaling), `${name}: scaling ${scaling} became ${same.scaling}`);
      }
      return `${adapter.modules.size} modules, ${adapter.others.size} others`;
    });
  },
};
