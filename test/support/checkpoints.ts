import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { open } from '../../lib/checkpoint/open.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import { type FloatDType, isFloatDType } from '../../lib/tensor/dtype.js';
import { gaussian } from './matrices.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Trained weights that do not belong to the project's files. */
export const models = join(root, '..', 'shared', 'data', 'models');

/** Normal numbers of a shape in a dtype; the same for the same seed. */
export function weights(shape: readonly number[], dtype: FloatDType = 'F32', seed = 1): NewTensor {
  return { dtype, shape, bytes: fromFloat32(gaussian(shape, seed).data, dtype) };
}

/** A Llama of two layers and width 16, or more. */
export function tinyLlama(dtype: FloatDType = 'F32', layers = 2): Map<string, NewTensor> {
  const tensors = new Map<string, NewTensor>();
  let seed = 0;
  const add = (name: string, ...shape: number[]) => tensors.set(name, weights(shape, dtype, ++seed));
  add('model.embed_tokens.weight', 32, 16);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}.`;
    add(`${prefix}input_layernorm.weight`, 16);
    add(`${prefix}self_attn.q_proj.weight`, 16, 16);
    add(`${prefix}self_attn.k_proj.weight`, 8, 16);
    add(`${prefix}self_attn.v_proj.weight`, 8, 16);
    add(`${prefix}self_attn.o_proj.weight`, 16, 16);
    add(`${prefix}mlp.gate_proj.weight`, 24, 16);
    add(`${prefix}mlp.up_proj.weight`, 24, 16);
    add(`${prefix}mlp.down_proj.weight`, 16, 24);
  }
  return tensors;
}

/**
 * GPT-2's blocks as the hub keeps them: without `transformer.`, stored [in, out]; c_proj of
 * attention is square. With `linear` as nanoGPT keeps them, stored [out, in].
 */
export function tinyGpt2(dtype: FloatDType, { linear = false } = {}): Map<string, NewTensor> {
  const tensors = new Map<string, NewTensor>();
  const stored = (width: number, out: number) => (linear ? [out, width] : [width, out]);
  for (const layer of [0, 1]) {
    tensors.set(`h.${layer}.ln_1.weight`, weights([16], dtype, 100 + layer));
    tensors.set(`h.${layer}.attn.c_attn.weight`, weights(stored(16, 48), dtype, 110 + layer));
    tensors.set(`h.${layer}.attn.c_proj.weight`, weights([16, 16], dtype, 120 + layer));
    tensors.set(`h.${layer}.mlp.c_fc.weight`, weights(stored(16, 40), dtype, 130 + layer));
    tensors.set(`h.${layer}.mlp.c_proj.weight`, weights(stored(40, 16), dtype, 140 + layer));
  }
  return tensors.set('wte.weight', weights([20, 16], dtype, 150));
}

const LLAMA = { model_type: 'llama', architectures: ['LlamaForCausalLM'] };

/**
 * Writes a model's folder: weights in one file or in `shards`, config.json and a file that is no
 * weights.
 */
export async function writeModel(
  folder: string,
  tensors: ReadonlyMap<string, NewTensor>,
  { config = LLAMA, shards = 1 }: { config?: Record<string, unknown>; shards?: number } = {},
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await writeFile(join(folder, 'tokenizer.json'), '{"words":[]}\n');
  const metadata = new Map([['format', 'pt']]);
  if (shards === 1) {
    await writeSafetensors(join(folder, 'model.safetensors'), tensors, metadata);
    return folder;
  }
  const names = [...tensors.keys()];
  const weightMap: Record<string, string> = {};
  const number = (shard: number) => String(shard).padStart(5, '0');
  for (let shard = 0; shard < shards; shard++) {
    const file = `model-${number(shard + 1)}-of-${number(shards)}.safetensors`;
    const own = names.filter((_, i) => i % shards === shard);
    for (const name of own) weightMap[name] = file;
    await writeSafetensors(join(folder, file), new Map(own.map((name) => [name, tensors.get(name)!])), metadata);
  }
  const total = [...tensors.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  const index = JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap });
  await writeFile(join(folder, 'model.safetensors.index.json'), index);
  return folder;
}

/** A tensor's bytes, and where it is of floats its numbers. */
export async function readTensor(path: string, name: string) {
  const checkpoint = await open(path);
  try {
    const { dtype, shape } = checkpoint.tensors.get(name)!;
    const bytes = await checkpoint.read(name);
    return { dtype, shape, bytes, data: isFloatDType(dtype) ? toFloat32(bytes, dtype) : new Float32Array() };
  } finally {
    await checkpoint.close();
  }
}

/** The names of the tensors whose bytes differ. */
export async function changedTensors(before: string, after: string): Promise<string[]> {
  const [a, b] = [await open(before), await open(after)];
  try {
    const changed: string[] = [];
    for (const name of a.tensors.keys()) {
      if (Buffer.compare(await a.read(name), await b.read(name)) !== 0) changed.push(name);
    }
    return changed;
  } finally {
    await Promise.all([a.close(), b.close()]);
  }
}

/** All files below a folder, by path, with their bytes. */
export async function filesIn(folder: string): Promise<Map<string, Buffer>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = paths.map(async (path) => [relative(folder, path), await readFile(path)] as const);
  return new Map((await Promise.all(read)).sort(([x], [y]) => (x < y ? -1 : 1)));
}

/** All files below a folder, by path, with the digests of their bytes. */
export async function digestsIn(folder: string): Promise<Record<string, string>> {
  const files = await filesIn(folder);
  const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  return Object.fromEntries([...files].map(([name, bytes]) => [name, digest(bytes)]));
}
