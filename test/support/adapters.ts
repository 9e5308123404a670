import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoraAdapter, LoraModule, LoraTensor } from '../../lib/adapters/adapter.js';
import { readAdapter } from '../../lib/adapters/files.js';
import { type NewTensor, writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { fromFloat32, toFloat32 } from '../../lib/tensor/convert.js';
import type { FloatDType } from '../../lib/tensor/dtype.js';
import { temporaryFolder } from './folder.js';
import { gaussian, product } from './matrices.js';

/** Normal numbers as a tensor of a file. */
export function numbers(shape: readonly number[], seed: number, dtype: FloatDType = 'F32', scale = 1): NewTensor {
  const data = gaussian(shape, seed).data.map((value) => value * scale);
  return { dtype, shape, bytes: fromFloat32(data, dtype) };
}

export interface ModuleSpec {
  readonly out: number;
  readonly in: number;
  readonly rank: number;
  readonly dtype?: FloatDType;
  readonly embedding?: boolean;
}

/** The tensors of an adapter's file, by PEFT's names, with random factors. */
export function factorTensors(modules: Readonly<Record<string, ModuleSpec>>, seed = 1): Map<string, NewTensor> {
  const tensors = new Map<string, NewTensor>();
  let next = seed * 1000;
  for (const [name, spec] of Object.entries(modules)) {
    const ending = (factor: string) => (spec.embedding ? `lora_embedding_${factor}` : `lora_${factor}.weight`);
    tensors.set(`base_model.model.${name}.${ending('A')}`, numbers([spec.rank, spec.in], ++next, spec.dtype));
    tensors.set(`base_model.model.${name}.${ending('B')}`, numbers([spec.out, spec.rank], ++next, spec.dtype));
  }
  return tensors;
}

/** Writes the two files of an adapter. */
export async function writeFiles(
  folder: string,
  tensors: ReadonlyMap<string, NewTensor>,
  config: Readonly<Record<string, unknown>>,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', ...config }));
  await writeSafetensors(join(folder, 'adapter_model.safetensors'), tensors, new Map([['format', 'pt']]));
  return folder;
}

/** A random adapter, through its files. */
export async function randomAdapter(
  modules: Readonly<Record<string, ModuleSpec>>,
  config: Readonly<Record<string, unknown>>,
  seed = 1,
): Promise<LoraAdapter> {
  const folder = join(temporaryFolder(), 'adapter');
  return readAdapter(await writeFiles(folder, factorTensors(modules, seed), config));
}

export function dataOf({ bytes, dtype }: LoraTensor): Float32Array {
  return toFloat32(bytes, dtype);
}

/**
 * scaling * B A in float64, [out, in]: the reference, which shares nothing with the code under
 * test.
 */
export function reference({ a, b, rank, scaling }: LoraModule): Float64Array {
  return product(dataOf(b), dataOf(a), b.shape[0]!, rank, a.shape[1]!).map((value) => value * scaling);
}
