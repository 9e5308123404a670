// Shows the main job on a real model: searches examples/noisy-recall for the best intervention and
// writes the edited model to out/noisy-recall. ONNX Runtime, downloaded into .build/engine, runs
// the model. Without it, the best known intervention is applied instead.
// Usage: npm run demo

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from '../build/locked.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const main = join(root, 'dist', 'cli', 'main.js');
const example = 'examples/noisy-recall';
const out = 'out/noisy-recall';
const SEARCH = [
  'search',
  `${example}/model/model.onnx`,
  '-o',
  out,
  '--compose',
  'greedy',
  '--dataset',
  `${example}/validation.jsonl`,
  '--test',
  `${example}/test.jsonl`,
  '--cache',
  '0',
];
const LASER = ['laser', `${example}/model`, '-o', out, '--at', '1:fc_in:0.01'];

/**
 * Finds or creates a folder with the engine's packages; returns undefined if they cannot be
 * installed.
 */
function engineFolder() {
  const folder = join(root, '.build', 'engine');
  const found = [root, join(root, 'test', 'peers'), folder].find((place) =>
    existsSync(join(place, 'node_modules', 'onnxruntime-node', 'package.json')),
  );
  if (found !== undefined) return found;
  console.log('downloading ONNX Runtime (290 MB, only once)');
  try {
    // Without its install script, which would download GPU libraries.
    installLocked(join(root, 'scripts', 'demo', 'engine'), folder);
    return folder;
  } catch {
    return undefined;
  }
}

if (!existsSync(main)) {
  console.error('lowrank is not built yet: run npm ci');
  process.exit(1);
}
// The command never overwrites anything, so remove the output of the last demo.
rmSync(join(root, out), { recursive: true, force: true });
mkdirSync(join(root, 'out'), { recursive: true });
const engine = engineFolder();
if (engine === undefined)
  console.log('ONNX Runtime could not be installed: applying the best known edit without a search.');
const args = engine === undefined ? LASER : SEARCH;
console.log(`$ lowrank ${args.join(' ')}`);
// Optional packages are looked up from the working directory.
const inPlace = args.map((word) => (/^(examples|out)\//.test(word) ? join(root, word) : word));
const { status } = spawnSync(process.execPath, [main, ...inPlace], { cwd: engine ?? root, stdio: 'inherit' });
if (status === 0) {
  console.log(`
Reducing one matrix to rank 1 removes this model's noise and keeps its recall. ${example}/README.md
explains why, and where such gains end. ${out}/report.html shows every trial.
To search your own checkpoint: npx lowrank search --help`);
}
process.exitCode = status ?? 1;
