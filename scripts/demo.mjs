// The main job on a real model: lasers examples/noisy-recall/model at its best intervention, into out/noisy-recall.
// Usage: npm run demo

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const main = join(root, 'dist', 'cli', 'main.js');
const args = ['laser', 'examples/noisy-recall/model', '-o', 'out/noisy-recall', '--at', '1:fc_in:0.01'];

if (!existsSync(main)) {
  console.error('lowrank is not built yet: npm install');
  process.exit(1);
}
// The command never writes over anything, so what the last demo wrote has to go first.
rmSync(join(root, 'out', 'noisy-recall'), { recursive: true, force: true });
mkdirSync(join(root, 'out'), { recursive: true });
console.log(`$ lowrank ${args.join(' ')}`);
const { status } = spawnSync(process.execPath, [main, ...args], { cwd: root, stdio: 'inherit' });
if (status === 0) {
  console.log(`
Rank 1 of one matrix is what is left. It takes this model's noise away and leaves its recall: examples/noisy-recall/README.md
tells how much, and where such a gain ends. Your own checkpoint: node dist/cli/main.js laser --help`);
}
process.exitCode = status ?? 1;
