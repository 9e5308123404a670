// Builds the binary that is published for this platform, prebuilds/<platform>-<arch>/lowrank[.libc].node, and checks that
// it loads without a build in the folder. prebuildify calls node-gyp, binding.gyp calls CMake.
// Usage: npm run prebuilds (npm puts its own node-gyp on the PATH; PREBUILD_NODE_GYP names another one)

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const prebuildify = join(dirname(createRequire(import.meta.url).resolve('prebuildify')), 'bin.js');
/** The oldest Node that package.json allows; Node-API makes the binary good for all later ones. */
const TARGET = '20.17.0';

const env = { ...process.env };
// node-gyp wants Node's headers before it asks whether a target needs them. An installation that brings them saves the download.
const prefix = join(dirname(process.execPath), '..');
if (existsSync(join(prefix, 'include', 'node', 'node.h'))) env.npm_config_nodedir ??= prefix;

run([prebuildify, '-t', TARGET, '--napi', '--strip', '--tag-libc'], env);
run([join(root, 'dist', 'cli', 'main.js'), 'doctor'], { ...process.env, PREBUILDS_ONLY: '1' });

function run(args, env) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) {
    console.error(`lowrank: the prebuilt binary was not made or does not work: ${args.join(' ')}`);
    process.exit(1);
  }
}
