// Ours in the LoRA bench: `node lowrank.mjs <task as JSON>`; the protocol of ../contenders/serve.mjs.

import { createInterface } from 'node:readline';
import { resizeLora } from '../../dist/entries/adapters.js';
import { AdamW, Lora, tensor } from '../../dist/index.js';
import { versions } from '../contenders/lowrank.mjs';

const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

/** Numbers in [-1, 1); what they are does not matter to the time. */
function random(...shape) {
  let state = 1;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  return tensor(Float32Array.from({ length: shape[0] * shape[1] }, next), shape);
}

const loraOf = ({ dim, r }) => new Lora({ dim, dimOut: dim, r, seed: 1 });

/** y = forward(x), then the gradients of x, A and B, added to those of the parameters. */
function step(task) {
  const lora = loraOf(task);
  const x = random(task.batch, task.dim);
  const grad = random(task.batch, task.dim);
  const y = new Float32Array(x.data.length);
  const gradX = new Float32Array(x.data.length);
  return () => {
    lora.forward(x, { out: y });
    return lora.backward(grad, { out: gradX });
  };
}

function adamw(task) {
  const parameters = loraOf(task).parameters();
  for (const parameter of parameters) parameter.grad = random(...parameter.shape);
  const optimizer = new AdamW(parameters, { lr: 1e-3 });
  return () => optimizer.step();
}

function resize({ dim, r, to }) {
  const factor = (...shape) => {
    const { data } = random(...shape);
    return { dtype: 'F32', shape, bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  };
  const module = { name: 'w', kind: 'linear', a: factor(r, dim), b: factor(dim, r), rank: r, alpha: r, scaling: 1 };
  const adapter = {
    config: { peft_type: 'LORA', r, lora_alpha: r, target_modules: ['w'] },
    modules: new Map([['w', module]]),
    others: new Map(),
    metadata: undefined,
    source: undefined,
  };
  return () => resizeLora(adapter, { rank: to });
}

const task = JSON.parse(process.argv[2]);
try {
  const run = { step, adamw, resize }[task.op](task);
  answer({ versions: versions() });
  for await (const line of createInterface({ input: process.stdin })) {
    const least = Number(line.split(' ')[1]);
    const begin = performance.now();
    let calls = 0;
    let elapsed;
    do {
      await run();
      calls++;
      elapsed = (performance.now() - begin) / 1000;
    } while (elapsed < least);
    answer({ seconds: elapsed / calls, calls });
  }
} catch (error) {
  answer({ error: error.message });
}
