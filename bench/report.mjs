// Renders the results: `node bench/report.mjs` makes RESULTS.md and the charts again from the JSON.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { barChart, HEADLINES } from './chart/bars.mjs';
import { growthChart } from './chart/growth.mjs';
import { markdown } from './markdown.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const places = (data, text, charts) => ({ data: join(root, data), text: join(root, text), charts: join(root, charts) });

/** Where the results of a whole run go, and those of a part. */
export const WHOLE = places('bench/results', 'bench/RESULTS.md', 'docs');
export const PARTIAL = places('bench/.cache/partial', 'bench/.cache/partial/RESULTS.md', 'bench/.cache/partial');

/** @returns the paths that were written, from the project's root. */
export function render({ data, text, charts }) {
  const read = (name) => {
    const path = join(data, name);
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
  };
  const table = read('table.json');
  const growth = read('growth.json');
  const lora = read('lora.json');
  const checkpoint = read('checkpoint.json');
  const outputs = [
    [text, markdown(table, growth, lora, checkpoint)],
    [join(charts, 'bench.svg'), table && barChart(table, HEADLINES)],
    [join(charts, 'bench-all.svg'), table && barChart(table)],
    [join(charts, 'bench-growth.svg'), growth && growthChart(growth)],
  ].filter(([, content]) => content !== undefined);
  return outputs.map(([path, content]) => {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return relative(root, path);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(render(WHOLE).join('\n'));
