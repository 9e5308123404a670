// Prints `N passed, N failed` as the sum of vitest's JSON reports in a folder and of the steps that failed without one:
// .ci/run writes both. Ends with 1 where anything failed or nothing ran.
// Usage: node scripts/ci-summary.mjs <folder>

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder] = process.argv.slice(2);
const reports = new Map(
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => [name.slice(0, -'.json'.length), JSON.parse(readFileSync(join(folder, name), 'utf8'))]),
);
const stepsFile = join(folder, 'failed-steps');
const steps = existsSync(stepsFile) ? readFileSync(stepsFile, 'utf8').trim().split('\n') : [];
// Of a run of tests, the tests that failed are counted; a file that did not load, or a crash, has none.
const otherSteps = steps.filter((step) => !(reports.get(step)?.numFailedTests > 0));

const sum = (field) => [...reports.values()].reduce((total, report) => total + report[field], 0);
const passed = sum('numPassedTests');
const failed = sum('numFailedTests') + otherSteps.length;
if (steps.length > 0) console.log(`failed: ${steps.join(', ')}`);
console.log(`${passed} passed, ${failed} failed`);
if (failed > 0 || passed === 0) process.exitCode = 1;
