// Times `calibrate` and plain runs of the same model on the same texts, in turns:
// `node calibration.mjs <options as JSON>` prints the seconds of both as JSON. Both read the model and
// the texts, too.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { calibrate } from '../../dist/compress/calibrate.js';
import { textSamples } from '../../dist/compress/samples.js';
import { importPeer } from '../../dist/evaluate/engines/peers.js';
import { median } from '../measure.mjs';

const { model, texts, samples, length, threads, rounds } = JSON.parse(process.argv[2] ?? '');
const peers = process.cwd();
const runtime = await importPeer('onnxruntime-node', peers);

async function plain() {
  const begin = performance.now();
  const all = await textSamples(model, texts, { samples, length, peers });
  const session = await runtime.InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  for (let i = 0; i < all.count; i++) await session.run(await all.feeds(i, runtime, session));
  await session.release();
  return (performance.now() - begin) / 1000;
}

const folder = mkdtempSync(join(tmpdir(), 'lowrank-bench-'));
try {
  /** @type {number[]} */
  const plainSeconds = [];
  /** @type {number[]} */
  const calibrationSeconds = [];
  for (let round = 0; round < rounds; round++) {
    plainSeconds.push(await plain());
    const out = join(folder, `${round}.safetensors`);
    const { seconds } = await calibrate(model, out, { texts, samples, length, threads, peers, allInputs: false });
    calibrationSeconds.push(seconds);
    rmSync(out);
  }
  console.log(JSON.stringify({ plain: median(plainSeconds), calibration: median(calibrationSeconds) }));
} finally {
  rmSync(folder, { recursive: true });
}
