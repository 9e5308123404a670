// Runs lowrank and other programs of Node.js where the engines are installed.

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const here = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
/** onnxruntime-node and the tokenizers are found in the working directory. */
const peers = here('../../test/peers');

/** Runs a program that prints JSON. @param {string[]} args */
export function node(...args) {
  const output = execFileSync(process.execPath, args, {
    cwd: peers,
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 2 ** 28,
    encoding: 'utf8',
  });
  return JSON.parse(output);
}

/** Runs a command of lowrank and returns its document. @param {string[]} args */
export const lowrank = (...args) => node(here('../../dist/cli/main.js'), ...args, '--json');
