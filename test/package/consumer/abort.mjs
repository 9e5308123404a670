import { factorize, tensor } from 'lowrank';

// A second's work, stopped as soon as it has begun.
const n = 1500;
const data = Float32Array.from({ length: n * n }, (_, i) => Math.sin(i * (1 + (i % 97))));
const reason = new Error('stop');
const controller = new AbortController();
const done = factorize(tensor(data, [n, n]), { rank: n, signal: controller.signal });
setTimeout(() => controller.abort(reason), 1);
try {
  await done;
} catch (error) {
  if (error === reason) console.log('checked');
}
