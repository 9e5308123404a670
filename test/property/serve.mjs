// Answers requests of approximations.py and weighted.py, each a line of JSON on standard input:
// writes the numbers of the result to `output` as float32, then prints the certificates as a line on
// standard output. The moments in a file are float64.
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { factorizeSync, LowRankError, laserSync } from '../../dist/index.js';

/** @typedef {{ kind: import('../../dist/index.js').MomentsKind, file: string }} StoredMoments */

/**
 * @typedef {object} Request
 * @property {'laser' | 'factorize'} op
 * @property {number[]} shape
 * @property {import('../../dist/index.js').LaserOptions & Parameters<typeof factorizeSync>[1]} options
 * @property {StoredMoments} [moments]
 * @property {string} input
 * @property {string} output
 * @property {number} [truncate]
 */

/** @param {Request} request */
function answer({ op, shape, options, moments, input, output, truncate }) {
  const bytes = readFileSync(input);
  const w = { data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), shape };
  if (op === 'laser') {
    const { value, certificates } = laserSync.certified(w, options);
    writeFileSync(output, value.data);
    return { certificates };
  }
  const whole = factorizeSync(w, moments ? { ...options, moments: read(moments) } : options);
  const f = truncate === undefined ? whole : whole.truncate(Math.min(truncate, whole.rank));
  writeFileSync(output, Buffer.concat([f.b, f.a, f.singularValues].map(({ data }) => Buffer.from(data.buffer))));
  return { certificates: f.certificates, rank: f.rank };
}

/** @param {StoredMoments} moments */
function read({ kind, file }) {
  const { buffer, byteOffset, length } = readFileSync(file);
  return { kind, second: new Float64Array(buffer.slice(byteOffset, byteOffset + length)) };
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = answer(JSON.parse(line));
  } catch (error) {
    if (!(error instanceof LowRankError)) throw error;
    reply = { code: error.code, message: error.message };
  }
  // JSON has no infinity.
  const text = JSON.stringify(reply, (_, value) => (value === Number.POSITIVE_INFINITY ? 'Infinity' : value));
  process.stdout.write(`${text}\n`);
}
