// npm run bench:compress: compresses real models and sets what is left of them beside its targets;
// ../README.md explains how.

/** @import { BitsCase, Case, Measured, MeasuredBits } from './types.js' */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compressedChart } from '../chart/compressed.mjs';
import { busyShare, machine } from '../machine.mjs';
import { BITS_CASES, quickBits } from './bits-cases.mjs';
import { CASES, quick } from './cases.mjs';
import { lowrank } from './commands.mjs';
import { markdown } from './markdown.mjs';
import { measure } from './measure.mjs';
import { measureBits } from './measure-bits.mjs';
import { cache } from './sources.mjs';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const log = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);

/** In the order of the results. @type {readonly (Case | BitsCase)[]} */
const ALL = [...BITS_CASES, ...CASES];

const USAGE = `npm run bench:compress -- [options]
  --only <regex>   parts whose name matches (${ALL.map(({ name }) => name).join(', ')}); the results of the others stay
  --quick          one budget and a small calibration, to check that everything works; results go to bench/.cache/compress/partial
  --data <folder>  models and question sets that no package has (../shared/data)
  --threads <n>    threads of everything (2)
  --rounds <n>     rounds of the timed runs (9); 0 for a machine too busy to time anything`;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    data: { type: 'string', default: here('../../../shared/data') },
    threads: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '9' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(USAGE);
  process.exit();
}
const whole = (/** @type {'threads' | 'rounds'} */ name) => {
  const number = Number(values[name]);
  const least = name === 'rounds' ? 0 : 1;
  if (!Number.isSafeInteger(number) || number < least)
    throw new Error(`--${name}: expected a whole number from ${least} on`);
  return number;
};
const settings = { data: values.data, threads: whole('threads'), rounds: whole('rounds'), log };
const pattern = new RegExp(values.only ?? '');
const shortened = (/** @type {Case | BitsCase} */ one) => ('baselines' in one ? quickBits(one) : quick(one));
const cases = ALL.filter(({ name }) => pattern.test(name)).map((one) => (values.quick ? shortened(one) : one));
if (cases.length === 0) throw new Error(`--only ${values.only} matches no part`);

const { addon, engines, node } = lowrank('doctor');
/** @type {{ packages: { name: string, version?: string }[] }[]} */
const found = engines;
const peers = found.flatMap(({ packages }) => packages.map(({ name, version }) => [name, version ?? 'unknown']));

/** @param {Case | BitsCase} one @returns {Promise<Measured | MeasuredBits>} */
async function measured(one) {
  log(one.title);
  const begin = performance.now();
  const busy = await busyShare();
  const result = 'baselines' in one ? measureBits(one, settings) : measure(one, settings);
  const about = {
    date: new Date().toISOString(),
    minutes: Math.round((performance.now() - begin) / 6000) / 10,
    machine: machine(),
    path: `${addon.kernel} ${addon.simd}`,
    threads: settings.threads,
    versions: { 'Node.js': node, ...Object.fromEntries(peers) },
    busy,
  };
  return { ...result, about };
}

const [data, text] = values.quick
  ? [join(cache, 'quick/compress.json'), join(cache, 'quick/RESULTS.md')]
  : [here('../results/compress.json'), here('RESULTS.md')];
mkdirSync(join(data, '..'), { recursive: true });
/** @type {Map<string, Measured | MeasuredBits>} */
const results = new Map();
if (existsSync(data)) {
  for (const one of JSON.parse(readFileSync(data, 'utf8')).results) results.set(one.name, one);
}
for (const one of cases) {
  results.set(one.name, await measured(one));
  const ordered = ALL.flatMap(({ name }) => results.get(name) ?? []);
  writeFileSync(data, `${JSON.stringify({ results: ordered }, null, 2)}\n`);
  writeFileSync(text, markdown(ordered));
  for (const result of ordered) {
    const { name } = result;
    if (!values.quick && 'baselines' in result && result.chart !== undefined && values.rounds !== '0')
      writeFileSync(here(`../../docs/${name}.svg`), compressedChart(result, result.chart));
  }
}
console.log(readFileSync(text, 'utf8'));
