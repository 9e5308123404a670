// Makes a sharded BF16 checkpoint with the shapes of a Llama: hidden 2048, feed-forward 5632,
// grouped keys and values, and as many layers as a given size needs. The result is deterministic:
// it repeats one block of normal numbers at changing places.
// Usage: node bench/checkpoint/make.mjs <folder> [gigabytes]

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const HIDDEN = 2048;
const FORWARD = 5632;
const KEYS = 256;
const WORDS = 32000;
const SHARD_BYTES = 1e9;

/**
 * @typedef {[name: string, shape: number[]]} Tensor
 *
 * @typedef {{ name: string, shape: number[], size: number }} Sized
 */

/**
 * Lists names and shapes, layer by layer, until `bytes` are reached.
 *
 * @param {number} bytes
 * @returns {Tensor[]}
 */
function tensorsOf(bytes) {
  /** @type {Tensor[]} */
  const tensors = [['model.embed_tokens.weight', [WORDS, HIDDEN]]];
  const size = () => tensors.reduce((sum, [, shape]) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0);
  for (let layer = 0; size() < bytes; layer++) {
    const add = (/** @type {string} */ name, /** @type {number[]} */ ...shape) =>
      tensors.push([`model.layers.${layer}.${name}.weight`, shape]);
    add('input_layernorm', HIDDEN);
    add('self_attn.q_proj', HIDDEN, HIDDEN);
    add('self_attn.k_proj', KEYS, HIDDEN);
    add('self_attn.v_proj', KEYS, HIDDEN);
    add('self_attn.o_proj', HIDDEN, HIDDEN);
    add('post_attention_layernorm', HIDDEN);
    add('mlp.gate_proj', FORWARD, HIDDEN);
    add('mlp.up_proj', FORWARD, HIDDEN);
    add('mlp.down_proj', HIDDEN, FORWARD);
  }
  return [...tensors, ['model.norm.weight', [HIDDEN]], ['lm_head.weight', [WORDS, HIDDEN]]];
}

/**
 * Makes a prime number of BF16 numbers, so that no two rows of a matrix start at the same place.
 */
function noise() {
  const count = 15_485_863;
  const block = new Uint16Array(count);
  const number = new DataView(new ArrayBuffer(4));
  let state = 1;
  for (let i = 0; i < count; i++) {
    let sum = 0;
    for (let j = 0; j < 4; j++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      sum += state / 2 ** 32 - 0.5;
    }
    number.setFloat32(0, 0.03 * sum);
    block[i] = number.getUint16(0);
  }
  return Buffer.from(block.buffer);
}

/**
 * Makes the checkpoint.
 *
 * @param {string} folder
 * @param {number} bytes
 * @returns the exact size in bytes
 */
export function makeCheckpoint(folder, bytes) {
  mkdirSync(folder, { recursive: true });
  const block = noise();
  /** @type {Sized[]} */
  let shard = [];
  const shards = [shard];
  let filled = 0;
  for (const [name, shape] of tensorsOf(bytes)) {
    const size = 2 * shape.reduce((a, b) => a * b, 1);
    if (filled > 0 && filled + size > SHARD_BYTES) {
      shard = [];
      shards.push(shard);
      filled = 0;
    }
    shard.push({ name, shape, size });
    filled += size;
  }
  const digits = (/** @type {number} */ n) => String(n).padStart(5, '0');
  /** @type {Record<string, string>} */
  const map = {};
  let total = 0;
  for (const [i, tensors] of shards.entries()) {
    const file = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    /** @type {Record<string, object>} */
    const header = { __metadata__: { format: 'pt' } };
    let end = 0;
    for (const { name, shape, size } of tensors) {
      map[name] = file;
      header[name] = { dtype: 'BF16', shape, data_offsets: [end, end + size] };
      end += size;
    }
    const text = JSON.stringify(header);
    const padded = Buffer.from(text.padEnd(8 * Math.ceil(text.length / 8)));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(padded.length));
    const out = openSync(join(folder, file), 'w');
    writeSync(out, Buffer.concat([length, padded]));
    for (let done = 0; done < end; ) {
      const from = (total + done) % block.length;
      const part = block.subarray(from, Math.min(block.length, from + end - done));
      done += writeSync(out, part);
    }
    closeSync(out);
    total += end;
  }
  const index = { metadata: { total_size: total }, weight_map: map };
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  writeFileSync(
    join(folder, 'config.json'),
    JSON.stringify({ model_type: 'llama', architectures: ['LlamaForCausalLM'] }),
  );
  return total;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [folder, gigabytes = '4'] = process.argv.slice(2);
  if (folder === undefined) throw new Error('usage: make.mjs <folder> [gigabytes]');
  console.log(`${makeCheckpoint(folder, Number(gigabytes) * 1e9)} bytes in ${folder}`);
}
