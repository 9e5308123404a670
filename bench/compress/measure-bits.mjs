// Measures one model in few bits: as Python's onnxruntime stores it, as lowrank does, and how far
// both are from the original.

/** @import { Baseline, BitsBudget, BitsCase, BitsResult, BitsRow, ComparedModel } from './types.js' */
/** @import { Settings } from './measure.mjs' */

import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lowrank } from './commands.mjs';
import { absence, cache, copyTokenizer, modelFolder, once, runPython, textFolder } from './sources.mjs';

/**
 * A model that was made, and what making it says of it.
 *
 * @typedef {Pick<BitsRow, 'by' | 'ours' | 'scope' | 'bits' | 'seconds' | 'target' | 'most'> & { out: string, share?: number, like?: string }} Made
 */

/**
 * @param {BitsCase} one
 * @param {Settings} settings
 * @returns {BitsResult}
 */
export function measureBits(one, { data, threads, rounds, log }) {
  const { name, kind, length, calibration, budgets, baselines, timed } = one;
  const why = absence(one.model, data);
  if (why !== undefined) return { ...one, ...EMPTY, absent: why };
  const folder = modelFolder(one.model, data);
  const model = join(folder, 'model.onnx');
  const texts = textFolder(data);
  const textsFor = (/** @type {string} */ use) => join(texts, `${kind}-${use}.jsonl`);
  const work = join(cache, 'work', name);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const threaded = ['--threads', String(threads)];

  const given = join(work, 'calibration.jsonl');
  const lines = readFileSync(textsFor('calibration'), 'utf8').split('\n').slice(0, calibration);
  writeFileSync(given, `${lines.join('\n')}\n`);
  const moments = join(work, 'moments.safetensors');
  const cut = ['--samples', String(calibration), '--length', String(length)];
  const calibrated = lowrank('calibrate', model, '-o', moments, '--texts', given, ...cut, ...threaded);
  log(`  calibrate: ${calibrated.seconds.toFixed(1)} s, ${calibrated.vectors} vectors`);

  const place = () => {
    const out = join(work, `out-${made.length}`);
    mkdirSync(out);
    copyTokenizer(folder, out);
    return out;
  };
  /** @type {BitsRow[]} */
  const absent = [];
  /** @type {Made[]} */
  const made = [];
  for (const each of baselines) {
    const found = quantised(each, one, folder, given);
    log(`  ${each.name}: ${found.absent ?? `${found.seconds.toFixed(1)} s`}`);
    if (found.absent === undefined) made.push({ by: each.name, ours: false, scope: each.scope, ...found });
    else absent.push({ ...NOTHING, by: each.name, scope: each.scope, absent: found.absent });
  }
  for (const budget of budgets) {
    const { options, ...asked } = optionsFor(budget, made);
    const out = place();
    const chosen = [...options, '--calibration', moments, '--work', join(work, 'measurements')];
    // A preset leaves nothing to choose.
    const trials = options[0] === '--preset' ? [] : ['--texts', textsFor('trials')];
    const report = lowrank('compress', model, '-o', join(out, 'model.onnx'), ...chosen, ...trials, ...threaded);
    log(`  compress ${options.join(' ')}: ${report.seconds.toFixed(1)} s`);
    const { scope } = budget;
    made.push({
      by: options.join(' '),
      ours: true,
      scope,
      out,
      bits: bitsOf(report),
      seconds: report.seconds,
      ...asked,
    });
  }

  const compare = (/** @type {string[]} */ ...more) =>
    lowrank('compare', folder, ...made.map(({ out }) => out), '--texts', textsFor('held-out'), ...more, ...threaded);
  const found = compare('--length', String(length), '--samples', '1000', '--runs', '0');
  const times = timed && rounds > 0 ? compare('--samples', '2', '--runs', String(rounds)) : undefined;
  for (const { ours, out } of made) if (ours) rmSync(out, { recursive: true });
  const rows = made.map((each, i) => rowOf(each, one, found.candidates[i], latencyOf(times?.candidates[i])));
  for (const { by, value } of rows) log(`  ${by}: ${one.figure} ${value.toFixed(4)}`);
  return {
    ...one,
    bytes: found.original.bytes,
    tokens: found.tokens,
    calibrationSeconds: calibrated.seconds,
    milliseconds: latencyOf(times?.original, 'milliseconds'),
    rows: [...withTargets(rows, made), ...absent],
  };
}

