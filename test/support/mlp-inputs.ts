import { join } from 'node:path';
import { writeSafetensors } from '../../lib/checkpoint/safetensors/file.js';
import { temporaryFolder } from './folder.js';
import { gaussian } from './matrices.js';
import { mlp } from './onnx-mlp.js';
import { fill } from './safetensors.js';

/** Vectors [count, 32] that lie mostly in a few directions. */
export const vectors = (count: number) => gaussian([count, 32], 5).data.map((value, i) => value * 0.8 ** (i % 32));

/** Writes a model with 800 inputs, and names a file for their moments. */
export async function mlpWithInputs(model = mlp()) {
  const folder = temporaryFolder();
  await fill(folder, { 'model.onnx': model });
  const bytes = new Uint8Array(vectors(800).buffer);
  const inputs = join(folder, 'inputs.safetensors');
  await writeSafetensors(inputs, new Map([['x', { dtype: 'F32', shape: [800, 32], bytes }]]));
  const path = (name: string) => join(folder, name);
  return { path, source: path('model.onnx'), inputs, moments: path('moments.safetensors') };
}
