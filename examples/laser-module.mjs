// Applies Laser(0.9) to a matrix and to a batch, like the zeta library's module: the shapes stay, and
// 460 of 512 ranks are kept. Estimates the memory before the job (estimateMemory), and measures it
// afterwards (memoryUsage).

import { strict as assert } from 'node:assert';
import { estimateMemory, Laser, matrixRank, memoryUsage, resetNativePeak, tensor } from 'lowrank';
import { normal } from './random.mjs';

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const laser = new Laser(0.9);

for (const shape of [
  [512, 512],
  [10, 512, 512],
]) {
  const size = shape.reduce((product, d) => product * d);
  const w = tensor(normal(size, 9), shape);

  const estimate = estimateMemory(shape, { rankFraction: laser.rankFraction });
  resetNativePeak();
  const result = await laser.forward(w);
  const { process, native } = memoryUsage();
  assert.ok(native.peak <= estimate.native, `${native.peak} bytes, estimated ${estimate.native}`);

  const ranks = [await matrixRank(result)].flat();
  assert.deepEqual(result.shape, shape);
  assert.ok(ranks.every((rank) => rank === 460));
  console.log(`${shape.join(' x ')}: rank ${[...new Set(ranks)].join(', ')}, shape ${result.shape.join(' x ')}`);
  console.log(`  work memory estimated ${megabytes(estimate.native)}, at its peak ${megabytes(native.peak)}`);
  console.log(`  result ${megabytes(estimate.output)}, whole process at its peak ${megabytes(process.peakRss)}`);
}
