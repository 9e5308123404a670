// The examples of the zeta library's `Laser`, line by line, with Python's lines above each: Laser(0.9) on
// a matrix and on a batch keeps the shapes, and 460 of 512 ranks. Estimates the memory before the job
// (estimateMemory), and measures it afterwards (memoryUsage).

import { strict as assert } from 'node:assert';
import { estimateMemory, Laser, matrixRank, memoryUsage, randn, resetNativePeak } from 'lowrank';

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

// laser = LASER(rank_fraction=0.9)
const laser = new Laser(0.9);

// W_2d = torch.randn(512, 512); W_2d_approx = laser(W_2d); W_2d_approx.shape
await run(randn([512, 512], { seed: 9 }));

// W_3d = torch.randn(10, 512, 512); W_3d_approx = laser(W_3d); W_3d_approx.shape
await run(randn([10, 512, 512], { seed: 9 }));

async function run(w) {
  const estimate = estimateMemory(w.shape, { rankFraction: laser.rankFraction });
  resetNativePeak();
  const approx = await laser.forward(w);
  const { process, native } = memoryUsage();
  assert.ok(native.peak <= estimate.native, `${native.peak} bytes, estimated ${estimate.native}`);

  assert.deepEqual(approx.shape, w.shape);
  const ranks = [await matrixRank(approx)].flat();
  assert.ok(ranks.every((rank) => rank === 460));
  console.log(`${w.shape.join(' x ')}: rank ${[...new Set(ranks)].join(', ')}, shape ${approx.shape.join(' x ')}`);
  console.log(`  work memory estimated ${megabytes(estimate.native)}, at its peak ${megabytes(native.peak)}`);
  console.log(`  result ${megabytes(estimate.output)}, whole process at its peak ${megabytes(process.peakRss)}`);
}
