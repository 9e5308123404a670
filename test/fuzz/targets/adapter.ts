import { readAdapter } from '../../../lib/adapters/files.js';
import { made } from '../../support/safetensors.js';
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
