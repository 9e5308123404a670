// Measures what editing one layer of a checkpoint costs, compared with `cp -r` and the
// decompositions alone, and how much memory it takes.
// Usage: node bench/checkpoint/run.mjs <scratch folder> [--sizes 2,4] [--rounds 3] [--json] [--save]
// Needs three times the largest size on the disk, and a previous `npm run build`. Empties the
// scratch folder afterwards.

/** @import { CheckpointRound, CheckpointRow } from '../types.js' */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { addon } from '../../dist/addon/load.js';
import { machine } from '../machine.mjs';
import { median } from '../measure.mjs';
import { render, WHOLE } from '../report.mjs';
import { makeCheckpoint } from './make.mjs';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    sizes: { type: 'string', default: '2,4' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
    save: { type: 'boolean', default: false },
  },
});
const [scratch] = positionals;
if (scratch === undefined) throw new Error('usage: run.mjs <scratch folder> [--sizes 2,4] [--rounds 3] [--json]');
const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
/** Bytes of a layer's largest tensor in float32. */
const LARGEST = 4 * 5632 * 2048;
const AT = '1:all:0.1';

/**
 * @template T
 * @param {() => T} work
 */
function timed(work) {
  const begin = performance.now();
  const result = work();
  return { seconds: (performance.now() - begin) / 1000, result };
}

/**
 * @param {string} folder
 * @param {number} gigabytes
 * @returns {CheckpointRow}
 */
function measure(folder, gigabytes) {
  const source = join(folder, 'source');
  const bytes = makeCheckpoint(source, gigabytes * 1e9);
  const [copy, out] = [join(folder, 'copy'), join(folder, 'out')];
  /** @type {CheckpointRound[]} */
  const rounds = [];
  // The first round warms the disk's cache. Copies and edits alternate, so that other work on the
  // machine affects both.
  for (let round = 0; round <= Number(values.rounds); round++) {
    execFileSync('sync');
    const plain = timed(() => execFileSync('cp', ['-r', source, copy])).seconds;
    const synced = plain + timed(() => execFileSync('sync', ['-f', copy])).seconds;
    rmSync(copy, { recursive: true });
    execFileSync('sync');
    const { seconds, result } = timed(() =>
      execFileSync(process.execPath, [main, 'laser', source, '-o', out, '--at', AT, '--json'], {
        stdio: ['ignore', 'pipe', 'ignore'],
        maxBuffer: 2 ** 28,
        encoding: 'utf8',
      }),
    );
    rmSync(out, { recursive: true });
    const { edits, memory } = JSON.parse(result);
    /** @type {{ certificate: { seconds: number } }[]} */
    const decompositions = edits;
    const svd = decompositions.reduce((sum, { certificate }) => sum + certificate.seconds, 0);
    const peak = memory.measured.peakRss;
    if (round > 0)
      rounds.push({ cp: plain, cpSynced: synced, laser: seconds, svd, peak, predicted: memory.predicted.total });
  }
  rmSync(source, { recursive: true });
  const middle = (/** @type {keyof CheckpointRound} */ key) => median(rounds.map((round) => round[key]));
  return {
    bytes,
    cp: middle('cp'),
    cpSynced: middle('cpSynced'),
    laser: middle('laser'),
    svd: middle('svd'),
    peak: middle('peak'),
    predicted: middle('predicted'),
    ratio: median(rounds.map(({ laser, svd, cp }) => (laser - svd) / cp)),
    rounds,
  };
}

mkdirSync(scratch, { recursive: true });
const sizes = values.sizes.split(',').map(Number);
const { bavail, bsize } = statfsSync(scratch);
if (bavail * bsize < 3e9 * Math.max(...sizes)) throw new Error(`not enough disk space in ${scratch}`);
const folder = mkdtempSync(join(scratch, 'lowrank-checkpoint-'));
try {
  const rows = sizes.map((size) => measure(folder, size));
  if (values.save) {
    const path = addon().info().simd;
    const document = { date: new Date().toISOString(), path, at: AT, largest: LARGEST, machine: machine(), rows };
    writeFileSync(join(WHOLE.data, 'checkpoint.json'), `${JSON.stringify(document, null, 2)}\n`);
    render(WHOLE);
  }
  if (values.json) console.log(JSON.stringify(rows, null, 2));
  else {
    const limit = 300e6 + 4 * LARGEST;
    console.log(
      `One layer (${AT}), medians of ${values.rounds}. Targets: ratio <= 1.2, peak <= ${(limit / 1e6).toFixed(0)} MB.\n`,
    );
    console.log(
      '| checkpoint | cp -r | cp -r, on the disk | laser | SVDs | (laser - SVDs) / cp -r | peak | predicted |',
    );
    console.log('| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
    for (const { bytes, cp, cpSynced, laser, svd, ratio, peak, predicted } of rows) {
      const cells = [
        `${(bytes / 1e9).toFixed(2)} GB`,
        ...[cp, cpSynced, laser, svd].map((x) => `${x.toFixed(2)} s`),
        ratio.toFixed(2),
        ...[peak, predicted].map((x) => `${(x / 1e6).toFixed(0)} MB`),
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
