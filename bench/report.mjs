// Renders the results: `node bench/report.mjs` rewrites RESULTS.md and the charts from the JSON.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { barChart, HEADLINES } from './chart/bars.mjs';
import { compressChart } from './chart/compress.mjs';
import { growthChart } from './chart/growth.mjs';
import { markdown } from './markdown.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
/** @type {(data: string, text: string, charts: string) => { data: string, text: string, charts: string }} */
const places = (data, text, charts) => ({ data: join(root, data), text: join(root, text), charts: join(root, charts) });

/** Where the results of a whole run go, and where those of a partial run go. */
export const WHOLE = places('bench/results', 'bench/RESULTS.md', 'docs');
export const PARTIAL = places('bench/.cache/partial', 'bench/.cache/partial/RESULTS.md', 'bench/.cache/partial');

/** The table of one set of vector instructions, such as `avx2`. @param {string} path */
export const tableName = (path) => `table-${path}.json`;

/**
 * Renders the results that `data` has. The charts show the table of the narrowest instructions, which
 * every processor with wider ones has too.
 *
 * @param {typeof WHOLE} places
 * @returns {string[]} the written paths, relative to the project's root
 */
export function render({ data, text, charts }) {
  const read = (/** @type {string} */ name) => {
    const path = join(data, name);
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : undefined;
  };
  const tables = readdirSync(data)
    .filter((name) => name.startsWith('table-'))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map(read);
  const [table] = tables;
  const growth = read('growth.json');
  const lora = read('lora.json');
  const checkpoint = read('checkpoint.json');
  const compress = read('compress.json');
  /** @type {[string, string | undefined][]} */
  const outputs = [
    [text, markdown(tables, growth, lora, checkpoint)],
    [join(charts, 'bench.svg'), table && barChart(table, HEADLINES)],
    [join(charts, 'bench-all.svg'), table && barChart(table)],
    [join(charts, 'bench-growth.svg'), growth && growthChart(growth)],
    [join(charts, 'bench-compress.svg'), compress && compressChart(compress.results)],
  ];
  return outputs.flatMap(([path, content]) => {
    if (content === undefined) return [];
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    return [relative(root, path)];
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(render(WHOLE).join('\n'));
