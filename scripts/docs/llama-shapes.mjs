// Makes a checkpoint with the shapes of a Llama model, and moments for it, as sparse files that take
// no space: for `lowrank plan`, which reads no numbers. docs/many-machines.md shows what it says.
//
//   node scripts/docs/llama-shapes.mjs 8B <folder>

import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** @type {Record<string, { layers: number, hidden: number, inner: number, kv: number, vocabulary: number }>} */
const MODELS = {
  '1B': { layers: 16, hidden: 2048, inner: 8192, kv: 512, vocabulary: 128256 },
  '8B': { layers: 32, hidden: 4096, inner: 14336, kv: 1024, vocabulary: 128256 },
  '70B': { layers: 80, hidden: 8192, inner: 28672, kv: 1024, vocabulary: 128256 },
};

/** @typedef {{ name: string, dtype: 'BF16' | 'F64', shape: number[] }} Described */

/**
 * Writes the header of a safetensors file, and as many zeros as its tensors have bytes, without
 * writing those.
 *
 * @param {string} path
 * @param {Described[]} tensors
 * @param {Record<string, string>} metadata
 */
async function sparse(path, tensors, metadata) {
  let end = 0;
  /** @type {Record<string, unknown>} */
  const header = { __metadata__: metadata };
  for (const { name, dtype, shape } of tensors) {
    const begin = end;
    end += shape.reduce((product, size) => product * size, dtype === 'F64' ? 8 : 2);
    header[name] = { dtype, shape, data_offsets: [begin, end] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([json, Buffer.alloc((8 - (json.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  const file = await open(path, 'w');
  await file.write(Buffer.concat([length, padded]));
  await file.truncate(8 + padded.length + end);
  await file.close();
}

async function main() {
  const [size, folder] = process.argv.slice(2);
  const model = MODELS[size ?? ''];
  if (model === undefined || folder === undefined) {
    throw new Error(`usage: llama-shapes.mjs ${Object.keys(MODELS).join('|')} <folder>`);
  }
  const { layers, hidden, inner, kv, vocabulary } = model;
  await mkdir(folder, { recursive: true });
  const config = { model_type: 'llama', hidden_size: hidden, intermediate_size: inner, num_hidden_layers: layers };
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));

  /** @type {Described[]} */
  const weights = [{ name: 'model.embed_tokens.weight', dtype: 'BF16', shape: [vocabulary, hidden] }];
  /** @type {Described[]} */
  const moments = [];
  /** @type {Record<string, string>} */
  const shared = { lowrank: 'moments' };
  for (let layer = 0; layer < layers; layer++) {
    const name = (/** @type {string} */ part) => `model.layers.${layer}.${part}_proj.weight`;
    const add = (/** @type {string} */ part, /** @type {number} */ m, /** @type {number} */ n) =>
      weights.push({ name: name(part), dtype: 'BF16', shape: [m, n] });
    add('self_attn.q', hidden, hidden);
    add('self_attn.k', kv, hidden);
    add('self_attn.v', kv, hidden);
    add('self_attn.o', hidden, hidden);
    add('mlp.gate', inner, hidden);
    add('mlp.up', inner, hidden);
    add('mlp.down', hidden, inner);
    // As `calibrate` keeps them: layers with one input share it, of long inputs those of the outputs.
    for (const part of ['self_attn.q', 'self_attn.o', 'mlp.gate']) {
      moments.push({ name: `${name(part)}.inputs`, dtype: 'F64', shape: [hidden, hidden] });
    }
    moments.push({ name: `${name('mlp.down')}.outputs`, dtype: 'F64', shape: [hidden, hidden] });
    shared[`shared.${name('self_attn.k')}`] = name('self_attn.q');
    shared[`shared.${name('self_attn.v')}`] = name('self_attn.q');
    shared[`shared.${name('mlp.up')}`] = name('mlp.gate');
  }
  await sparse(join(folder, 'model.safetensors'), weights, { format: 'pt' });
  await sparse(join(folder, '..', `moments-${size}.safetensors`), moments, shared);
}

await main();
