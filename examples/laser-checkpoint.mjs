// Applies LASER to a checkpoint from code: inspects the model, plans an intervention, applies it, and
// checks that nothing else has changed. The model is the small GPT-2 of noisy-recall/, whose README
// explains this intervention.

import { strict as assert } from 'node:assert';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { editCheckpoint, inspectCheckpoint, openCheckpoint, planCheckpoint } from 'lowrank/checkpoint';

const source = join(import.meta.dirname, 'noisy-recall', 'model');
const { family, layers, types, parameters } = await inspectCheckpoint(source);
console.log(`${family} model, ${layers} layers, ${parameters} parameters, types ${types.join(' ')}`);

const interventions = ['1:fc_in:0.01'];
const { edits: planned, memory } = await planCheckpoint(source, { interventions });
assert.deepEqual(
  planned.map(({ tensor, rank }) => [tensor, rank]),
  [['transformer.h.1.mlp.c_fc.weight', 1]],
);
console.log(`to edit: ${planned[0].tensor}, rank ${planned[0].rank}, at most ${Math.ceil(memory.total / 1e6)} MB`);

const folder = await mkdtemp(join(tmpdir(), 'lowrank-example-'));
try {
  const out = join(folder, 'edited');
  const { edits } = await editCheckpoint(source, out, { interventions });
  const [{ tensor, rank, keptEnergy, relativeError }] = edits;
  console.log(
    `${tensor}: rank ${rank}, energy kept ${keptEnergy.toFixed(4)}, relative error ${relativeError.toFixed(4)}`,
  );
  const changed = await differing(source, out);
  assert.deepEqual(changed, [tensor]);
  console.log(`all tensors but this one are the same to the last bit`);
} finally {
  await rm(folder, { recursive: true });
}

/** Returns the names of the tensors whose bytes differ between two checkpoints. */
async function differing(first, second) {
  const [a, b] = [await openCheckpoint(first), await openCheckpoint(second)];
  const names = [];
  for (const name of a.tensors.keys()) {
    if (!Buffer.from(await a.read(name)).equals(await b.read(name))) names.push(name);
  }
  await Promise.all([a.close(), b.close()]);
  return names;
}
