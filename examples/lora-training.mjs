// What LASER takes out of a real matrix, learned back by an adapter of small rank: W - laser(W), of the small GPT-2 of
// noisy-recall/, is fitted on random inputs by gradient descent. The best that rank 8 can do is known beforehand from the
// singular values (Eckart and Young 1936), and training gets there.

import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { AdamW, clipGradNorm, Lora, laser, matmul, openCheckpoint, singularValues, tensor } from 'lowrank';
import { normal } from './random.mjs';

const [RANK, ROWS, STEPS] = [8, 256, 600];

// The target: the residual R of the intervention, which keeps rank 1 of 128.
const w = await read('transformer.h.1.mlp.c_fc.weight');
const [dim, dimOut] = w.shape;
const kept = await laser(w, { rankFraction: 0.01 });
const residual = tensor(
  w.data.map((value, i) => value - kept.data[i]),
  w.shape,
);

// For inputs of independent standard normal numbers the expected loss |x R - x W|^2 of an adapter's weight W is
// |R - W|_F^2, whose minimum over rank 8 is the sum of the squares of the other singular values of R.
const energies = (await singularValues(residual)).data.map((s) => s ** 2);
const total = sum(energies);
const optimum = sum(energies.subarray(RANK)) / total;

const lora = new Lora({ dim, dimOut, r: RANK, alpha: RANK, init: 'zero', seed: 1 });
const optimizer = new AdamW(lora.parameters(), { lr: 0.02, weightDecay: 0 });
const curve = [];
for (let step = 0; step < STEPS; step++) {
  if (step % 30 === 0) curve.push([step, loss()]);
  // The rate falls along a cosine to nothing, which averages the noise of the batches out.
  optimizer.lr = 0.01 * (1 + Math.cos((Math.PI * step) / STEPS));
  const x = tensor(normal(ROWS * dim, step + 1), [ROWS, dim]);
  const wanted = (await matmul(x, residual)).data;
  optimizer.zeroGrad();
  const y = lora.forward(x);
  // The gradient of the batch's mean of |y - wanted|^2.
  lora.backward(
    tensor(
      y.data.map((value, i) => (2 / ROWS) * (value - wanted[i])),
      y.shape,
    ),
  );
  clipGradNorm(lora.parameters(), 10);
  optimizer.step();
}
curve.push([STEPS, loss()]);

console.log(`fitting the residual of rank 1 of [${w.shape}] with an adapter of rank ${RANK}`);
console.log('step   loss, as a share of |R|^2');
for (const [step, value] of curve) {
  console.log(`${String(step).padStart(4)}   ${value.toFixed(6)} ${'#'.repeat(Math.round(60 * value))}`);
}
const reached = curve.at(-1)[1];
console.log(`optimum of rank ${RANK}, by the singular values: ${optimum.toFixed(6)}`);
console.log(`reached by training:                  ${reached.toFixed(6)} (${percent(reached / optimum - 1)} above)`);
assert.ok(reached >= optimum * (1 - 1e-5), 'nothing of rank 8 is better than the optimum');
assert.ok(reached <= optimum * 1.01, 'training comes within 1 % of the optimum');

/** |R - W|_F^2 / |R|_F^2 of the adapter as it is. */
function loss() {
  const { data } = lora.weight;
  return sum(residual.data.map((value, i) => (value - data[i]) ** 2)) / total;
}

async function read(name) {
  const checkpoint = await openCheckpoint(join(import.meta.dirname, 'noisy-recall', 'model'));
  try {
    const { dtype, shape } = checkpoint.tensors.get(name);
    assert.equal(dtype, 'F32');
    const bytes = await checkpoint.read(name);
    return tensor(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)), shape);
  } finally {
    await checkpoint.close();
  }
}

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

function percent(share) {
  return `${(100 * share).toFixed(3)} %`;
}
