// Answers each line of JSON on standard input, { op, shape, options, moments, input, output, truncate },
// for approximations.py, and for weighted.py with `moments`, { kind, file } of float64 numbers: writes
// the numbers of the result to `output` as float32, then prints the certificates as a line on standard
// output.
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { factorizeSync, LowRankError, laserSync } from '../../dist/index.js';

function answer({ op, shape, options, moments, input, output, truncate }) {
  if (moments) {
    const { buffer, byteOffset, length } = readFileSync(moments.file);
    options.moments = { kind: moments.kind, second: new Float64Array(buffer.slice(byteOffset, byteOffset + length)) };
  }
  const bytes = readFileSync(input);
  const w = { data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4), shape };
  if (op === 'laser') {
    const { value, certificates } = laserSync.certified(w, options);
    writeFileSync(output, value.data);
    return { certificates };
  }
  const whole = factorizeSync(w, options);
  const f = truncate === undefined ? whole : whole.truncate(Math.min(truncate, whole.rank));
  writeFileSync(output, Buffer.concat([f.b, f.a, f.singularValues].map(({ data }) => Buffer.from(data.buffer))));
  return { certificates: f.certificates, rank: f.rank };
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
