// Trains an adapter of small rank to restore what LASER removes from a real matrix: R = W - laser(W) of
// the small GPT-2 in noisy-recall/. Gradient descent fits it on the layer's inputs while the model
// answered questions (activations.py). The best possible loss of rank 8 on those activations follows
// from singular values (Eckart and Young 1936), and training reaches it. With a path as argument, the
// loss curve is also drawn as SVG.

import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AdamW, Lora, laser, matmul, singularValues, tensor } from 'lowrank';
import { openCheckpoint } from 'lowrank/checkpoint';

const [RANK, STEPS] = [8, 600];

// The target is the part that the intervention removes; it keeps rank 1 of 128.
const w = await read('model', 'transformer.h.1.mlp.c_fc.weight');
const [dim, dimOut] = w.shape;
const kept = await laser(w, { rankFraction: 0.01 });
const residual = w.sub(kept);

// The loss of an adapter of weight A B is |X R - X A B|^2 / |X R|^2. X A B can be any matrix of rank 8
// whose columns lie in the span of X's columns, and so do the leading singular vectors of X R. So the
// smallest loss is the remaining energy.
const x = await read('activations.safetensors', 'x');
const wanted = await matmul(x, residual);
const energies = (await singularValues(wanted)).data.map((s) => s ** 2);
const total = sum(energies);
const optimum = sum(energies.subarray(RANK)) / total;

const lora = new Lora({ dim, dimOut, r: RANK, alpha: RANK, init: 'zero', seed: 1 });
const optimizer = new AdamW(lora.parameters(), { lr: 0, weightDecay: 0 });
const gradient = new Float32Array(wanted.data.length);
const curve = [];
for (let step = 0; step <= STEPS; step++) {
  const y = lora.forward(x);
  let loss = 0;
  // The gradient of the mean of |x R - x A B|^2 over the rows, scaled to start near 1.
  for (let i = 0; i < gradient.length; i++) {
    const difference = y.data[i] - wanted.data[i];
    loss += difference ** 2 / total;
    gradient[i] = (2 * difference) / total;
  }
  curve.push(loss);
  optimizer.zeroGrad();
  lora.backward(tensor(gradient, y.shape));
  optimizer.lr = 0.01 * (1 + Math.cos((Math.PI * step) / (STEPS + 1)));
  optimizer.step();
}

console.log(`fitting what rank 1 leaves of [${w.shape}] with an adapter of rank ${RANK}, on ${x.shape[0]} activations`);
console.log('step   loss, as a share of |X R|^2');
for (let step = 0; step <= STEPS; step += STEPS / 20) {
  console.log(`${String(step).padStart(4)}   ${curve[step].toFixed(6)} ${'#'.repeat(Math.round(60 * curve[step]))}`);
}
const reached = curve.at(-1);
console.log(`optimum of rank ${RANK}, by the singular values: ${optimum.toFixed(6)}`);
console.log(`reached by training:                  ${reached.toFixed(6)} (${percent(reached / optimum - 1)} above)`);
assert.ok(reached >= optimum * (1 - 1e-5), 'nothing of rank 8 is better than the optimum');
assert.ok(reached <= optimum * 1.01, 'training comes within 1 % of the optimum');
if (process.argv[2] !== undefined) writeFileSync(process.argv[2], drawn());

/** Reads a float32 matrix of a checkpoint in noisy-recall/. */
async function read(path, name) {
  const checkpoint = await openCheckpoint(join(import.meta.dirname, 'noisy-recall', path));
  try {
    const { dtype, shape } = checkpoint.tensors.get(name);
    assert.equal(dtype, 'F32');
    const bytes = await checkpoint.read(name);
    return tensor(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)), shape);
  } finally {
    await checkpoint.close();
  }
}

/** Draws the curve over a log scale of the loss, and the optimum as a dashed line. */
function drawn() {
  const [width, height, left, top, right, bottom] = [640, 320, 56, 44, 16, 40];
  const low = Math.log10(optimum) - 0.05;
  const column = (step) => left + (step / STEPS) * (width - left - right);
  const row = (loss) => height - bottom + (Math.log10(loss) / low - 1) * (height - top - bottom);
  const points = curve.map((loss, step) => `${column(step).toFixed(1)},${Math.max(row(loss), top).toFixed(1)}`);
  const ticks = [1, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1].filter((loss) => Math.log10(loss) > low);
  const least = row(optimum).toFixed(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">
<title>Loss of the adapter against the training step</title>
<style>
  text { font: 12px system-ui, sans-serif; fill: #1f2328; }
  .page { fill: #ffffff; } .grid { stroke: #d1d9e0; } .loss { fill: none; stroke: #0969da; stroke-width: 2; }
  .optimum { stroke: #1a7f37; stroke-dasharray: 5 4; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .page { fill: #0d1117; } .grid { stroke: #3d444d; } .loss { stroke: #4493f8; }
    .optimum { stroke: #3fb950; }
  }
</style>
<rect class="page" width="${width}" height="${height}"/>
<text x="${left}" y="22" font-weight="600">An adapter of rank ${RANK} learns what LASER took away</text>
${ticks.map((loss) => `<path class="grid" d="M${left} ${row(loss).toFixed(1)}H${width - right}"/><text x="${left - 8}" y="${(row(loss) + 4).toFixed(1)}" text-anchor="end">${loss}</text>`).join('\n')}
<path class="optimum" d="M${left} ${least}H${width - right}"/>
<text x="${width - right}" y="${Number(least) + 16}" text-anchor="end">optimum by the singular values: ${optimum.toFixed(4)}</text>
<polyline class="loss" points="${points.join(' ')}"/>
${[0, STEPS / 2, STEPS].map((step) => `<text x="${column(step)}" y="${height - 12}" text-anchor="${step === 0 ? 'start' : step === STEPS ? 'end' : 'middle'}">${step === 0 ? 'step 0' : step}</text>`).join('\n')}
</svg>
`;
}

function sum(values) {
  return values.reduce((all, value) => all + value, 0);
}

function percent(share) {
  return `${(100 * share).toFixed(3)} %`;
}
