import { join } from 'node:path';
import { planCheckpoint } from '../../../lib/edit/edit-checkpoint.js';
import { parseAt } from '../../../lib/interventions/spec.js';
import { description, number, validGguf, word } from '../../support/gguf.js';
import { ggufCorpus } from '../../support/gguf-corpus.js';
import { counted, floats, graphProto, modelProto, nodeProto, tensorProto } from '../../support/onnx.js';
import { corpus as onnxCorpus, rich } from '../../support/onnx-corpus.js';
import { made } from '../../support/safetensors.js';
import { corpus } from '../../support/safetensors-corpus.js';
import { mutateBytes } from '../bytes.js';
import { mutateJson } from '../json.js';
import { mutateProtobuf } from '../protobuf.js';
import type { Random } from '../random.js';
import type { Target } from '../target.js';
import { agreeWithJson, coded, fill, openAndRead } from './checkpoint.js';

/** Larger files say nothing that smaller ones do not. */
const LARGEST = 20_000;

const HEADER_WORDS = [
  'dtype',
  'shape',
  'data_offsets',
  '__metadata__',
  'F32',
  'F4',
  'BOOL',
  'F64',
  'format',
  'pt',
  'a',
];

const llama = made(
  {
    __metadata__: { format: 'pt' },
    'model.layers.0.mlp.up_proj.weight': { dtype: 'F16', shape: [3, 2], data_offsets: [0, 12] },
    'model.layers.0.self_attn.q_proj.weight': { dtype: 'F32', shape: [2, 2], data_offsets: [12, 28] },
  },
  Buffer.alloc(28, 1),
);
const LLAMA = '{"model_type":"llama"}';

/** What opening it gives and, where it opens, what a plan for all its matrices says. */
async function read(path: string, folder: string): Promise<string> {
  const opened = await openAndRead(path, folder);
  if (opened.startsWith('ERR_')) return opened;
  const plan = () => planCheckpoint(path, { interventions: [parseAt('all:all:0.5')] });
  return `${opened}; ${await coded(async () => `${Math.min((await plan()).edits.length, 3)} edits`)}`;
}

export const safetensors: Target = {
  name: 'safetensors',
  seeds: () => [llama, ...corpus.map(({ bytes }) => bytes).filter(({ length }) => length < LARGEST)],
  mutate(random, input) {
    if (input.length < 8 || random.chance(0.3)) return mutateBytes(random, input, random.pick(safetensors.seeds()));
    const bytes = Buffer.from(input);
    const length = Math.min(Number(bytes.readBigUInt64LE()), bytes.length - 8);
    const header = mutateJson(random, bytes.subarray(8, 8 + length).toString('utf8'), HEADER_WORDS);
    return made(header, bytes.subarray(8 + length));
  },
  async run(input, folder) {
    await fill(folder, { 'model.safetensors': input, 'config.json': LLAMA });
    agreeWithJson(input);
    return read(folder, folder);
  },
};

const ggufLlama = validGguf(
  [word('general.architecture', 'llama'), number('llama.block_count', 1), number('general.quantization_version', 2)],
  [
    { name: 'blk.0.ffn_up.weight', shape: [3, 2], type: 0, bytes: Buffer.alloc(24, 1) },
    { name: 'blk.0.attn_q.weight', shape: [2, 32], type: 8, bytes: Buffer.alloc(68, 1) },
    { name: 'output_norm.weight', shape: [5], type: 1, bytes: Buffer.alloc(10, 1) },
  ],
);

export const gguf: Target = {
  name: 'gguf',
  seeds: () => [ggufLlama, ...ggufCorpus.map(({ bytes }) => bytes).filter(({ length }) => length < LARGEST)],
  mutate(random, input) {
    if (random.chance(0.9)) return mutateBytes(random, input, random.pick(gguf.seeds()));
    // Another description of a tensor in the place of some bytes.
    const at = random.below(input.length);
    const made = description(
      'blk.0.ffn_up.weight',
      [random.below(4), random.below(4)],
      random.below(45),
      32 * random.below(5),
    );
    return Buffer.concat([input.subarray(0, at), made, input.subarray(at + made.length)]);
  },
  async run(input, folder) {
    await fill(folder, { 'model-00001-of-00001.gguf': input });
    return read(join(folder, 'model-00001-of-00001.gguf'), folder);
  },
};

const onnxLlama = modelProto(
  graphProto(
    [nodeProto({ op: 'MatMul', name: '/model/layers.0/mlp/up_proj/MatMul', inputs: ['x', 'onnx::MatMul_1'] })],
    [
      counted('onnx::MatMul_1', 2, 3),
      tensorProto({ name: 'e', dims: [2, 2], external: { location: 'data.bin', offset: '8', length: '16' } }),
    ],
  ),
);

export const onnx: Target = {
  name: 'onnx',
  seeds: () => [onnxLlama, rich, ...onnxCorpus.map(({ bytes }) => bytes).filter(({ length }) => length < LARGEST)],
  mutate: (random, input) => mutateProtobuf(random, input),
  async run(input, folder) {
    await fill(folder, { 'model.onnx': input, 'data.bin': floats(1, 2, 3, 4, 5, 6), 'config.json': LLAMA });
    return read(join(folder, 'model.onnx'), folder);
  },
};

const INDEX = {
  metadata: { total_size: 28 },
  weight_map: {
    'model.layers.0.mlp.up_proj.weight': 'one.safetensors',
    'model.layers.0.self_attn.q_proj.weight': 'one.safetensors',
  },
};
const CONFIGS = ['llama', 'gptj', 'gpt2', 'phi3', 'mixtral', 'bert'].map((model_type) => ({
  model_type,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  hidden_size: 2,
  head_dim: 1,
  architectures: ['LlamaForCausalLM'],
  text_config: { model_type },
}));
const FOLDER_WORDS = [
  ...Object.keys(INDEX.weight_map),
  ...Object.keys(CONFIGS[0]!),
  'one.safetensors',
  'llama',
  'phi3',
];

/** The two JSON files of a folder: what is in `index`, and in `config`. */
export const folders: Target = {
  name: 'folders',
  seeds: () => CONFIGS.map((config) => Buffer.from(JSON.stringify({ index: INDEX, config }))),
  mutate: (random: Random, input) => Buffer.from(mutateJson(random, Buffer.from(input).toString('utf8'), FOLDER_WORDS)),
  async run(input, folder) {
    const text = Buffer.from(input).toString('utf8');
    let files = { index: text, config: text };
    try {
      const { index, config } = JSON.parse(text);
      files = { index: JSON.stringify(index) ?? '', config: JSON.stringify(config) ?? '' };
    } catch {
      // Both files get the broken text.
    }
    await fill(folder, {
      'model.safetensors.index.json': files.index,
      'config.json': files.config,
      'one.safetensors': llama,
    });
    return read(folder, folder);
  },
};
