// Measures one case: calibrates the model, compresses it under each budget in both forms, and compares
// the results with the original.

/** @import { Case, CaseResult, ComparedModel, Latency, Row, Storage } from './types.js' */

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lowrank, node } from './commands.mjs';
import { absence, cache, copyTokenizer, modelFolder, textFolder } from './sources.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
/** @type {readonly Storage[]} */
const STORAGES = ['pivoted', 'factors'];

/**
 * @typedef {object} Settings
 * @property {string} data the folder with models and question sets that no package has
 * @property {number} threads
 * @property {number} rounds of the timed runs
 * @property {(text: string) => void} log
 */

/**
 * @param {Case} one
 * @param {Settings} settings
 * @returns {CaseResult}
 */
export function measure(one, { data, threads, rounds, log }) {
  const { name, kind, length, calibration, figure, budgets, latency, forwards } = one;
  const absent = absence(name, data);
  if (absent !== undefined) return { ...one, absent, rows: [], latency: [] };
  const folder = modelFolder(name, data);
  const texts = textFolder(data);
  const textsFor = (/** @type {string} */ use) => join(texts, `${kind}-${use}.jsonl`);
  const model = join(folder, 'model.onnx');
  const work = join(cache, 'work', name);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const threaded = ['--threads', String(threads)];
  const cut = ['--samples', String(calibration), '--length', String(length)];

  const moments = join(work, 'moments.safetensors');
  const given = ['--texts', textsFor('calibration'), ...cut];
  const calibrated = lowrank('calibrate', model, '-o', moments, ...given, '--no-all-inputs', ...threaded);
  log(`  calibrate: ${calibrated.seconds.toFixed(1)} s, ${calibrated.vectors} vectors`);
  const timed = { model, texts: textsFor('calibration'), samples: calibration, length, threads, rounds: 3 };
  const times = forwards === undefined ? undefined : node(here('calibration.mjs'), JSON.stringify(timed));
  if (times) log(`  calibrate: ${(times.calibration / times.plain).toFixed(2)} of plain runs`);

  const compress = (/** @type {number} */ keep, /** @type {Storage} */ storage) => {
    const out = join(work, `${storage}-${keep}`);
    mkdirSync(out);
    copyTokenizer(folder, out);
    const written = join(out, 'model.onnx');
    const chosen = ['--keep', String(keep), '--storage', storage, '--calibration', moments];
    const trials = ['--texts', textsFor('trials'), '--work', join(work, 'decompositions')];
    return { out, report: lowrank('compress', model, '-o', written, ...chosen, ...trials, ...threaded) };
  };
  const compare = (/** @type {string[]} */ candidates, /** @type {string[]} */ ...more) =>
    lowrank('compare', folder, ...candidates, '--texts', textsFor('held-out'), ...more, ...threaded);

  /** @type {Row[]} */
  const rows = [];
  /** @type {Latency[]} */
  const latencies = [];
  let original = { bytes: 0, perplexity: /** @type {number | undefined} */ (undefined), tokens: 0 };
  for (const { keep, target } of budgets) {
    const made = STORAGES.map((storage) => ({ storage, ...compress(keep, storage) }));
    const outs = made.map(({ out }) => out);
    const document = compare(outs, '--length', String(length), '--runs', '0', '--samples', '1000');
    const base = /** @type {ComparedModel} */ (document.original);
    original = { bytes: base.bytes, perplexity: base.perplexity?.value, tokens: document.tokens };
    for (const [i, { storage, report }] of made.entries()) {
      const found = /** @type {ComparedModel} */ (document.candidates[i]);
      rows.push(rowOf({ keep, target, storage }, figure, report, found, base));
      const { value } = /** @type {Row} */ (rows.at(-1));
      log(`  ${keep} ${storage}: ${figure} ${value.toFixed(4)} (${target.toFixed(3)}), ${report.seconds.toFixed(1)} s`);
    }
    if (latency?.keep === keep && rounds > 0) {
      const timedRuns = compare(outs, '--samples', '2', '--runs', String(rounds));
      latencies.push(...latenciesOf(made, timedRuns.candidates, latency.targets));
      for (const { storage, shape, relative } of latencies) log(`  ${storage} ${shape}: ${relative.toFixed(2)}`);
    }
    for (const out of outs) rmSync(out, { recursive: true });
  }
  return {
    ...one,
    ...original,
    otherDomain: kind === 'sentences' && existsSync(join(data, 'datasets/fever_paper_dev.jsonl')),
    calibrationSeconds: times?.calibration ?? calibrated.seconds,
    plainSeconds: times?.plain,
    vectors: calibrated.vectors,
    rows,
    latency: latencies,
  };
}

/**
 * @param {Pick<Row, 'keep' | 'target' | 'storage'>} asked
 * @param {Case['figure']} figure
 * @param {any} report of `compress`
 * @param {ComparedModel} found
 * @param {ComparedModel} base
 * @returns {Row}
 */
function rowOf(asked, figure, report, found, base) {
  const estimate = /** @type {NonNullable<ComparedModel['cosine']>} */ (found[figure]);
  const unit = figure === 'perplexity' ? (base.perplexity?.value ?? Number.NaN) : 1;
  const { perplexity, divergence, agreement, rankCorrelation } = found;
  const others = Object.entries({ perplexity, divergence, agreement, rankCorrelation }).filter(([, value]) => value);
  return {
    ...asked,
    value: estimate.value / unit,
    low: estimate.low / unit,
    high: estimate.high / unit,
    bytes: found.bytes,
    seconds: report.seconds,
    weighting: report.weighting,
    factored: report.layers.filter(
      (/** @type {{ stored: { kind: string } }} */ { stored }) => stored.kind === 'factors',
    ).length,
    layers: report.layers.length,
    others: Object.fromEntries(others.map(([name, value]) => [name, value?.value ?? Number.NaN])),
  };
}

/**
 * @param {{ storage: Storage }[]} made
 * @param {ComparedModel[]} candidates
 * @param {Readonly<Record<string, number>>} targets
 * @returns {Latency[]}
 */
function latenciesOf(made, candidates, targets) {
  return made.flatMap(({ storage }, i) =>
    (candidates[i]?.latency ?? []).flatMap(({ batch, length, milliseconds, relative }) => {
      const shape = `${batch}x${length}`;
      const target = targets[shape];
      if (target === undefined || relative === undefined) return [];
      return [{ storage, shape, milliseconds: milliseconds.value, relative: relative.value, target }];
    }),
  );
}
