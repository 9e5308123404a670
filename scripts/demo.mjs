// The main job on a real model: searches examples/noisy-recall for the intervention with which it answers best, and writes
// the model with it to out/noisy-recall. The model is asked through ONNX Runtime, which is fetched into .build/engine.
// Where that cannot be had, the best intervention that is known beforehand is made instead.
// Usage: npm run demo

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installLocked } from './locked.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const main = join(root, 'dist', 'cli', 'main.js');
const example = 'examples/noisy-recall';
const out = 'out/noisy-recall';
const SEARCH = [
  ...['search', `${example}/model/model.onnx`, '-o', out, '--compose', 'greedy'],
  ...['--dataset', `${example}/validation.jsonl`, '--test', `${example}/test.jsonl`, '--cache', '0'],
];
const LASER = ['laser', `${example}/model`, '-o', out, '--at', '1:fc_in:0.01'];

/** A folder from which the engine's packages can be imported; undefined where they cannot be had. */
function engineFolder() {
  const places = [root, join(root, 'test', 'peers'), join(root, '.build', 'engine')];
  const found = places.find((place) => existsSync(join(place, 'node_modules', 'onnxruntime-node', 'package.json')));
  if (found !== undefined) return found;
  const folder = places.at(-1);
  console.log('fetching ONNX Runtime, 290 MB, once');
  try {
    // Its install script, which would fetch libraries for GPUs, is not run.
    installLocked(join(root, 'scripts', 'tools', 'engine'), folder);
    return folder;
  } catch {
    return undefined;
  }
}

if (!existsSync(main)) {
  console.error('lowrank is not built yet: npm ci');
  process.exit(1);
}
// The command never writes over anything, so what the last demo wrote has to go first.
rmSync(join(root, out), { recursive: true, force: true });
mkdirSync(join(root, 'out'), { recursive: true });
const engine = engineFolder();
if (engine === undefined) console.log('ONNX Runtime cannot be had here, so nothing is asked: the known best is made.');
const args = engine === undefined ? LASER : SEARCH;
console.log(`$ lowrank ${args.join(' ')}`);
// Optional packages are looked for from the working directory.
const inPlace = args.map((word) => (/^(examples|out)\//.test(word) ? join(root, word) : word));
const { status } = spawnSync(process.execPath, [main, ...inPlace], { cwd: engine ?? root, stdio: 'inherit' });
if (status === 0) {
  console.log(`
One matrix of rank 1 takes this model's noise away and leaves its recall: ${example}/README.md tells why, and where such a
gain ends. Open ${out}/report.html for every trial. Your own checkpoint: node dist/cli/main.js search --help`);
}
process.exitCode = status ?? 1;