const EMPTY = { bytes: Number.NaN, tokens: 0, calibrationSeconds: Number.NaN, milliseconds: {}, rows: [] };
const NOTHING = {
  ours: false,
  bits: Number.NaN,
  bytes: Number.NaN,
  value: Number.NaN,
  low: Number.NaN,
  high: Number.NaN,
  seconds: Number.NaN,
  latency: {},
};

/**
 * Stores a model as a baseline does; once, since that depends on nothing that is measured here.
 *
 * @param {Baseline} baseline
 * @param {BitsCase} one
 * @param {string} folder of the model
 * @param {string} texts
 * @returns {{ absent: string } | { absent?: undefined, out: string, seconds: number, bits: number }}
 */
function quantised({ settings }, { name, length, calibration }, folder, texts) {
  const key = [name, calibration, ...Object.values(settings)].join('-');
  try {
    const out = once(join('baselines', key), (to) => {
      copyTokenizer(folder, to);
      const files = [join(folder, 'model.onnx'), texts, String(length), join(to, 'model.onnx')];
      const printed = runPython('baselines.py', ...files, JSON.stringify(settings));
      writeFileSync(join(to, ABOUT), printed.trim().split('\n').at(-1) ?? '');
    });
    return { out, ...JSON.parse(readFileSync(join(out, ABOUT), 'utf8')) };
  } catch (error) {
    return { absent: /** @type {Error} */ (error).message.trim().split('\n').at(-1) ?? 'failed' };
  }
}

/** What making a baseline said, beside its model. */
const ABOUT = 'made.json';

/**
 * The options of `compress` for a budget, and what should be reached.
 *
 * @param {BitsBudget} budget
 * @param {readonly Made[]} made
 */
function optionsFor(budget, made) {
  if ('options' in budget) {
    const { options, target, most } = budget;
    return { options, target, most };
  }
  const { like, share } = budget;
  const rival = made.find(({ by }) => by === like);
  if (rival === undefined) throw new Error(`no baseline ${like} to be as large as`);
  const most = statSync(join(rival.out, 'model.onnx')).size;
  return { options: ['--size', `${most}B`, '--heads'], most, like, share };
}

/**
 * Targets that are shares of what a baseline reaches.
 *
 * @param {readonly BitsRow[]} rows
 * @param {readonly Made[]} made
 * @returns {BitsRow[]}
 */
function withTargets(rows, made) {
  return rows.map((row, i) => {
    const { like, share } = made[i] ?? {};
    const rival = rows.find(({ by }) => by === like);
    return rival === undefined || share === undefined ? row : { ...row, target: share * rival.value };
  });
}

/** Bits a weight of the linear layers. @param {any} report of `compress` */
function bitsOf(report) {
  /** @type {{ use: string, shape: [number, number], bytes: number }[]} */
  const layers = report.layers.filter((/** @type {{ use: string }} */ { use }) => use === 'linear');
  const [bytes, weights] = layers.reduce(
    ([bytes, weights], { shape: [m, n], bytes: own }) => [bytes + own, weights + m * n],
    [0, 0],
  );
  return (8 * bytes) / weights;
}

/**
 * @param {ComparedModel | undefined} model
 * @param {'milliseconds' | 'relative'} what
 * @returns {Record<string, number>}
 */
function latencyOf(model, what = 'relative') {
  return Object.fromEntries(
    (model?.latency ?? []).flatMap((run) => {
      const value = run[what]?.value;
      return value === undefined ? [] : [[`${run.batch}x${run.length}`, value]];
    }),
  );
}

/**
 * @param {Made} made
 * @param {BitsCase} one
 * @param {ComparedModel} found
 * @param {Record<string, number>} latency
 * @returns {BitsRow}
 */
function rowOf({ by, ours, scope, bits, seconds, target, most }, { figure }, found, latency) {
  const { value, low, high } = /** @type {NonNullable<ComparedModel['cosine']>} */ (found[figure]);
  const asked = { ...(target !== undefined && { target }), ...(most !== undefined && { most }) };
  return { by, ours, scope, bits, bytes: found.bytes, value, low, high, seconds, ...asked, latency };
}
