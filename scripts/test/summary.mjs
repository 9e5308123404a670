// Prints `N passed, N failed`: the sums over vitest's JSON reports in a folder, plus the steps that
// failed without one. .ci/run writes both. Exits with 1 if anything failed or nothing ran.
// Usage: node scripts/test/summary.mjs <folder>

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** @typedef {{ numPassedTests: number, numFailedTests: number }} Report */

const [folder = '.'] = process.argv.slice(2);
/** @type {Map<string, Report>} */
const reports = new Map();
for (const name of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
  reports.set(name.slice(0, -'.json'.length), JSON.parse(readFileSync(join(folder, name), 'utf8')));
}
const stepsFile = join(folder, 'failed-steps');
const steps = existsSync(stepsFile) ? readFileSync(stepsFile, 'utf8').trim().split('\n') : [];
// A failed test run counts by its failed tests. It has none if a file did not load or it crashed;
// then it counts as a failed step.
const otherSteps = steps.filter((step) => !reports.get(step)?.numFailedTests);

const sum = (/** @type {keyof Report} */ field) =>
  [...reports.values()].reduce((total, report) => total + report[field], 0);
const passed = sum('numPassedTests');
const failed = sum('numFailedTests') + otherSteps.length;
if (steps.length > 0) console.log(`failed: ${steps.join(', ')}`);
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0 || passed === 0) process.exitCode = 1;
