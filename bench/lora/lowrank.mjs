// Serves lowrank in the LoRA bench: `node lowrank.mjs <task as JSON>`, with the protocol of
// ../contenders/serve.mjs.

/** @import { LoraTask } from '../types.js' */

import { createInterface } from 'node:readline';
import { resizeLora } from '../../dist/entries/adapters.js';
import { AdamW, Lora, tensor } from '../../dist/index.js';
import { versions } from '../contenders/lowrank.mjs';

const answer = (/** @type {object} */ message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/**
 * Makes a matrix of numbers in [-1, 1). Their values do not affect the time.
 *
 * @param {number} rows
 * @param {number} columns
 */
function random(rows, columns) {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return tensor(Float32Array.from({ length: rows * columns }, next), [rows, columns]);
}

const loraOf = (/** @type {LoraTask} */ { dim, r }) => new Lora({ dim, dimOut: dim, r, seed: 1 });

/**
 * Computes y = forward(x), then the gradients of x, A and B, and adds them to those of the
 * parameters.
 *
 * @param {LoraTask} task
 */
function step(task) {
  const lora = loraOf(task);
  const { batch = 1, dim } = task;
  const x = random(batch, dim);
  const grad = random(batch, dim);
  const y = new Float32Array(x.data.length);
  const gradX = new Float32Array(x.data.length);
  return () => {
    lora.forward(x, { out: y });
    return lora.backward(grad, { out: gradX });
  };
}

/** @param {LoraTask} task */
function adamw(task) {
  const parameters = loraOf(task).parameters();
  for (const parameter of parameters) {
    const [rows = 1, columns = 1] = parameter.shape;
    parameter.grad = random(rows, columns);
  }
  const optimizer = new AdamW(parameters, { lr: 1e-3 });
  return () => optimizer.step();
}

/** @param {LoraTask} task */
function resize({ dim, r, to = r }) {
  const factor = (/** @type {number} */ rows, /** @type {number} */ columns) => {
    const { data } = random(rows, columns);
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { dtype: /** @type {const} */ ('F32'), shape: [rows, columns], bytes };
  };
  const kind = /** @type {const} */ ('linear');
  const module = { name: 'w', kind, a: factor(r, dim), b: factor(dim, r), rank: r, alpha: r, scaling: 1 };
  const adapter = {
    config: { peft_type: 'LORA', r, lora_alpha: r, target_modules: ['w'] },
    modules: new Map([['w', module]]),
    others: new Map(),
    metadata: undefined,
    source: undefined,
  };
  return () => resizeLora(adapter, { rank: to });
}

/** @type {LoraTask} */
const task = JSON.parse(process.argv[2] ?? '{}');
try {
  const run = { step, adamw, resize }[task.op](task);
  answer({ versions: versions() });
  for await (const line of createInterface({ input: process.stdin })) {
    const least = Number(line.split(' ')[1]);
    const begin = performance.now();
    let calls = 0;
    let elapsed = 0;
    do {
      await run();
      calls++;
      elapsed = (performance.now() - begin) / 1000;
    } while (elapsed < least);
    answer({ seconds: elapsed / calls, calls });
  }
} catch (error) {
  answer({ error: /** @type {Error} */ (error).message });
}
